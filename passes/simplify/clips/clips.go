// Package clips is the pass that joins operators which bound a value.
package clips

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Options are the options of clips.
type Options struct {
	Exact bool `opt:"exact" doc:"leaves out rules that may turn -0 into 0 or the other way round"`
}

// Promise implements passes.Promiser.
func (o Options) Promise() passes.Promise { return signOfZero.Unless(o.Exact) }

// signOfZero is the promise of rules over Min and Max, which order -0 below 0, where Clip and Relu keep the sign of a zero.
var signOfZero = passes.Promise{RelTol: 1e-7}

// Pass joins Relu, Clip, Min and Max with a number into one Clip or Relu.
var Pass = passes.Define(all.Describe(passes.Info{
	Name:    "clips",
	Doc:     "joins Relu, Clip, and Min and Max with a number",
	Example: "clips{exact=true}",
}), Options{}, func(c *passes.Context, m *ir.Model, o Options) error {
	if o.Exact {
		return exact.Apply(c, m)
	}
	return all.Apply(c, m)
})

var (
	all   = rewrite.New(pair, minMax, maxZero)
	exact = all.Exact()
)

// Mobile networks leave Clip behind Relu, and quantization tools Relu behind Clip:
//
//	x ── Relu ── Clip 0 6 ──   becomes   x ── Clip 0 6 ──
var pair = &rewrite.Rule{
	Name: "pair",
	Doc:  "joins Relu and Clip that follow each other",
	Match: rewrite.MustParse(`
		y = {Relu, Clip} <...> (x, a...)
		z = {Relu, Clip} <...> (y, b...)`),
	Where:   joins,
	Replace: replace,
}

var minMax = &rewrite.Rule{
	Name:    "min-max",
	Doc:     "joins Min and Max with a number, or one of them with Relu or Clip, into Clip",
	Promise: signOfZero,
	Match: rewrite.MustParse(`
		y = {Min, Max} (x, c: const)
		z = {Min, Max} (y, d: const)`, `
		y = {Min, Max} (x, c: const)
		z = {Relu, Clip} <...> (y, b...)`, `
		y = {Relu, Clip} <...> (x, a...)
		z = {Min, Max} (y, d: const)`),
	Where:   joins,
	Replace: replace,
}

var maxZero = &rewrite.Rule{
	Name:    "max-zero",
	Doc:     "makes Max with zero a Relu",
	Promise: signOfZero,
	Match:   rewrite.MustParse(`z = Max (x, 0)`),
	Where: func(m *rewrite.Match) error {
		_, err := limitsOf(m, m.Root(), m.Value("x"))
		m.Keep = limits{0, math.Inf(1)}
		return err
	},
	Replace: replace,
}

// limits bound a value from below and above: what is less than lo becomes lo, what is more than hi becomes hi.
type limits struct{ lo, hi float64 }

// joins finds the limits of both operators together.
func joins(m *rewrite.Match) error {
	first, err := limitsOf(m, m.Node("y"), m.Value("x"))
	if err != nil {
		return err
	}
	second, err := limitsOf(m, m.Root(), m.Value("y"))
	if err != nil {
		return err
	}
	bound := func(x float64) float64 { return min(max(x, second.lo), second.hi) }
	l := limits{bound(first.lo), bound(first.hi)}
	if (first.lo > 0 || first.hi < 0) && (l.lo == 0 || l.hi == 0) {
		return errors.New("a zero that comes of the second bound would keep the sign of one that goes in")
	}
	if m.Opset("") < 11 && l != (limits{0, math.Inf(1)}) && (math.IsInf(l.lo, 0) || math.IsInf(l.hi, 0) || m.DType("x") == ir.Float64) {
		return errors.New("before opset 11 Clip states its bounds by attributes")
	}
	m.Keep = l
	return nil
}

// limitsOf are the limits that n sets to its operand x.
func limitsOf(m *rewrite.Match, n *ir.Node, x *ir.Value) (limits, error) {
	d := m.TypeOf(x).DType()
	if d != ir.Float32 && d != ir.Float16 && d != ir.Float64 {
		return limits{}, fmt.Errorf("x is of type %s, not surely a float", d)
	}
	if m.Opset("") < 6 {
		return limits{}, errors.New("it is of before opset 6")
	}
	l := limits{math.Inf(-1), math.Inf(1)}
	switch n.Op().Type {
	case "Relu":
		l.lo = 0
	case "Clip":
		l.lo, l.hi = -largest(d), largest(d) // what is not stated is the largest finite number
		for i, at := range []*float64{&l.lo, &l.hi} {
			if m.Opset("") < 11 {
				if a := n.Attr([]string{"min", "max"}[i]); a != nil {
					*at = float64(a.Float())
				}
				if d == ir.Float16 {
					return l, errors.New("its bounds are rounded to half precision")
				}
			} else if v := n.Operand(i + 1); v != nil {
				c, ok, err := rewrite.Scalar(v.Const())
				m.Fail(err)
				if !ok {
					return l, errors.New("a bound is not known")
				}
				*at = c
			}
		}
	default:
		k := slices.Index(n.Operands(), x)
		v := n.Operand(1 - k)
		c, ok, err := rewrite.Scalar(v.Const())
		m.Fail(err)
		switch {
		case !ok || v == x:
			return l, errors.New("the bound is no number")
		case v.Const().Rank() > 0 && v.Const().Rank() > len(m.TypeOf(x).TensorShape()):
			return l, errors.New("the bound may add axes")
		case m.Opset("") < 8:
			return l, errors.New("before opset 8 Min and Max do not broadcast")
		case n.Is("Min"):
			l.hi = c
		default:
			l.lo = c
		}
	}
	if !(l.lo <= l.hi) || negativeZero(l.lo) || negativeZero(l.hi) {
		return l, fmt.Errorf("the bounds are %v and %v", l.lo, l.hi)
	}
	return l, nil
}

func negativeZero(x float64) bool { return x == 0 && math.Signbit(x) }

// largest is the largest finite number of a type.
func largest(d ir.DType) float64 {
	switch d {
	case ir.Float16:
		return 65504
	case ir.Float32:
		return math.MaxFloat32
	}
	return math.MaxFloat64
}

func replace(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	l, x := m.Keep.(limits), m.Value("x")
	if l == (limits{0, math.Inf(1)}) {
		return []*ir.Value{b.Op("Relu", []*ir.Value{x})}
	}
	if m.Opset("") < 11 {
		return []*ir.Value{b.Op("Clip", []*ir.Value{x}, ir.FloatAttr("min", float32(l.lo)), ir.FloatAttr("max", float32(l.hi)))}
	}
	d := m.DType("x")
	in := []*ir.Value{x, nil, nil}
	for i, v := range []float64{l.lo, l.hi} {
		if math.Abs(v) != largest(d) || (v < 0) != (i == 0) {
			in[i+1] = b.Const("", scalar(d, v))
		}
	}
	return []*ir.Value{b.Op("Clip", in)}
}

// scalar is v, which is one of d, as a constant.
func scalar(d ir.DType, v float64) *ir.Tensor {
	switch d {
	case ir.Float16:
		return ir.NewTensor(d, []int64{}, ir.AsBytes([]uint16{kernel.Float32ToFloat16(float32(v))}))
	case ir.Float32:
		return ir.ScalarOf(float32(v))
	}
	return ir.ScalarOf(v)
}
