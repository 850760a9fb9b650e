// Package quantized makes operators between DequantizeLinear and QuantizeLinear quantized ones, as ONNX Runtime does.
package quantized

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/internal/qlinear"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes QLinearConv and QLinearMatMul, and QGemm, QLinearAdd and their like, and products that quantize by themselves, of com.microsoft.
var Pass = passes.Define(rewrite.New(append(qlinear.Choose(nil), second()...)...).Describe(passes.Info{
	Name: "ort-quantized",
	Doc:  "makes operators between DequantizeLinear and QuantizeLinear quantized ones, and joins products of integers with their scales",
	Long: `ONNX Runtime's level 2 does the same to a model when it loads it. Results differ by at most one step of the quantization.`,
}), struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
	products := map[*ir.Graph]bool{}
	for n := range m.Nodes() {
		if n.Is("Conv", "MatMul", "Gemm") && contrib.Quantized(n.Operands()...) != nil {
			products[n.Graph()] = true
		}
	}
	if err := rewrite.Apply(c, m, qlinear.Choose(products)...); err != nil {
		return err
	}
	return rewrite.Apply(c, m, second()...)
})

func second() []*rewrite.Rule { return slices.Concat(qlinear.Form(), qlinear.Dynamic()) }
