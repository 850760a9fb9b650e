// Package onnxruntime writes models with the operators of ONNX Runtime, and the options for sessions that run them.
package onnxruntime

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/script"
)

const name = "onnxruntime"

//go:embed known.tsv
var known string

// Options of the target.
type Options struct {
	Threads int `opt:"threads" doc:"threads within an operator that the session options ask for; 0: one for each core"`
}

// New describes the target.
func New() *targets.Target {
	kernels := kernelTable()
	return targets.Define(targets.Target{
		Name: name, Doc: "a model with the fused operators of ONNX Runtime, with session options and a script that opens it", Extension: ".onnx",
		Long: `Quantized operators stand between QuantizeLinear and DequantizeLinear where the runtime fuses them itself, and as fused operators where it would
not. The session options are in the form that the runtime takes as ort_config, with entries for add_session_config_entry beside them: where weights
need all 8 bits, one of these keeps products of uint8 and int8 from saturating on x86 without VNNI.`,
		Pipeline: "freeze-defaults{all=true},requantize{form=qdq},O3",
		Illegal:  func(n *ir.Node) error { return illegal(kernels, n) },
		Slow:     slowly,
		Known:    known,
	}, Options{}, lower)
}

// kernelsText is written by bench/targets/kernels.py.
//
//go:embed kernels.tsv
var kernelsText string

// kernelTable is the element types of the first operand by operator; nil stands for any.
func kernelTable() map[ir.OpID][]string {
	r := map[ir.OpID][]string{}
	for line := range strings.Lines(kernelsText) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 {
			continue
		}
		domain := f[0]
		if domain == "ai.onnx" {
			domain = ""
		}
		if types := strings.Fields(f[2]); types[0] == "*" {
			r[ir.OpID{Domain: domain, Type: f[1]}] = nil
		} else {
			r[ir.OpID{Domain: domain, Type: f[1]}] = types
		}
	}
	return r
}

// spelledOut lists the operators that have no kernel for the CPU, of which the runtime takes the definition as a function, and those whose kernel
// is of the versions that had them.
var spelledOut = strings.Fields("CastLike CausalConvWithState CenterCropPad GroupNormalization HardSwish LinearAttention Mish Scatter Upsample")

func illegal(kernels map[ir.OpID][]string, n *ir.Node) error {
	op := n.Op()
	if n.Graph().Model().Function(op) != nil || !slices.Contains([]string{"", "ai.onnx.ml", "com.microsoft"}, op.Domain) {
		return nil // is inlined; or is for a library of custom operators
	}
	if op.Domain == "" && n.Is("LSTM", "GRU", "RNN") && n.Int("layout", 0) != 0 {
		return errors.New("layout 1, the batch first, which the kernel does not have")
	}
	types, ok := kernels[ir.OpID{Domain: op.Domain, Type: op.Type}]
	switch {
	case op.Domain == "" && slices.Contains(spelledOut, op.Type):
		return nil
	case op.Domain == "" && (op.Type == "Constant" || op.Type == "If" || op.Type == "Loop" || op.Type == "Scan"):
		return nil
	case !ok:
		return errors.New("there is no such kernel for the CPU")
	case types == nil || n.NumOperands() == 0 || n.Operand(0) == nil:
		return nil
	}
	d := n.Operand(0).Type().DType()
	if !n.Operand(0).Type().IsTensor() || d == ir.Undefined || slices.Contains(types, d.String()) {
		return nil
	}
	if (d == ir.Float16 || d == ir.BFloat16) && slices.Contains(types, "float") {
		return nil // between casts
	}
	return fmt.Errorf("the kernel for the CPU has no elements of type %s", d)
}

// apart is a copy of m in which every use of a constant of int8 has a constant of its own: with session.x64quantprecision ONNX Runtime 1.32
// makes uint8 of such constants operator by operator, and fails on the second that has one ("Attempt to replace the existing tensor").
func apart(m *ir.Model) *ir.Model {
	m = m.Clone()
	for n := range m.Nodes() {
		for i, v := range n.Operands() {
			if v != nil && v.IsInitializer() && v.Const().DType() == ir.Int8 && v.NumUses() > 1 {
				w := v.Graph().NamedConst(v.Name()+"_"+targets.NodeName(n), v.Const())
				n.SetOperand(i, w)
			}
		}
	}
	return m
}

func lower(_ *passes.Context, m *ir.Model, a targets.Artifact, o Options) error {
	if o.Threads < 0 {
		return fmt.Errorf("threads=%d is no number of threads", o.Threads)
	}
	custom := map[string]bool{}
	saturates := false
	for n := range targets.Annotated(m).Nodes() {
		if d := n.Op().Domain; !slices.Contains([]string{"", "ai.onnx.ml", "com.microsoft"}, d) && m.Function(n.Op()) == nil && !custom[d] {
			custom[d] = true
			a.Note(fmt.Sprintf("operators of domain %q need a library of custom operators", d))
		}
		saturates = saturates || Saturates(n)
	}
	c := config{Options: sessionOptions{Level: 99, Threads: o.Threads}, Entries: map[string]string{}}
	if saturates {
		c.Entries["session.x64quantprecision"] = "1"
		m = apart(m)
		a.Note("weights of 8 bits; the session options ask for products that do not saturate on x86 without VNNI, which are slower; quantize{profile=ort-cpu} keeps weights to 7")
	}
	if err := a.Model(m); err != nil {
		return err
	}
	w, err := a.File(".session.json")
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return err
	}
	if w, err = a.File(".session.py"); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, opener, script.Python(a.Name("")), script.Python(a.Name(".session.json")))
	return err
}

// config is the file of session options. The first part is what the runtime takes from the metadata "ort_config" of a model.
type config struct {
	Options sessionOptions    `json:"session_options"`
	Entries map[string]string `json:"session_config_entries"`
}

type sessionOptions struct {
	Level   int `json:"graph_optimization_level"` // 99: all
	Threads int `json:"intra_op_num_threads"`
	Mode    int `json:"execution_mode"` // 0: sequential
}

// Saturates reports whether n multiplies unsigned activations by signed weights that use all 8 bits: on x86 with AVX2 and AVX-512 but
// without VNNI, pairs of such products are added in 16 bits.
func Saturates(n *ir.Node) bool {
	var x, w *ir.Value
	switch {
	case n.Op().Domain == "" && (n.Is("Conv", "MatMul", "Gemm")):
		source := func(v *ir.Value) *ir.Value {
			if v == nil || v.Node() == nil || !v.Node().Is("DequantizeLinear") {
				return nil
			}
			return v.Node().Operand(0)
		}
		x, w = source(n.Operand(0)), source(n.Operand(1))
	case n.Is("QLinearConv", "QLinearMatMul"):
		x, w = n.Operand(0), n.Operand(3)
	case n.Is("ConvInteger", "MatMulInteger"):
		x, w = n.Operand(0), n.Operand(1)
	}
	if x == nil || w == nil || w.Const() == nil || w.Type().DType() != ir.Int8 || x.Type().DType() != ir.Uint8 {
		return false
	}
	b, err := w.Const().Bytes()
	return err == nil && slices.ContainsFunc(b, func(q byte) bool { return int8(q) > 64 || int8(q) < -64 })
}

const opener = `"""Opens the model with its session options: from the folder of this file, session() gives an onnxruntime.InferenceSession."""
import json
import os

import onnxruntime

MODEL, CONFIG = %s, %s


def session(**more):
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, CONFIG)) as f:
        config = json.load(f)
    options = onnxruntime.SessionOptions()
    o = config['session_options']
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = {0: levels.ORT_DISABLE_ALL, 1: levels.ORT_ENABLE_BASIC, 2: levels.ORT_ENABLE_EXTENDED}.get(o['graph_optimization_level'], levels.ORT_ENABLE_ALL)
    options.intra_op_num_threads = o['intra_op_num_threads']
    options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL if o['execution_mode'] else onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    for key, value in config['session_config_entries'].items():
        options.add_session_config_entry(key, value)
    more.setdefault('providers', ['CPUExecutionProvider'])
    return onnxruntime.InferenceSession(os.path.join(folder, MODEL), options, **more)


if __name__ == '__main__':
    s = session()
    print(*(f'input {i.name}: {i.type} {i.shape}' for i in s.get_inputs()), sep='\n')
    print(*(f'output {i.name}: {i.type} {i.shape}' for i in s.get_outputs()), sep='\n')
`
