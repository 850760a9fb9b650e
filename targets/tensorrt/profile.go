package tensorrt

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize"
)

// Profiles of quantize for TensorRT, whose explicit quantization is symmetric. The target's pipeline makes biases float.
func Profiles() []quantize.Profile {
	return []quantize.Profile{{
		Name: "tensorrt", Doc: "TensorRT: symmetric int8, biases in float",
		Activations: ir.Int8, Symmetric: true, WeightBits: 8, PerChannel: true,
		Weighted:    []string{"Conv", "ConvTranspose", "MatMul", "Gemm"},
		Light:       []string{"Add", "AveragePool", "GlobalAveragePool"},
		Sharing:     []string{"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Concat"},
		FloatResult: []string{"Conv", "ConvTranspose", "MatMul", "Gemm"},
	}}
}
