// Package qlinear has the rules between the two forms of quantized models: operators between DequantizeLinear and QuantizeLinear (QDQ), and
// operators that take and give integers (QOperator).
package qlinear

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Choose are the rules that choose the type, before operators are made of it; products are the graphs with products of quantized numbers.
func Choose(products map[*ir.Graph]bool) []*rewrite.Rule {
	u := *unsigned
	u.Where = func(m *rewrite.Match) error {
		if !products[m.Root().Graph()] {
			return errors.New("there is no product of quantized numbers that would be faster")
		}
		return unsigned.Where(m)
	}
	return []*rewrite.Rule{relu, &u}
}

// Form makes operators between quantizations quantized ones.
func Form() []*rewrite.Rule { return []*rewrite.Rule{move, conv, unary, binary, product, gemm, pool} }

// Dynamic joins products of integers with their scales, and with the quantization of their input.
func Dynamic() []*rewrite.Rule { return []*rewrite.Rule{integer, dynamic} }

// Quantization to the lowest number at zero cuts what is below zero off. Quantizers of torch and TensorFlow leave the Relu there:
//
//	x ── Relu ── QuantizeLinear (zero point -128 or 0) ──   becomes   x ── QuantizeLinear ──
var relu = &rewrite.Rule{
	Name: "relu-quantize",
	Doc:  "removes a Relu before a quantization that cuts off what is below zero",
	Match: rewrite.MustParse(`
		r = Relu (x)
		y = QuantizeLinear <...> (r, s: const, z: const)`, `
		r = Relu (x)
		y = QuantizeLinear <...> (r, s: const)`),
	Where: func(m *rewrite.Match) error {
		if m.Root().Attr("block_size") != nil || m.Root().Attr("output_dtype") != nil {
			return errors.New("the quantization is by blocks or states its type")
		}
		if positive, err := positive(m, "s"); err != nil || !positive {
			return errors.Join(err, errors.New("a scale is not positive"))
		}
		if !m.Has("z") {
			return nil // uint8, at 0
		}
		v, low, err := zeros(m, "z")
		if err != nil {
			return err
		}
		if slices.ContainsFunc(v, func(z int64) bool { return z != low }) {
			return fmt.Errorf("zero is at %v, and the lowest number is %d", v, low)
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := []*ir.Value{m.Value("x"), m.Value("s")}
		if m.Has("z") {
			in = append(in, m.Value("z"))
		}
		return []*ir.Value{b.Like(m.Root(), in)}
	},
}

// ONNX Runtime multiplies uint8 by int8 several times faster than int8 by int8 on x86, where it makes the same change when it loads a model; on
// other processors both are alike:
//
//	x ── QuantizeLinear (int8) ── DequantizeLinear ──   becomes   x ── QuantizeLinear (uint8) ── DequantizeLinear ──
var unsigned = &rewrite.Rule{
	Name:    "to-uint8",
	Doc:     "makes numbers between a quantization to int8 and its dequantization uint8, with zero 128 higher",
	Promise: passes.Promise{RelTol: 1e-6},
	Match: rewrite.MustParse(`
		q = QuantizeLinear <axis = @qaxis> (x, s: const, z: const)
		y = DequantizeLinear <axis = @axis> (q, s, z)`),
	Where: func(m *rewrite.Match) error {
		if d := m.Const("z").DType(); d != ir.Int8 {
			return fmt.Errorf("the numbers are of %s", d)
		}
		if m.Attr("axis").Int() != m.Attr("qaxis").Int() && m.Const("s").Len() != 1 {
			return errors.New("the axes differ")
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		v, low, err := zeros(m, "z")
		if err != nil {
			b.Fail(err)
			return []*ir.Value{m.Value("x")}
		}
		z := make([]uint8, len(v))
		for i := range v {
			z[i] = uint8(v[i] - low)
		}
		zero := b.Const("", ir.TensorOf(z).Reshape(m.Const("z").Shape()))
		q := b.Like(m.Node("q"), []*ir.Value{m.Value("x"), m.Value("s"), zero})
		return []*ir.Value{b.Like(m.Root(), []*ir.Value{q, m.Value("s"), zero})}
	},
}

// A quantized convolution in the form of QDQ, as onnxruntime.quantization, torch and TensorFlow exporters write it:
//
//	x ── DequantizeLinear ─┬─ Conv ── QuantizeLinear ──   becomes   x ─┬─ QLinearConv ──
//	w ── DequantizeLinear ─┤                                         w ─┤
//	b ── DequantizeLinear ─┘                                         b ─┘
//
// The bias, of int32, has the product of the scales of x and w.
var conv = &rewrite.Rule{
	Name:    "qlinear-conv",
	Doc:     "makes a convolution between quantizations a QLinearConv",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		dx: shared = DequantizeLinear <...> (x, xs: const, xz?: const)
		dw: shared = DequantizeLinear <axis = @waxis> (w: const, ws: const, wz?: const)
		db: shared = DequantizeLinear <axis = @baxis> (b: const, bs: const, bz?: const)
		c = Conv <...> (dx, dw, db)
		y = QuantizeLinear <...> (c, ys: const, yz: const)`, `
		dx: shared = DequantizeLinear <...> (x, xs: const, xz?: const)
		dw: shared = DequantizeLinear <axis = @waxis> (w: const, ws: const, wz?: const)
		c = Conv <...> (dx, dw)
		y = QuantizeLinear <...> (c, ys: const, yz: const)`),
	Where: func(m *rewrite.Match) error {
		x, w, y := m.DType("x"), m.DType("w"), m.DType("yz")
		if x != y || x != ir.Int8 && x != ir.Uint8 || w != ir.Int8 && !(w == ir.Uint8 && x == ir.Uint8) {
			return fmt.Errorf("ONNX Runtime has no QLinearConv of %s by %s to %s", x, w, y)
		}
		if err := scalars(m, "xs", "ys"); err != nil {
			return err
		}
		channels := m.Const("w").Shape()[0]
		if s := m.Const("ws"); s.DType() != ir.Float32 || s.Len() != 1 && (s.Rank() != 1 || s.Len() != channels || m.Attr("waxis").Int() != 0) {
			return fmt.Errorf("the weights' scales are a %s", s.Type())
		}
		if m.Has("wz") {
			z, _, err := zeros(m, "wz")
			if err != nil {
				return err
			}
			if slices.ContainsFunc(z, func(v int64) bool { return v != z[0] }) {
				return errors.New("the weights' zero points differ")
			}
		}
		if m.Has("db") {
			return bias(m)
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := []*ir.Value{m.Value("x"), one(b, m, "xs"), zero(b, m, "xz", "x"), m.Value("w"), m.Value("ws"), wzero(b, m), one(b, m, "ys"), zero(b, m, "yz", "x")}
		if m.Has("db") {
			in = append(in, m.Value("b"))
		}
		return []*ir.Value{b.Op("QLinearConv", in, m.Node("c").Attrs()...)}
	},
}

// bias says why the bias is not of int32 with the product of the scales of X and W.
func bias(m *rewrite.Match) error {
	if m.Const("b").DType() != ir.Int32 || m.Const("b").Rank() != 1 {
		return fmt.Errorf("the bias is a %s", m.Type("b"))
	}
	if m.Has("bz") {
		z, _, err := zeros(m, "bz")
		if err != nil || slices.ContainsFunc(z, func(v int64) bool { return v != 0 }) {
			return errors.New("zero of the bias is not at 0")
		}
	}
	var s [3][]float32
	for i, name := range []string{"xs", "ws", "bs"} {
		v, err := ir.Elements[float32](m.Const(name))
		if err != nil {
			m.Fail(err)
			return err
		}
		s[i] = v
	}
	if len(s[2]) != 1 && (m.Attr("baxis").Int() != 0 && m.Attr("baxis").Int() != 1 || int64(len(s[2])) != m.Const("b").Len()) {
		return errors.New("the bias has another number of scales")
	}
	for i := range max(len(s[1]), len(s[2])) {
		w, have := s[1][min(i, len(s[1])-1)], s[2][min(i, len(s[2])-1)]
		if want := float64(s[0][0]) * float64(w); !(math.Abs(float64(have)-want) <= 1e-5*want) {
			return fmt.Errorf("scale %v of the bias is not the product of those of X and W, %v", have, want)
		}
	}
	return nil
}

// Functions of one element, which ONNX Runtime looks up in a table:
//
//	x ── DequantizeLinear ── Sigmoid ── QuantizeLinear ──   becomes   x ── QLinearSigmoid ──
var unary = &rewrite.Rule{
	Name:    "qlinear-unary",
	Doc:     "makes Sigmoid or LeakyRelu between quantizations a quantized one",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		dx: shared = DequantizeLinear <...> (x, xs: const, xz?: const)
		c = {Sigmoid, LeakyRelu} <...> (dx)
		y = QuantizeLinear <...> (c, ys: const, yz: const)`),
	Where: func(m *rewrite.Match) error {
		if x, y := m.DType("x"), m.DType("yz"); x != y || x != ir.Int8 && x != ir.Uint8 {
			return fmt.Errorf("ONNX Runtime has no such operator of %s to %s", x, y)
		}
		for _, name := range []string{"xs", "ys", "yz"} {
			if m.Value(name).Graph() != m.Root().Graph() {
				return errors.New("ONNX Runtime makes the table of values anew at each run where the quantization stands in an outer graph")
			}
		}
		return scalars(m, "xs", "ys")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := []*ir.Value{m.Value("x"), one(b, m, "xs"), zero(b, m, "xz", "x"), one(b, m, "ys"), zero(b, m, "yz", "x")}
		n := m.Node("c")
		if n.Is("Sigmoid") {
			return []*ir.Value{contrib.Op(b, "QLinearSigmoid", in)}
		}
		return []*ir.Value{contrib.Op(b, "QLinearLeakyRelu", in, ir.FloatAttr("alpha", ops.Float(n, "alpha")))}
	},
}

// one is the named constant of one element as a scalar.
func one(b *rewrite.Builder, m *rewrite.Match, name string) *ir.Value {
	return scalar(b, m.Value(name))
}

func scalar(b *rewrite.Builder, v *ir.Value) *ir.Value {
	if v.Const().Rank() == 0 {
		return v
	}
	return b.Const(v.Name(), v.Const().Reshape([]int64{}))
}

// zero is the named zero point as a scalar; one that is omitted is 0 of the type of the value called like.
func zero(b *rewrite.Builder, m *rewrite.Match, name, like string) *ir.Value {
	if v := m.Value(name); v != nil {
		return scalar(b, v)
	}
	if m.DType(like) == ir.Int8 {
		return b.Const("", ir.ScalarOf(int8(0)))
	}
	return b.Const("", ir.ScalarOf(uint8(0)))
}

// wzero is the weights' zero point as a scalar: they are all the same.
func wzero(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
	v := m.Value("wz")
	if v == nil || v.Const().Len() == 1 {
		return zero(b, m, "wz", "w")
	}
	z, _, err := zeros(m, "wz")
	if err != nil {
		b.Fail(err)
		return v
	}
	if m.DType("w") == ir.Int8 {
		return b.Const(v.Name(), ir.ScalarOf(int8(z[0])))
	}
	return b.Const(v.Name(), ir.ScalarOf(uint8(z[0])))
}

// positive reports whether all elements of a constant of floats are.
func positive(m *rewrite.Match, name string) (bool, error) {
	if m.Const(name).DType() != ir.Float32 {
		return false, nil
	}
	v, err := ir.Elements[float32](m.Const(name))
	m.Fail(err)
	return !slices.ContainsFunc(v, func(s float32) bool { return !(s > 0) }), err
}

// zeros are the elements of a zero point, and the lowest number of its type.
func zeros(m *rewrite.Match, name string) (v []int64, low int64, err error) {
	switch t := m.Const(name); t.DType() {
	case ir.Int8:
		e, err := ir.Elements[int8](t)
		for _, x := range e {
			v = append(v, int64(x))
		}
		return v, math.MinInt8, err
	case ir.Uint8:
		e, err := ir.Elements[uint8](t)
		for _, x := range e {
			v = append(v, int64(x))
		}
		return v, 0, err
	case ir.Int32:
		e, err := ir.Elements[int32](t)
		for _, x := range e {
			v = append(v, int64(x))
		}
		return v, math.MinInt32, err
	}
	return nil, 0, fmt.Errorf("the zero point is a %s", m.Const(name).Type())
}
