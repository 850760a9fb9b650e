// Package dequantize is the pass that makes a quantized model a float one.
package dequantize

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/qlinear"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Options of the pass.
type Options struct {
	Clip    bool `opt:"clip" doc:"a Clip to the range of the quantizer takes the place of one, which may have been all that was left of a Relu"`
	Weights bool `opt:"weights" doc:"constant weights become float; otherwise only what quantizes activations goes"`
}

var lossy = passes.Promise{Lossy: true}

// Pass makes quantized models float ones.
var Pass = passes.Define(set(Options{Clip: true, Weights: true}).Describe(passes.Info{
	Name: "dequantize",
	Doc:  "makes a quantized model a float one: QDQ, QOperator, products of integers with scales, weights by blocks",
	Long: `Quantized operators become float ones, weights become the floats they stand for, and a quantization followed by its dequantization becomes a
Clip to its range, without the rounding. What the model learned from rounding is lost, and what it lost by rounding does not come back: weights
stay on their steps. What is left between integers that an operator or an output wants stays quantized. A quantization whose integers an operator or an output wants stays.`,
}), Options{Clip: true, Weights: true}, func(c *passes.Context, m *ir.Model, o Options) error {
	if err := rewrite.Apply(c, m, first(o)...); err != nil || !o.Weights {
		return err
	}
	return rewrite.Apply(c, m, weight)
})

func set(o Options) *rewrite.Set { return rewrite.New(append(first(o), weight)...) }

// first are the rules that come before weights: those see which products still compute on integers.
func first(o Options) []*rewrite.Rule {
	return slices.Concat(qlinear.Spread(), []*rewrite.Rule{integer(o.Clip), nbits, lookup, move, pair(o.Clip)})
}
