package onnxruntime

import (
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/slow"
)

// slowly says what ONNX Runtime runs slower than it could on a CPU.
func slowly(_ *passes.Context, m *ir.Model, report func(targets.Finding)) error {
	k := slow.Integers{ // whose QDQ groups the runtime fuses on the CPU
		Ops: strings.Fields(`Conv MatMul Gemm Add Mul Concat AveragePool GlobalAveragePool Sigmoid LeakyRelu Softmax Where MaxPool Reshape Flatten Transpose Squeeze
Unsqueeze Resize Slice Split Gather Expand Tile ArgMax`),
		Float:   strings.Fields("MatMul Gemm ArgMax"),
		Profile: "ort-cpu", Activate: strings.Fields("Relu Clip"),
	}
	k.Report(m, report)
	slow.Unfused(m, "BatchNormalization", "Conv", "conv-bn", report)
	var wide []*ir.Node
	for n := range m.Nodes() {
		if Saturates(n) {
			wide = append(wide, n)
		}
	}
	if len(wide) > 0 {
		report(targets.Finding{
			Kind: targets.Slow, Rule: "saturation", Node: targets.NodeName(wide[0]), Op: wide[0].Op().String(), Count: len(wide),
			Why: "weights use all 8 bits: products saturate on x86 without VNNI, or run slower with session.x64quantprecision", Mend: "dequantize,quantize{profile=ort-cpu}",
		})
	}
	return nil
}
