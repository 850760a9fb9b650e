// Package tvm writes clean float ONNX models with static shapes, as TVM's importer for Relax takes them, with a script that compiles them.
package tvm

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/script"
)

const name = "tvm"

//go:embed known.tsv
var known string

// Options of the target.
type Options struct {
	LLVM string `opt:"llvm" doc:"options of TVM's target llvm for the script, as -mcpu=skylake; empty: none"`
}

// New describes the target.
func New() *targets.Target {
	return targets.Define(targets.Target{
		Name: name, Doc: "a float ONNX model with static shapes that TVM imports, with a script that compiles it", Extension: ".onnx",
		Long: `TVM computes quantized models in float, so they become float ones here; their weights stay on their steps. Models in 16 bits become float32 behind
an interface that stays: TVM's code for processors rounds every sum to 16 bits. Sizes have to be static: set-shape states those that are open.`,
		Pipeline: "inline,freeze-defaults{all=true},dequantize,precision{to=float32},opset{to=18},O2",
		Illegal:  illegal,
		Slow:     slowly,
		Known:    known,
	}, Options{}, lower)
}

// imported lists the operators that the importer of TVM 0.27.0 has.
var imported = strings.Fields(`Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitShift BitwiseAnd
BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu
Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity
InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool
MaxUnpool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu
Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSum ReduceSumSquare Relu Reshape Resize RoiAlign Round Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty
SequenceErase SequenceInsert SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split SplitToSequence
Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor`)

func illegal(n *ir.Node) error {
	op := n.Op()
	if op.Domain != "" || !slices.Contains(imported, op.Type) || n.Graph().Model().Function(op) != nil {
		return targets.Missing("the importer has no such operator", n)
	}
	if n.Is("Resize", "Upsample") {
		return resizing(n)
	}
	if n.Is("Pow") && n.Operand(0).Type().DType() != n.Operand(1).Type().DType() {
		return fmt.Errorf("%s to the power of %s; the importer wants one type", n.Operand(0).Type().DType(), n.Operand(1).Type().DType())
	}
	return nil
}

// resizing refuses scales that the sizes do not have: the importer of TVM 0.27.0 takes the ratio of the sizes, and so other coordinates.
func resizing(n *ir.Node) error {
	at := 2
	if n.Is("Upsample") || n.Graph().Opset("") < 11 {
		at = 1
	}
	v := n.Operand(at)
	in, ok := n.Operand(0).Type().TensorShape().Ints()
	out, okOut := n.Result(0).Type().TensorShape().Ints()
	if v == nil || v.Const() == nil || !ok || !okOut || len(in) != len(out) || n.Str("coordinate_transformation_mode", "half_pixel") == "align_corners" {
		return nil
	}
	scales, err := ir.Elements[float32](v.Const())
	if err != nil {
		return err
	}
	for i, s := range scales {
		a := i
		if l := n.Ints("axes"); i < len(l) {
			a = int(l[i]+int64(len(in))) % len(in)
		}
		if a < len(in) && math.Abs(float64(s)*float64(in[a])-float64(out[a])) > 1e-3 {
			return fmt.Errorf("a scale of %g from %d to %d: the importer takes the ratio of the sizes, and so other coordinates", s, in[a], out[a])
		}
	}
	return nil
}

// Requirements are the packages that the script needs, pinned.
const Requirements = `apache-tvm==0.27.0.post1
apache-tvm-ffi==0.1.14.post0
numpy>=2
onnx==1.23.2
`

// initializers is m with initializers for nodes Constant, of which the importer takes those only that hold a tensor.
func initializers(m *ir.Model) *ir.Model {
	m = m.Clone()
	var constants []*ir.Node
	for n := range m.Nodes() {
		if n.Is("Constant") && n.Op().Domain == "" && n.Attr("value") == nil && n.Result(0).Const() != nil {
			constants = append(constants, n)
		}
	}
	for _, n := range constants {
		v := n.Result(0)
		v.ReplaceUses(n.Graph().NamedConst(v.Name(), v.Const()))
		n.Graph().Erase(n)
	}
	return m
}

func lower(_ *passes.Context, m *ir.Model, a targets.Artifact, o Options) error {
	if err := targets.Open(name, m, 0); err != nil {
		return err
	}
	for n := range m.Nodes() {
		if r := n.Origin().Rules(); slices.ContainsFunc(r, func(rule string) bool { return strings.HasPrefix(rule, "dequantize/") || rule == "pair" }) {
			a.Note("what was quantized is float now: TVM computes it in float anyway")
			break
		}
	}
	if err := a.Model(initializers(m)); err != nil {
		return err
	}
	w, err := a.File(".requirements.txt")
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(Requirements)); err != nil {
		return err
	}
	if w, err = a.File(".compile.py"); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, compiler, script.Python(a.Name("")), script.Python(a.Name(".so")), script.Python(strings.TrimSpace("llvm "+o.LLVM)))
	return err
}

const compiler = `"""Compiles the model with TVM: python FILE [INPUTS.npz OUTPUTS.npz] writes the library, and runs it where inputs are named."""
import os
import sys

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

MODEL, LIBRARY, TARGET = %s, %s, %s


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    model = onnx.load(os.path.join(folder, MODEL))
    library = tvm.compile(from_onnx(model, keep_params_in_input=False), target=TARGET)
    library.export_library(os.path.join(folder, LIBRARY))
    if len(sys.argv) < 3:
        return
    given = {i.name for i in model.graph.initializer}
    names = [i.name for i in model.graph.input if i.name not in given]
    machine = relax.VirtualMachine(tvm.runtime.load_module(os.path.join(folder, LIBRARY)), tvm.cpu())
    with np.load(sys.argv[1]) as inputs:
        got = machine['main'](*[tvm.runtime.tensor(np.array(inputs[n], order='C')) for n in names])
    got = [got] if hasattr(got, 'numpy') else list(got)
    np.savez(sys.argv[2], *[g.numpy() for g in got])  # in the order of the model's outputs


main()
`
