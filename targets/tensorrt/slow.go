package tensorrt

import (
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/slow"
)

// slowly says what TensorRT runs slower than it could.
func slowly(_ *passes.Context, m *ir.Model, report func(targets.Finding)) error {
	slow.Dynamic(m, "an engine is tuned for the sizes of its profile", report)
	k := slow.Integers{
		Ops: strings.Fields(`Conv ConvTranspose MatMul Gemm Add AveragePool GlobalAveragePool MaxPool Reshape Flatten Transpose Squeeze Unsqueeze Resize Slice Concat Mul
Softmax LayerNormalization`),
		Float:   strings.Fields("Conv ConvTranspose MatMul Gemm Add Mul Softmax LayerNormalization"),
		Profile: "tensorrt", Activate: strings.Fields("Relu Clip Sigmoid Tanh LeakyRelu HardSwish"),
	}
	k.Report(m, report)
	var half []*ir.Node // sums of which one branch is quantized
	for n := range m.Nodes() {
		if !n.Is("Add") || n.NumOperands() != 2 {
			continue
		}
		d := func(v *ir.Value) bool { return v != nil && v.Node() != nil && v.Node().Is("DequantizeLinear") }
		if d(n.Operand(0)) != d(n.Operand(1)) && !slices.ContainsFunc(n.Operands(), func(v *ir.Value) bool { return v.Const() != nil }) {
			half = append(half, n)
		}
	}
	if len(half) > 0 {
		report(targets.Finding{
			Kind: targets.Slow, Rule: "residual", Node: targets.NodeName(half[0]), Op: "Add", Count: len(half),
			Why: "only one branch of a sum is quantized, so that it is not fused in int8", Mend: "dequantize,quantize{profile=tensorrt}",
		})
	}
	_, scattered, _, err := sparse(m)
	if err != nil {
		return err
	}
	if len(scattered) > 0 {
		report(targets.Finding{
			Kind: targets.Slow, Rule: "sparsity", Node: targets.NodeName(scattered[0]), Op: scattered[0].Op().String(), Count: len(scattered),
			Why: "half of the weights and more are zero, but not two in every four along the inputs, which is what sparse tensor cores take", Mend: "prune{pattern=2:4}",
		})
	}
	return nil
}
