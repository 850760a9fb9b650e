// Package bnaffine merges arithmetic on channels into the BatchNormalization beside it.
package bnaffine

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass merges Mul, Div, Add and Sub with a constant for each channel into the BatchNormalization before or behind them.
var Pass = rewrite.Define(passes.Info{
	Name: "bn-mul-add",
	Doc:  "merges multiplication by and addition of channel constants into the BatchNormalization beside it",
}, after, before)

const tolerance = 1e-4

// The scale layers of Caffe follow its normalization layers, which have no scale and bias of their own. Converters to Caffe2
// and from there to ONNX write
//
//	x ── BatchNormalization ── Mul ── Add ──   which becomes   x ── BatchNormalization ──
//
// With y = (x - mean) * scale / sqrt(var + epsilon) + bias, y*c + d has scale*c and bias*c + d instead. Where a convolution precedes, all
// of it goes into that; what is left here stands behind a Concat, a pooling or a convolution that others use, too.
var after = &rewrite.Rule{
	Name:    "bn-mul-add",
	Doc:     "merges Mul, Div, Add or Sub of a constant for each channel into the BatchNormalization before it",
	Promise: passes.Promise{RelTol: tolerance},
	Match: rewrite.MustParse(
		`y = BatchNormalization `+affine.Attributes+` (x, scale: const, bias: const, mean: const, var: const)
		z = {Mul, Div, Add, Sub} (y, c: const)`,
		`y = BatchNormalization `+affine.Attributes+` (x, scale: const, bias: const, mean: const, var: const)
		z = Sub (c: const, y)`),
	Where: func(m *rewrite.Match) error {
		p, mul, add, err := read(m, "y", m.Root(), m.Value("y"))
		if err != nil {
			return refuse(m, err)
		}
		for i := range mul {
			p.Scale[i] *= mul[i]
			p.Bias[i] = float64(p.Bias[i]*mul[i]) + add[i]
		}
		return keep(m, "y", "scale", p.Scale, "bias", p.Bias)
	},
	Replace: replace,
}

// Arithmetic before a normalization is that of preprocessing (x/127.5 - 1) or a scale layer before the first normalization, in Keras and
// Caffe models:
//
//	x ── Mul ── BatchNormalization ──   becomes   x ── BatchNormalization ──
//
// x*c + d - mean is (x - (mean-d)/c) * c. A factor of zero has no such form. The operand must surely have the channels: a constant may
// also be what gives it them.
var before = &rewrite.Rule{
	Name:    "mul-add-bn",
	Doc:     "merges Mul, Div, Add or Sub of a constant for each channel into the BatchNormalization behind it",
	Promise: passes.Promise{RelTol: tolerance},
	Match: rewrite.MustParse(
		`y = {Mul, Div, Add, Sub} (x, c: const)
		z = BatchNormalization `+affine.Attributes+` (y, scale: const, bias: const, mean: const, var: const)`,
		`y = Sub (c: const, x)
		z = BatchNormalization `+affine.Attributes+` (y, scale: const, bias: const, mean: const, var: const)`),
	Where: func(m *rewrite.Match) error {
		p, mul, add, err := read(m, "z", m.Node("y"), m.Value("x"))
		if err != nil {
			return refuse(m, err)
		}
		if s := m.Shape("x"); m.Const("c").Len() > 1 && !s[1].Same(ir.Static(int64(len(mul)))) {
			return fmt.Errorf("x has shape %s, not surely %d channels", s, len(mul))
		}
		for i := range mul {
			if mul[i] == 0 {
				return fmt.Errorf("channel %d is multiplied by zero", i)
			}
			p.Scale[i] *= mul[i]
			p.Mean[i] = (p.Mean[i] - add[i]) / mul[i]
		}
		return keep(m, "z", "scale", p.Scale, "mean", p.Mean)
	},
	Replace: replace,
}

// read reads the normalization that gives the value called norm and the arithmetic of n on v.
func read(m *rewrite.Match, norm string, n *ir.Node, v *ir.Value) (p *affine.Norm, mul, add []float64, err error) {
	rank := -1
	if s := m.TypeOf(v).TensorShape(); s.Known() {
		rank = len(s)
	}
	channels := m.Const("scale").Len()
	if p, err = affine.ReadNorm(m.Node(norm), channels); err != nil {
		return nil, nil, nil, err
	}
	mul, add, err = affine.ReadArithmetic(n, v, channels, rank)
	return p, mul, add, err
}

func refuse(m *rewrite.Match, err error) error {
	if !affine.IsRefusal(err) {
		m.Fail(err)
	}
	return err
}

// merged is a normalization and its new operands by their names in the pattern.
type merged struct {
	norm *ir.Node
	new  map[string]*ir.Tensor
}

// keep rounds the new operands a and b.
func keep(m *rewrite.Match, norm, a string, va []float64, b string, vb []float64) error {
	r := &merged{m.Node(norm), map[string]*ir.Tensor{}}
	for i, name := range []string{a, b} {
		old := m.Const(name)
		t, err := weights.Round(old.DType(), old.Shape(), [][]float64{va, vb}[i])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.new[name] = t
	}
	m.Keep = r
	return nil
}

func replace(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	r := m.Keep.(*merged)
	in := []*ir.Value{m.Value("x")}
	for _, name := range []string{"scale", "bias", "mean", "var"} {
		v := m.Value(name)
		if t := r.new[name]; t != nil {
			v = b.Const(v.Name(), t)
		}
		in = append(in, v)
	}
	return []*ir.Value{b.Like(r.norm, in)}
}
