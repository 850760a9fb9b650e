// Package padconv folds Pad into the convolution or pooling behind it.
package padconv

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass folds Pad into the pads of Conv, AveragePool and MaxPool.
var Pass = rewrite.Define(passes.Info{
	Name: "pad-into-conv",
	Doc:  "folds Pad of spatial axes into the pads of the convolution or pooling behind it",
}, conv, averagePool, maxPool)

// Before opset 11 Pad states what it does by attributes, from then on by operands. ZeroPadding2D of Keras and tf.pad before a
// strided convolution become such nodes.
const (
	padByAttributes = `p = Pad <mode = "constant", pads = @pads, value = @value> (x)
		`
	padByOperands = `p = Pad <mode = "constant"> (x, pads: const, value?: scalar, axes?: const)
		`
)

// tf2onnx and Keras write ZeroPadding2D before a strided convolution, PyTorch nn.ZeroPad2d and uneven paddings:
//
//	x ── Pad ── Conv ──   becomes   x ── Conv ──
var conv = &rewrite.Rule{
	Name: "pad-conv",
	Doc:  "folds Pad with zeros into the pads of Conv",
	Match: rewrite.MustParse(
		padByAttributes+`y = Conv <...> (p, w, b?)`,
		padByOperands+`y = Conv <...> (p, w, b?)`),
	Where: func(m *rewrite.Match) error {
		if v := padValue(m); v != 0 || math.Signbit(v) {
			return fmt.Errorf("it pads with %v", v)
		}
		return keepPads(m, m.Shape("w"))
	},
	Replace: replace,
}

// The padding counts in the average, as it did when it was part of the operand. Older PyTorch exporters write every padded AvgPool so.
//
//	x ── Pad ── AveragePool ──   becomes   x ── AveragePool ──
var averagePool = &rewrite.Rule{
	Name: "pad-average-pool",
	Doc:  "folds Pad with zeros into the pads of AveragePool, which are then counted",
	Match: rewrite.MustParse(
		padByAttributes+`y = AveragePool <...> (p)`,
		padByOperands+`y = AveragePool <...> (p)`),
	Where: func(m *rewrite.Match) error {
		if v := padValue(m); v != 0 || math.Signbit(v) {
			return fmt.Errorf("it pads with %v", v)
		}
		if m.Opset("") < 7 {
			return errors.New("AveragePool cannot count padding before opset 7")
		}
		own := false
		for _, x := range ownPads(m.Root()) {
			own = own || x != 0
		}
		if own && m.Root().Int("count_include_pad", 0) == 0 {
			return errors.New("the pooling has padding of its own that does not count")
		}
		return keepPoolPads(m)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return replaceBy(b, m, ir.IntAttr("count_include_pad", 1))
	},
}

// MaxPool pads with what is less than every number. Zeros do the same where no element is negative and each window holds one.
// What differs is the sign of a zero. Keras's ResNet has its ZeroPadding2D behind a Relu here.
//
//	x ── Relu ── Pad ── MaxPool ──   becomes   x ── Relu ── MaxPool ──
var maxPool = &rewrite.Rule{
	Name:    "pad-max-pool",
	Doc:     "folds Pad with -infinity, or with zeros behind Relu, into the pads of MaxPool",
	Promise: passes.Promise{RelTol: 1e-6},
	Match: rewrite.MustParse(
		padByAttributes+`y = MaxPool <...> (p)`,
		padByOperands+`y = MaxPool <...> (p)`),
	Where: func(m *rewrite.Match) error {
		switch v := padValue(m); {
		case !m.DType("x").IsFloat():
			return fmt.Errorf("the elements are of type %s", m.DType("x"))
		case v == 0 && !nonNegative(m.Value("x")):
			return errors.New("it pads with 0 what may be negative")
		case v != 0 && !math.IsInf(v, -1):
			return fmt.Errorf("it pads with %v", v)
		}
		return keepPoolPads(m)
	},
	Replace: replace,
}

// padValue is what the Pad of the match pads with, 0 by default. The pattern saw to it that an operand has one element.
func padValue(m *rewrite.Match) float64 {
	if !m.Has("pads") {
		return float64(m.Attr("value").Float())
	}
	if !m.Has("value") {
		return 0
	}
	v, ok, err := rewrite.Scalar(m.Const("value"))
	m.Fail(err)
	if !ok {
		return math.NaN()
	}
	return v
}

// nonNegative reports whether v is the result of an operator that gives no negative number.
func nonNegative(v *ir.Value) bool {
	n := v.Node()
	if n == nil {
		return false
	}
	if n.Is("Clip") {
		low, ok, err := rewrite.Scalar(n.Operand(1).Const())
		return ok && err == nil && low >= 0 || n.Float("min", -1) >= 0
	}
	return n.Is("Relu", "Sigmoid")
}

func replace(b *rewrite.Builder, m *rewrite.Match) []*ir.Value { return replaceBy(b, m) }

// replaceBy builds the consumer of the Pad with the sum of the pads and further attributes.
func replaceBy(b *rewrite.Builder, m *rewrite.Match, attrs ...*ir.Attr) []*ir.Value {
	n := m.Root()
	in := n.Operands()
	in[0] = m.Value("x")
	attrs = append(attrs, ir.IntsAttr("pads", m.Keep.([]int64)))
	if n.Attr("auto_pad") != nil {
		attrs = append(attrs, ir.StringAttr("auto_pad", "NOTSET"))
	}
	return []*ir.Value{b.Like(n, in, attrs...)}
}
