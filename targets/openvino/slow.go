package openvino

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/slow"
)

// slowly says what OpenVINO runs slower than it could on a CPU.
func slowly(_ *passes.Context, m *ir.Model, report func(targets.Finding)) error {
	slow.Dynamic(m, "memory is planned anew for every other size", report)
	k := slow.Integers{ // which low precision transformations keep on integers
		Ops: strings.Fields(`Conv ConvTranspose MatMul Gemm Add Mul Concat AveragePool GlobalAveragePool ReduceMean MaxPool Reshape Flatten Transpose Squeeze Unsqueeze
Resize Slice Split Gather Pad DepthToSpace SpaceToDepth Relu Clip PRelu`),
		Float:   strings.Fields("Conv ConvTranspose MatMul Gemm Add Mul"),
		Profile: "openvino", Activate: strings.Fields("Relu Clip PRelu LeakyRelu HardSwish Sigmoid Tanh"),
	}
	k.Report(m, report)
	slow.Unfused(m, "BatchNormalization", "Conv", "conv-bn", report)
	return nil
}
