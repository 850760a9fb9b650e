package qlinear

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Spread makes quantized operators float ones between quantizations: the opposite of Form. Integer kernels and float ones round
// differently where a sum lies between two steps.
func Spread() []*rewrite.Rule {
	return []*rewrite.Rule{spreadConv, spreadProduct, spreadGemm, spreadBinary, spreadUnary, spreadPool, spreadConcat}
}

// dequantized is a DequantizeLinear of x; the scale s has one element, or one for each place of axis.
func dequantized(b *rewrite.Builder, x, s, z *ir.Value, axis int64) *ir.Value {
	in := []*ir.Value{x, s}
	if z != nil {
		in = append(in, z)
	}
	if s.Const().Len() == 1 {
		return b.Op("DequantizeLinear", in)
	}
	return b.Op("DequantizeLinear", in, ir.IntAttr("axis", axis))
}

func quantizedAs(b *rewrite.Builder, x, s, z *ir.Value) *ir.Value {
	in := []*ir.Value{x, s}
	if z != nil {
		in = append(in, z)
	}
	return b.Op("QuantizeLinear", in)
}

// weightPoint is a zero point of weights in the shape of their scales, as DequantizeLinear wants it.
func weightPoint(b *rewrite.Builder, s, z *ir.Value) *ir.Value {
	if z == nil || s.Const().Len() == z.Const().Len() {
		if z != nil && s.Const().Rank() != z.Const().Rank() {
			return b.Const(z.Name(), z.Const().Reshape(s.Const().Shape()))
		}
		return z
	}
	e, err := z.Const().Bytes()
	if err != nil {
		b.Fail(err)
		return z
	}
	r := make([]byte, s.Const().Len())
	for i := range r {
		r[i] = e[0]
	}
	return b.Const(z.Name(), ir.NewTensor(z.Const().DType(), s.Const().Shape(), r))
}

// perChannel says why a weight's scale is neither one nor one for each channel; the latter takes opset 13.
func perChannel(m *rewrite.Match, scale, zero string, channels func() (int64, bool)) error {
	s := m.Const(scale)
	if s.DType() != ir.Float32 {
		return fmt.Errorf("the weights' scales are a %s", s.Type())
	}
	if z := m.Value(zero); z != nil && z.Const().Len() != 1 && z.Const().Len() != s.Len() {
		return errors.New("there are other numbers of the weights' scales and zero points")
	}
	if s.Len() == 1 {
		return nil
	}
	if n, known := channels(); !known || s.Rank() != 1 || s.Len() != n {
		return errors.New("the weights' scales are not surely one for each channel")
	}
	if m.Opset("") < 13 {
		return errors.New("DequantizeLinear takes a scale for each channel from opset 13 on")
	}
	return nil
}

var spreadConv = &rewrite.Rule{
	Name:    "spread-conv",
	Doc:     "makes a QLinearConv a Conv between quantizations",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParse(`y = QLinearConv <...> (x, xs: const, xz: const, w, ws: const, wz: const, ys: const, yz: const, b?)`),
	Where: func(m *rewrite.Match) error {
		if err := scalars(m, "xs", "ys"); err != nil {
			return err
		}
		return perChannel(m, "ws", "wz", func() (int64, bool) {
			s := m.Shape("w")
			return first(s)
		})
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		xs, ws := one(b, m, "xs"), m.Value("ws")
		in := []*ir.Value{dequantized(b, m.Value("x"), xs, zero(b, m, "xz", "x"), 1), dequantized(b, m.Value("w"), flat(b, ws), weightPoint(b, flat(b, ws), m.Value("wz")), 0)}
		if m.Has("b") {
			in = append(in, dequantized(b, m.Value("b"), b.Const("", products(b, xs, flat(b, ws))), nil, 0))
		}
		y := b.Op("Conv", in, m.Root().Attrs()...)
		return []*ir.Value{quantizedAs(b, y, one(b, m, "ys"), zero(b, m, "yz", "x"))}
	},
}

// first is the size of the first axis.
func first(s ir.Shape) (int64, bool) {
	if len(s) == 0 || !s[0].IsStatic() {
		return 0, false
	}
	return s[0].Size, true
}

// flat is a scale of one element as a scalar.
func flat(b *rewrite.Builder, s *ir.Value) *ir.Value {
	if s.Const().Len() == 1 {
		return scalar(b, s)
	}
	return s
}

// products are the scales of a bias: the scale of x times those of w.
func products(b *rewrite.Builder, xs, ws *ir.Value) *ir.Tensor {
	x, err := ir.Elements[float32](xs.Const())
	if err != nil {
		b.Fail(err)
		return ws.Const()
	}
	w, err := ir.Elements[float32](ws.Const())
	if err != nil {
		b.Fail(err)
		return ws.Const()
	}
	r := make([]float32, len(w))
	for i := range w {
		r[i] = x[0] * w[i]
	}
	return ir.TensorOf(r, ws.Const().Shape()...)
}

var spreadProduct = &rewrite.Rule{
	Name:    "spread-matmul",
	Doc:     "makes a QLinearMatMul a MatMul between quantizations",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParse(`y = QLinearMatMul (a, as: const, az: const, b, bs: const, bz: const, ys: const, yz: const)`),
	Where: func(m *rewrite.Match) error {
		if err := scalars(m, "as", "ys"); err != nil {
			return err
		}
		return perChannel(m, "bs", "bz", func() (int64, bool) {
			s := m.Shape("b")
			if len(s) != 2 || !s[1].IsStatic() {
				return 0, false
			}
			return s[1].Size, true
		})
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		bs := flat(b, m.Value("bs"))
		y := b.Op("MatMul", []*ir.Value{dequantized(b, m.Value("a"), one(b, m, "as"), zero(b, m, "az", "a"), 1), dequantized(b, m.Value("b"), bs, weightPoint(b, bs, m.Value("bz")), 1)})
		return []*ir.Value{quantizedAs(b, y, one(b, m, "ys"), zero(b, m, "yz", "a"))}
	},
}

var spreadGemm = &rewrite.Rule{
	Name:    "spread-gemm",
	Doc:     "makes a QGemm a Gemm between quantizations",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParse(`y = com.microsoft.QGemm <alpha = @alpha, transA = @ta, transB = @tb> (x, xs: const, xz?: const, w, ws: const, wz?: const, b?, ys?: const, yz?: const)`),
	Where: func(m *rewrite.Match) error {
		if err := scalars(m, "xs"); err != nil {
			return err
		}
		if m.Attr("alpha").Float() != 1 {
			return errors.New("alpha is not 1") // the scale of the bias has it
		}
		if m.Has("ys") {
			if err := scalars(m, "ys"); err != nil {
				return err
			}
		}
		if m.Has("b") && m.Opset("") < 10 {
			return errors.New("the opset has no DequantizeLinear")
		}
		return perChannel(m, "ws", "wz", func() (int64, bool) {
			s := m.Shape("w")
			if len(s) != 2 || !s[1-m.Attr("tb").Int()].IsStatic() {
				return 0, false
			}
			return s[1-m.Attr("tb").Int()].Size, true
		})
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		xs, ws := one(b, m, "xs"), flat(b, m.Value("ws"))
		var wz *ir.Value
		if m.Has("wz") {
			wz = weightPoint(b, ws, m.Value("wz"))
		}
		in := []*ir.Value{dequantized(b, m.Value("x"), xs, zero(b, m, "xz", "x"), 1), dequantized(b, m.Value("w"), ws, wz, 1-m.Attr("tb").Int())}
		if m.Has("b") {
			in = append(in, dequantized(b, m.Value("b"), b.Const("", products(b, xs, ws)), nil, 0))
		}
		y := b.Op("Gemm", in, ir.IntAttr("transA", m.Attr("ta").Int()), ir.IntAttr("transB", m.Attr("tb").Int()))
		if m.Has("ys") {
			y = quantizedAs(b, y, one(b, m, "ys"), zero(b, m, "yz", "x"))
		}
		return []*ir.Value{y}
	},
}

var spreadBinary = &rewrite.Rule{
	Name:    "spread-binary",
	Doc:     "makes QLinearAdd and QLinearMul float ones between quantizations",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParse(`y = {com.microsoft.QLinearAdd, com.microsoft.QLinearMul} (a, as: const, az?: const, b, bs: const, bz?: const, ys: const, yz?: const)`),
	Where:   func(m *rewrite.Match) error { return scalars(m, "as", "bs", "ys") },
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		op := m.Root().Op().Type[len("QLinear"):]
		y := b.Op(op, []*ir.Value{dequantized(b, m.Value("a"), one(b, m, "as"), zero(b, m, "az", "a"), 1), dequantized(b, m.Value("b"), one(b, m, "bs"), zero(b, m, "bz", "b"), 1)})
		return []*ir.Value{quantizedAs(b, y, one(b, m, "ys"), zero(b, m, "yz", "a"))}
	},
}

var spreadUnary = &rewrite.Rule{
	Name:    "spread-unary",
	Doc:     "makes QLinearSigmoid and QLinearLeakyRelu float ones between quantizations",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParse(`y = {com.microsoft.QLinearSigmoid, com.microsoft.QLinearLeakyRelu} <...> (x, xs: const, xz?: const, ys: const, yz?: const)`),
	Where:   func(m *rewrite.Match) error { return scalars(m, "xs", "ys") },
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		op := m.Root().Op().Type[len("QLinear"):]
		y := b.Op(op, []*ir.Value{dequantized(b, m.Value("x"), one(b, m, "xs"), zero(b, m, "xz", "x"), 1)}, m.Root().Attrs()...)
		return []*ir.Value{quantizedAs(b, y, one(b, m, "ys"), zero(b, m, "yz", "x"))}
	},
}

var spreadPool = &rewrite.Rule{
	Name:    "spread-pool",
	Doc:     "makes QLinearGlobalAveragePool and QLinearAveragePool float ones between quantizations",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		y = {com.microsoft.QLinearGlobalAveragePool, com.microsoft.QLinearAveragePool} <channels_last = 0, ...> (x, xs: const, xz?: const, ys: const, yz?: const)`),
	Where: func(m *rewrite.Match) error { return scalars(m, "xs", "ys") },
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		op := m.Root().Op().Type[len("QLinear"):]
		var attrs []*ir.Attr
		for _, a := range m.Root().Attrs() {
			if a.Name != "channels_last" {
				attrs = append(attrs, a)
			}
		}
		y := b.Op(op, []*ir.Value{dequantized(b, m.Value("x"), one(b, m, "xs"), zero(b, m, "xz", "x"), 1)}, attrs...)
		return []*ir.Value{quantizedAs(b, y, one(b, m, "ys"), zero(b, m, "yz", "x"))}
	},
}

var spreadConcat = &rewrite.Rule{
	Name:    "spread-concat",
	Doc:     "makes QLinearConcat a Concat between quantizations",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParse(`y = com.microsoft.QLinearConcat <axis = @axis> (ys: const, yz: const, parts...)`),
	Where: func(m *rewrite.Match) error {
		p := m.Values("parts")
		if len(p) == 0 || len(p)%3 != 0 {
			return errors.New("its operands are not values, scales and zero points")
		}
		for i := 0; i < len(p); i += 3 {
			s := p[i+1].Const()
			if s == nil || s.DType() != ir.Float32 || s.Len() != 1 || p[i+2] == nil || p[i+2].Const() == nil || p[i+2].Const().Len() != 1 {
				return errors.New("a scale or zero point is not one constant")
			}
		}
		return scalars(m, "ys")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		p := m.Values("parts")
		var in []*ir.Value
		for i := 0; i < len(p); i += 3 {
			in = append(in, dequantized(b, p[i], scalar(b, p[i+1]), scalar(b, p[i+2]), 1))
		}
		y := b.Op("Concat", in, ir.IntAttr("axis", m.Attr("axis").Int()))
		return []*ir.Value{quantizedAs(b, y, one(b, m, "ys"), scalar(b, m.Value("yz")))}
	},
}
