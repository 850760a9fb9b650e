package dequantize

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Weights of QDQ models:
//
//	w (int8) ── DequantizeLinear ──   becomes   w (float) ──
var weight = &rewrite.Rule{
	Name:  "weight",
	Doc:   "makes a constant that is dequantized a float one",
	Match: rewrite.MustParse(`y = DequantizeLinear <...> (w: const, s: const, z?: const)`),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		t, err := evaluated(m.Root(), m.Opset(""), m.Type("y"))
		if err != nil {
			b.Fail(err)
			return []*ir.Value{m.Value("y")}
		}
		return []*ir.Value{b.Const(m.Value("w").Name(), t)}
	},
	Where: func(m *rewrite.Match) error {
		if d := m.DType("y"); d != ir.Float32 && d != ir.Float16 && d != ir.BFloat16 {
			return fmt.Errorf("the result is of type %s", d)
		}
		for u := range m.Value("y").Uses() {
			if stays(u.Node) {
				return fmt.Errorf("%s still computes on integers", u.Node)
			}
		}
		return nil
	},
}

// stays reports whether n is between quantizations, so that runtimes compute it on integers. ONNX Runtime quantizes float weights there
// again, and fails at it in old opsets.
func stays(n *ir.Node) bool {
	x := n.Operand(0)
	if !n.Is("Conv", "ConvTranspose", "MatMul", "Gemm") || x == nil || x.Node() == nil || !x.Node().Is("DequantizeLinear") || x.Node().Operand(0).Const() != nil {
		return false
	}
	for u := range n.Result(0).Uses() {
		if u.Node.Is("QuantizeLinear") {
			return true
		}
	}
	return false
}

// pair makes the rule for what quantizes activations:
//
//	x ── QuantizeLinear ── DequantizeLinear ──   becomes   x ── Clip ──
//
// The range of the quantizer may be all that is left of a Relu or Clip.
func pair(clip bool) *rewrite.Rule {
	return &rewrite.Rule{
		Name:    "pair",
		Doc:     "removes a quantization and its dequantization; a Clip to its range stays",
		Promise: lossy,
		Match: rewrite.MustParse(`
			q: shared = QuantizeLinear <...> (x, s: const, z: const)
			y = DequantizeLinear <...> (q, s, z)`, `
			q: shared = QuantizeLinear <...> (x, s: const)
			y = DequantizeLinear <...> (q, s)`),
		Where: func(m *rewrite.Match) error {
			var z *ir.Tensor
			if m.Has("z") {
				z = m.Const("z")
			} else if m.Node("q").Attr("output_dtype") != nil {
				return errors.New("the quantizer states its type")
			}
			lo, hi, err := span(m, m.Const("s"), z)
			if err != nil {
				return err
			}
			if d := m.DType("x"); d != m.DType("y") || d != ir.Float32 && d != ir.Float16 {
				return fmt.Errorf("%s becomes %s", d, m.DType("y"))
			}
			if m.DType("x") == ir.Float16 && m.Opset("") < 11 {
				return errors.New("there is no Clip of float16 between constants in the opset")
			}
			m.Keep = [2]float32{lo, hi}
			return nil
		},
		Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			k := m.Keep.([2]float32)
			if !clip {
				return []*ir.Value{m.Value("x")}
			}
			return []*ir.Value{clipped(b, m, m.Value("x"), m.DType("x"), k[0], k[1])}
		},
	}
}

// span is the range of a quantizer of constant scale and zero point; a nil zero point is 0 of uint8.
func span(m *rewrite.Match, scale, zero *ir.Tensor) (lo, hi float32, err error) {
	s, ok, err := rewrite.Scalar(scale)
	if err != nil {
		m.Fail(err)
		return 0, 0, err
	}
	if !ok || !(s > 0) || math.IsInf(s, 0) {
		return 0, 0, errors.New("the scale is not one positive number")
	}
	d, z := ir.Uint8, 0.0
	if zero != nil {
		d = zero.DType()
		if z, ok, err = rewrite.Scalar(zero); err != nil || !ok {
			m.Fail(err)
			return 0, 0, errors.New("the zero point is not one integer")
		}
	}
	least, most := 0.0, 0.0
	switch d {
	case ir.Uint8, ir.Uint16:
		most = math.Ldexp(1, d.Bits()) - 1
	case ir.Int8, ir.Int16:
		least, most = -math.Ldexp(1, d.Bits()-1), math.Ldexp(1, d.Bits()-1)-1
	default:
		return 0, 0, fmt.Errorf("the numbers are of type %s", d)
	}
	return float32((least - z) * s), float32((most - z) * s), nil
}

// clipped is x within bounds.
func clipped(b *rewrite.Builder, m *rewrite.Match, x *ir.Value, d ir.DType, lo, hi float32) *ir.Value {
	if m.Opset("") < 11 {
		return b.Op("Clip", []*ir.Value{x}, ir.FloatAttr("min", lo), ir.FloatAttr("max", hi))
	}
	return b.Op("Clip", []*ir.Value{x, b.Const("", bound(d, lo)), b.Const("", bound(d, hi))})
}

// Quantized numbers that are only moved:
//
//	q ── Reshape ── DequantizeLinear ──   becomes   q ── DequantizeLinear ── Reshape ──
var move = &rewrite.Rule{
	Name: "move",
	Doc:  "moves floats instead of the numbers they were quantized to",
	Match: rewrite.MustParse(`
		r: shared = {Reshape, Transpose, Squeeze, Unsqueeze, Flatten, Slice, Gather, Expand, Tile, Identity, DepthToSpace, SpaceToDepth} <...> (q, operands...)
		y = DequantizeLinear <...> (r, s: const, z?: const)`, `
		r: shared = MaxPool <...> (q)
		y = DequantizeLinear <...> (r, s: const, z?: const)`),
	Where: func(m *rewrite.Match) error {
		s, ok, err := rewrite.Scalar(m.Const("s"))
		if err != nil {
			m.Fail(err)
			return err
		}
		if !ok || !(s > 0) || math.IsInf(s, 0) {
			return errors.New("the scale is not one positive number")
		}
		n := m.Value("q").Node()
		for n != nil && n.Is("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Expand", "Tile", "Identity", "DepthToSpace", "SpaceToDepth", "MaxPool") {
			n = n.Operand(0).Node()
		}
		if n == nil || !n.Is("QuantizeLinear") {
			return errors.New("what is moved comes from no quantization")
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := []*ir.Value{m.Value("q"), m.Value("s")}
		if m.Has("z") {
			in = append(in, m.Value("z"))
		}
		r := m.Node("r")
		moved := []*ir.Value{b.Like(m.Root(), in)}
		if !r.Is("MaxPool") {
			moved = append(moved, m.Values("operands")...)
		}
		return []*ir.Value{b.Like(r, moved)}
	},
}

// Dynamic quantization, as onnxruntime.quantization writes it, and what it makes of static ranges:
//
//	x ── DynamicQuantizeLinear ─┬─ ConvInteger ── Cast ── Mul ──   becomes   x ── Conv ──
//	                            └─ Mul (scale of w) ───────┘
func integer(clip bool) *rewrite.Rule {
	r := integerRule
	r.Replace = func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value { return floats(b, m, clip) }
	return &r
}

var integerRule = rewrite.Rule{
	Name:    "integer",
	Doc:     "makes a product of integers with its scales one of floats",
	Promise: lossy,
	Match: rewrite.MustParse(
		`q: shared, xs: shared, xz: shared = DynamicQuantizeLinear (x)`+integers(`w: const`, `wz?: const`),
		`q: shared = QuantizeLinear (x, xs: const, xz: const)`+integers(`w: const`, `wz?: const`),
		`q: shared, xs: shared, xz: shared = DynamicQuantizeLinear (x)
		 w: shared = QuantizeLinear (v, ws: const, wz: const)`+integers(`w`, `wz`),
		`q: shared = QuantizeLinear (x, xs: const, xz: const)
		 w: shared = QuantizeLinear (v, ws: const, wz: const)`+integers(`w`, `wz`)),
	Where: func(m *rewrite.Match) error {
		if m.DType("x") != ir.Float32 {
			return fmt.Errorf("x is of type %s", m.DType("x"))
		}
		if m.Node("q").Is("QuantizeLinear") {
			lo, hi, err := span(m, m.Const("xs"), m.Const("xz"))
			if err != nil {
				return err
			}
			m.Keep = [2]float32{lo, hi}
		}
		if m.Has("v") {
			return nil
		}
		w, s := m.Const("w"), m.Const("ws")
		if s.DType() != ir.Float32 {
			return fmt.Errorf("the scales are a %s", s.Type())
		}
		n := m.Node("i")
		if s.Len() != 1 && !(n.Is("MatMulInteger") && w.Rank() == 2 && s.Rank() == 1 && s.Len() == w.Shape()[1]) {
			return errors.New("the weights' scales are neither one nor one for each column")
		}
		if m.Has("wz") && m.Const("wz").Len() != 1 && m.Const("wz").Len() != s.Len() {
			return errors.New("the weights have several zero points")
		}
		return nil
	},
}

// floats is the product of floats that m stands for.
func floats(b *rewrite.Builder, m *rewrite.Match, clip bool) []*ir.Value {
	var w *ir.Value
	if m.Has("v") {
		w = m.Value("v")
	} else {
		t, err := scaled(m)
		if err != nil {
			b.Fail(err)
			return []*ir.Value{m.Value("y")}
		}
		w = b.Const(m.Value("w").Name(), t)
	}
	x := m.Value("x")
	if k, static := m.Keep.([2]float32); static && clip {
		x = clipped(b, m, x, ir.Float32, k[0], k[1])
	}
	if n := m.Node("i"); n.Is("ConvInteger") {
		return []*ir.Value{b.Op("Conv", []*ir.Value{x, w}, n.Attrs()...)}
	}
	return []*ir.Value{b.Op("MatMul", []*ir.Value{x, w})}
}

func integers(w, wz string) string {
	return fmt.Sprintf(`
		i = {ConvInteger, MatMulInteger} <...> (q, %s, xz, %s)
		f = Cast <to = 1> (i)
		s = Mul (xs, ws: const)
		y = Mul (f, s)`, w, wz)
}

// scaled are the floats that weights of a product of integers stand for.
func scaled(m *rewrite.Match) (*ir.Tensor, error) {
	w := m.Const("w")
	b, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	s, err := ir.Elements[float32](m.Const("ws"))
	if err != nil {
		return nil, err
	}
	zero := []byte{0}
	if m.Has("wz") {
		if zero, err = m.Const("wz").Bytes(); err != nil {
			return nil, err
		}
	}
	number := func(x byte) int {
		if w.DType() == ir.Int8 {
			return int(int8(x))
		}
		return int(x)
	}
	r := make([]float32, len(b))
	for i, x := range b {
		r[i] = float32(number(x)-number(zero[i%len(zero)])) * s[i%len(s)] // several go with columns, the last axis
	}
	return ir.TensorOf(r, slices.Clone(w.Shape())...), nil
}
