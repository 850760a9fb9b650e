// Package requantize is the pass that changes the form and the types of a quantized model.
package requantize

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/qlinear"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Options of the pass.
type Options struct {
	Form        string `opt:"form" enum:"keep|qdq|qoperator" doc:"qdq: float operators between QuantizeLinear and DequantizeLinear; qoperator: QLinearConv and its like, some of ONNX Runtime's own"`
	Activations string `opt:"activations" enum:"keep|u8|s8" doc:"element type of quantized activations; each number moves by 128 with its zero point"`
}

// Promise implements passes.Promiser.
func (o Options) Promise() passes.Promise {
	if o.Form == "keep" {
		return shifted
	}
	return set.Describe(passes.Info{}).Promise
}

var set = rewrite.New(slices.Concat(qlinear.Form(), qlinear.Spread())...)

const ruleType = "type"

// shifted is exact but for NaN, of which the standard does not say which number it becomes.
var shifted = passes.Promise{RelTol: 1e-6}

// Pass changes quantized models.
var Pass = passes.Define(info(), Options{Form: "keep", Activations: "keep"}, run)

func info() passes.Info {
	i := set.Describe(passes.Info{
		Name: "requantize",
		Doc:  "changes the form of a quantized model between QDQ and QOperator, and activations between uint8 and int8",
		Long: `A change of type is exact, but for NaN, whose number the standard leaves open: it shifts the numbers and their zero point, in everything that is connected without a quantization in between.
It is left where the numbers are seen from outside: inputs, outputs, operators that compute with them otherwise. Between the forms, sums are
rounded in another order, which may move a result by one step of its quantization.`,
		Example: "requantize{form=qdq}",
	})
	i.Rules = append(i.Rules, passes.RuleDoc{Name: ruleType, Doc: "moves quantized numbers and their zero points by 128, and makes them of the other type", Promise: shifted})
	return i
}

func run(c *passes.Context, m *ir.Model, o Options) error {
	switch o.Form {
	case "qdq":
		if err := rewrite.Apply(c, m, qlinear.Spread()...); err != nil {
			return err
		}
	case "qoperator":
		if err := rewrite.Apply(c, m, qlinear.Form()...); err != nil {
			return err
		}
	}
	switch o.Activations {
	case "u8":
		return shift(c, m, ir.Int8, ir.Uint8)
	case "s8":
		return shift(c, m, ir.Uint8, ir.Int8)
	}
	return nil
}
