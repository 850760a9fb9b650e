package quantize

import (
	"fmt"
	"slices"

	"golang.org/x/sys/cpu"

	"github.com/onnxopt/onnxopt/ir"
)

// Profile says what a runtime computes in integers, and how it wants it written.
type Profile struct {
	Name string
	Doc  string
	// Activations is the element type of activations. Symmetric ones have their zero point in the middle.
	Activations ir.DType
	Symmetric   bool
	// WeightBits of weights: 7 where sums of products of 8 bits saturate.
	WeightBits int
	PerChannel bool
	// Weighted operators have constant weights and are worth quantizing for themselves; the others are quantized where they lie between
	// such.
	Weighted []string
	// Light operators take operands of different scales and give a third.
	Light []string
	// Sharing operators move elements or choose among them, so that operand and result have one scale.
	Sharing []string
	// FloatResult lists the weighted operators that give a float result without a quantizer behind them.
	FloatResult []string
	// SharedConcat asks for one scale for all operands of Concat and its result.
	SharedConcat bool
}

// ortOperators are those of ONNX Runtime's CPU provider.
var ortCPU = Profile{
	Activations: ir.Uint8,
	WeightBits:  8,
	PerChannel:  true,
	Weighted:    []string{"Conv", "MatMul", "Gemm"},
	Light:       []string{"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu"},
	Sharing:     []string{"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Split", "Gather"},
	FloatResult: []string{"MatMul", "Gemm"},
}

// profiles lists what the option takes.
func profiles() []Profile {
	vnni := ortCPU
	vnni.Name, vnni.Doc = "ort-cpu-vnni", "ONNX Runtime on processors with VNNI, and on arm64"
	plain := ortCPU
	plain.Name, plain.Doc, plain.WeightBits = "ort-cpu", "ONNX Runtime on x86 without VNNI, where sums of u8 x s8 saturate: weights of 7 bits", 7
	trt := Profile{
		Name: "tensorrt", Doc: "TensorRT: symmetric int8, biases in float",
		Activations: ir.Int8, Symmetric: true, WeightBits: 8, PerChannel: true,
		Weighted: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"}, Light: []string{"Add", "AveragePool", "GlobalAveragePool"},
		Sharing: []string{"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Concat"}, FloatResult: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"},
		SharedConcat: true,
	}
	ov := Profile{
		Name: "openvino", Doc: "OpenVINO on CPU: u8 activations, s8 weights",
		Activations: ir.Uint8, WeightBits: 8, PerChannel: true,
		Weighted: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"}, Light: []string{"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"},
		Sharing: []string{"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Split", "Gather"}, FloatResult: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"},
	}
	lite := Profile{
		Name: "tflite", Doc: "TensorFlow Lite: s8 activations, one scale for what is joined or pooled",
		Activations: ir.Int8, WeightBits: 8, PerChannel: true,
		Weighted: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"}, Light: []string{"Add", "Mul", "LeakyRelu", "Sigmoid"},
		Sharing: []string{"MaxPool", "AveragePool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Split", "Gather", "Concat"}, SharedConcat: true,
	}
	return []Profile{plain, vnni, trt, ov, lite}
}

// profileOf is the profile with what the options change of it.
func profileOf(o Options) (Profile, error) {
	name := o.Profile
	if name == "auto" {
		name = "ort-cpu"
		if saturates := (cpu.X86.HasAVX2 || cpu.X86.HasSSE2) && !cpu.X86.HasAVX512VNNI && !cpu.X86.HasAVXVNNI; !saturates {
			name = "ort-cpu-vnni"
		}
	}
	all := profiles()
	i := slices.IndexFunc(all, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, fmt.Errorf("there is no profile %q", name)
	}
	p := all[i]
	if !o.PerChannel {
		p.PerChannel = false
	}
	switch o.Activations {
	case "u8":
		p.Activations, p.Symmetric = ir.Uint8, false
	case "s8":
		p.Activations = ir.Int8
	case "u16":
		p.Activations, p.Symmetric = ir.Uint16, false
	case "s16":
		p.Activations = ir.Int16
	}
	return p, nil
}
