// Package tensorrt writes ONNX models in the form that TensorRT's parser takes, with a command line of trtexec and a script that
// builds an engine.
package tensorrt

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/script"
)

const name = "tensorrt"

//go:embed known.tsv
var known string

// Options of the target.
type Options struct {
	Batch int `opt:"batch" doc:"size of an open first dimension for which the engine is tuned; others are for set-shape to state"`
}

// New describes the target.
func New() *targets.Target {
	return targets.Define(targets.Target{
		Name: name, Doc: "an ONNX model as TensorRT's parser wants it, with a trtexec command and a script that builds the engine", Extension: ".onnx",
		Long: `Quantization is symmetric: quantize{profile=tensorrt} makes such models, and uint8 activations whose zero point is 128 become int8. The parser
would take another uint8 zero point for one of int8, with no more than a warning, so that is refused. Biases stay float. Where layers have two
zeros in every four weights along their inputs, as prune{pattern=2:4} leaves them, the engine is built for sparse tensor cores.`,
		Pipeline: "freeze-defaults{all=true},requantize{form=qdq activations=s8},O2,dequantize{biases=true}",
		Illegal:  illegal,
		Slow:     slowly,
		Known:    known,
	}, Options{Batch: 1}, lower)
}

// parsed lists the operators that the parser of TensorRT for RTX 1.7.1 says it supports (OnnxParser.supports_operator), but for NonZero, whose
// plugin it lacks.
var parsed = strings.Fields(`Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BlackmanWindow Cast CastLike
Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp
Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization
LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg
NonMaxSuppression Not OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike
Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
ReverseSequence RoiAlign RotaryEmbedding Round STFT Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample
Where Xor`)

func illegal(n *ir.Node) error {
	op := n.Op()
	if strings.HasPrefix(op.Domain, "ai.onnx.") {
		return errors.New("the parser has no such operator")
	}
	if op.Domain != "" {
		return nil // a plugin's operator, which is kept
	}
	if n.Is("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger") {
		return &targets.Mendable{Why: "the parser has no such operator", Mend: "dequantize"}
	}
	if !slices.Contains(parsed, op.Type) {
		return errors.New("the parser has no such operator")
	}
	if n.Is("QuantizeLinear", "DequantizeLinear") {
		return symmetric(n)
	}
	for _, v := range slices.Concat(n.Operands(), n.Results()) {
		if v != nil && slices.Contains(untyped, v.Type().DType()) {
			return fmt.Errorf("elements of type %s", v.Type().DType())
		}
	}
	for _, v := range n.Operands() {
		if v == nil || n.Is("Cast", "Identity") || movesBytes(n) {
			continue
		}
		if d := v.Type().DType(); d == ir.Uint8 || d == ir.Int8 && v.Const() != nil {
			return fmt.Errorf("numbers of type %s that nothing dequantizes", d)
		}
	}
	return formed(n)
}

// untyped are the element types that TensorRT does not have.
var untyped = []ir.DType{ir.Float64, ir.Int16, ir.Uint16, ir.Uint32, ir.Uint64, ir.String, ir.Complex64, ir.Complex128}

// quantized lists what the target quantizes to.
var quantized = []ir.DType{ir.Int8, ir.Int4, ir.Float8E4M3FN}

// symmetric checks what a quantizer or dequantizer quantizes to.
func symmetric(n *ir.Node) error {
	if x := n.Operand(0); n.Is("DequantizeLinear") && x.Type().DType() == ir.Int32 {
		if x.Const() == nil {
			return errors.New("computed int32 numbers are dequantized")
		}
		return &targets.Mendable{Why: "an int32 bias, which has to be float", Mend: "dequantize{biases=true}"}
	}
	z := n.Operand(2)
	if z == nil {
		if n.Is("QuantizeLinear") && n.Int("output_dtype", 0) == 0 {
			return &targets.Mendable{Why: "uint8, by default, where quantization is symmetric", Mend: "dequantize,quantize{profile=tensorrt}"}
		}
		if d := ir.DType(n.Int("output_dtype", int64(ir.Int8))); n.Is("QuantizeLinear") && !slices.Contains(quantized, d) {
			return &targets.Mendable{Why: fmt.Sprintf("quantization to %s; the target has int8, int4 and float8e4m3fn", d), Mend: "dequantize,quantize{profile=tensorrt}"}
		}
		return nil
	}
	t := z.Const()
	if t == nil {
		return errors.New("a zero point that is no constant")
	}
	if d := t.DType(); !slices.Contains(quantized, d) {
		return &targets.Mendable{Why: fmt.Sprintf("quantization to %s; the target has int8, int4 and float8e4m3fn", d), Mend: "dequantize,quantize{profile=tensorrt}"}
	}
	b, err := t.Bytes()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) {
		return &targets.Mendable{Why: "a zero point other than 0", Mend: "dequantize,quantize{profile=tensorrt}"}
	}
	return nil
}

func lower(_ *passes.Context, m *ir.Model, a targets.Artifact, o Options) error {
	if o.Batch < 1 {
		return fmt.Errorf("batch=%d is no size", o.Batch)
	}
	if err := inputs(m); err != nil {
		return err
	}
	var shapes []string // of open inputs
	for _, s := range m.Main.Inputs() {
		t := s.Type()
		if s.Value().IsInitializer() || !t.IsTensor() {
			continue
		}
		open := false
		var dims []string
		for _, d := range t.Shape {
			size := d.Size
			if !d.IsStatic() {
				open = true
				size = int64(o.Batch)
			}
			dims = append(dims, fmt.Sprint(size))
		}
		if open {
			shapes = append(shapes, s.Name()+":"+strings.Join(dims, "x"))
		}
	}
	if err := a.Model(castFirst(m)); err != nil {
		return err
	}
	legal, _, of, err := sparse(m)
	if err != nil {
		return err
	}
	if len(legal) > 0 {
		a.Note(fmt.Sprintf("%d of %d layers have two zeros in every four weights: the engine is built for sparse tensor cores", len(legal), of))
	}
	w, err := a.File(".trtexec.sh")
	if err != nil {
		return err
	}
	if err := command(w, a, shapes, len(legal) > 0); err != nil {
		return err
	}
	if w, err = a.File(".build.py"); err != nil {
		return err
	}
	return buildScript(w, a, shapes, len(legal) > 0)
}

// inputs checks those of the model, also such that no node reads.
func inputs(m *ir.Model) error {
	e := &targets.IllegalError{Target: name}
	for _, s := range m.Main.Inputs() {
		if d := s.Type().DType(); slices.Contains(untyped, d) && !s.Value().IsInitializer() {
			e.Nodes = append(e.Nodes, targets.IllegalNode{Name: s.Name(), Op: ir.Op("input"), Why: fmt.Sprintf("elements of type %s", d), Mend: "retype"})
		}
	}
	var open *targets.IllegalError
	if errors.As(targets.Open(name, m, 1), &open) {
		e.Nodes = append(e.Nodes, open.Nodes...)
	}
	if len(e.Nodes) == 0 {
		return nil
	}
	return e
}

// command writes a shell script with the call of trtexec. Names are quoted, so that none is a command.
func command(w io.Writer, a targets.Artifact, shapes []string, sparse bool) error {
	args := []string{"trtexec", "--onnx=" + a.Name(""), "--stronglyTyped", "--saveEngine=" + a.Name(".engine")}
	if sparse {
		args = append(args, "--sparsity=enable")
	}
	if len(shapes) > 0 {
		for _, kind := range []string{"min", "opt", "max"} {
			args = append(args, "--"+kind+"Shapes="+strings.Join(shapes, ","))
		}
	}
	for i, s := range args {
		args[i] = script.Shell(s)
	}
	_, err := fmt.Fprintf(w, "#!/bin/sh\n# Builds the engine and times it. Run it where this file lies.\nset -e\ncd \"$(dirname \"$0\")\"\nexec %s\n", strings.Join(args, " "))
	return err
}

func buildScript(w io.Writer, a targets.Artifact, shapes []string, sparse bool) error {
	flag := "False"
	if sparse {
		flag = "True"
	}
	_, err := fmt.Fprintf(w, builder, script.Python(a.Name("")), script.Python(a.Name(".engine")), script.PythonList(shapes), flag)
	return err
}

// builder parses the model and builds the engine, with TensorRT or TensorRT for RTX. A warning about uint8 is an error: the parser
// takes such numbers for int8.
const builder = `"""Builds a TensorRT engine: python FILE [OUTPUT]"""
import os
import sys

try:
    import tensorrt as trt
except ImportError:
    import tensorrt_rtx_libs  # the package of the bindings looks for the libraries
    import tensorrt_rtx_bindings as trt

MODEL, ENGINE, SHAPES, SPARSE = %s, %s, %s, %s


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.bad = []

    def log(self, severity, text):
        if severity <= trt.ILogger.WARNING:
            print(text, file=sys.stderr)
        if severity <= trt.ILogger.ERROR or severity <= trt.ILogger.WARNING and 'uint8' in text.lower():
            self.bad.append(text)


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    log = Log()
    build = trt.Builder(log)
    flags = getattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED', None)
    network = build.create_network(0 if flags is None else 1 << int(flags))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(os.path.join(folder, MODEL)):
        sys.exit('\n'.join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    for i in range(network.num_layers):  # an Attention for which there is no kernel is computed step by step
        layer = network.get_layer(i)
        if layer.type == getattr(trt.LayerType, 'ATTENTION_OUTPUT', None):
            layer.__class__ = trt.IAttentionOutputLayer
            layer.attention.decomposable = True
    config = build.create_builder_config()
    if SPARSE and hasattr(trt.BuilderFlag, 'SPARSE_WEIGHTS'):  # two zeros in every four weights of some layers
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if SHAPES:
        profile = build.create_optimization_profile()
        for entry in SHAPES:
            name, _, sizes = entry.rpartition(':')
            shape = [int(d) for d in sizes.split('x')]
            profile.set_shape(name, shape, shape, shape)
        config.add_optimization_profile(profile)
    engine = build.build_serialized_network(network, config)
    if engine is None or log.bad:
        sys.exit('\n'.join(log.bad) or 'no engine was built')
    target = sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, ENGINE)
    with open(target, 'wb') as f:
        f.write(engine)
    print(f'{network.num_layers} layers, {engine.nbytes} bytes')


main()
`
