package openvino

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize"
)

// Profiles of quantize for OpenVINO's CPU plugin: what its low precision transformations take.
func Profiles() []quantize.Profile {
	return []quantize.Profile{{
		Name: "openvino", Doc: "OpenVINO on CPU: u8 activations, s8 weights",
		Activations: ir.Uint8, WeightBits: 8, PerChannel: true,
		Weighted:    []string{"Conv", "ConvTranspose", "MatMul", "Gemm"},
		Light:       []string{"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"},
		Sharing:     []string{"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Split", "Gather"},
		FloatResult: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"},
	}}
}
