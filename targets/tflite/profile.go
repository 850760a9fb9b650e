package tflite

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize"
)

// Profiles of quantize for TensorFlow Lite: int8 as its quantization specification has it, with one scale for what is joined or pooled.
func Profiles() []quantize.Profile {
	return []quantize.Profile{{
		Name: "tflite", Doc: "TensorFlow Lite: s8 activations, one scale for what is joined or pooled",
		Activations: ir.Int8, WeightBits: 8, PerChannel: true,
		Weighted: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"},
		Light:    []string{"Add", "Mul", "LeakyRelu", "Sigmoid"},
		Sharing:  []string{"MaxPool", "AveragePool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Split", "Gather", "Concat"},
	}}
}
