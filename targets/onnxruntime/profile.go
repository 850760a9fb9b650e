package onnxruntime

import (
	"golang.org/x/sys/cpu"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize"
)

// Profiles of quantize for ONNX Runtime's CPU provider. The operators are those whose group of DequantizeLinear, operator and
// QuantizeLinear it merges into one integer operator (core/optimizer/qdq_transformer/selectors_actions). The one that suits this processor
// is what profile=auto takes.
func Profiles() []quantize.Profile {
	vnni := quantize.Profile{
		Name: "ort-cpu-vnni", Doc: "ONNX Runtime on processors with VNNI, and on arm64",
		Activations: ir.Uint8, WeightBits: 8, PerChannel: true,
		Weighted:    []string{"Conv", "MatMul", "Gemm"},
		Light:       []string{"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu"},
		Sharing:     []string{"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Split", "Gather"},
		FloatResult: []string{"MatMul", "Gemm"},
		Dynamic:     true,
	}
	plain := vnni
	plain.Name, plain.Doc, plain.WeightBits = "ort-cpu", "ONNX Runtime on x86 without VNNI, where sums of u8 x s8 saturate: weights of 7 bits", 7
	vnni.Auto = !cpu.X86.HasAVX2 && !cpu.X86.HasSSE2 || cpu.X86.HasAVX512VNNI || cpu.X86.HasAVXVNNI
	plain.Auto = !vnni.Auto
	return []quantize.Profile{plain, vnni}
}
