package qlinear

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Residual connections and gates of quantized models:
//
//	a ── DequantizeLinear ─┬─ Add ── QuantizeLinear ──   becomes   a ─┬─ QLinearAdd ──
//	b ── DequantizeLinear ─┘                                         b ─┘
var binary = &rewrite.Rule{
	Name:    "qlinear-binary",
	Doc:     "makes Add or Mul between quantizations a quantized one",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		da: shared = DequantizeLinear <...> (a, as: const, az?: const)
		db: shared = DequantizeLinear <...> (b, bs: const, bz?: const)
		c = {Add, Mul} (da, db)
		y = QuantizeLinear <...> (c, ys: const, yz: const)`),
	Where: func(m *rewrite.Match) error {
		if a, b, y := m.DType("a"), m.DType("b"), m.DType("yz"); a != y || b != y || y != ir.Int8 && y != ir.Uint8 {
			return fmt.Errorf("ONNX Runtime has no such operator of %s and %s to %s", a, b, y)
		}
		return scalars(m, "as", "bs", "ys")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "QLinear"+m.Node("c").Op().Type, []*ir.Value{m.Value("a"), one(b, m, "as"), zero(b, m, "az", "a"),
			m.Value("b"), one(b, m, "bs"), zero(b, m, "bz", "b"), one(b, m, "ys"), zero(b, m, "yz", "a")})}
	},
}

// The product of two quantized matrices, as in attention and in linear layers without a bias:
//
//	a ── DequantizeLinear ─┬─ MatMul ── QuantizeLinear ──   becomes   a ─┬─ QLinearMatMul ──
//	b ── DequantizeLinear ─┘                                            b ─┘
var product = &rewrite.Rule{
	Name:    "qlinear-matmul",
	Doc:     "makes a matrix product between quantizations a QLinearMatMul",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		da: shared = DequantizeLinear <...> (a, as: const, az?: const)
		db: shared = DequantizeLinear <...> (b, bs: const, bz?: const)
		c = MatMul (da, db)
		y = QuantizeLinear <...> (c, ys: const, yz: const)`),
	Where: func(m *rewrite.Match) error {
		a, b, y := m.DType("a"), m.DType("b"), m.DType("yz")
		if a != y || y != ir.Int8 && y != ir.Uint8 || b != ir.Int8 && !(b == ir.Uint8 && a == ir.Uint8) {
			return fmt.Errorf("ONNX Runtime has no QLinearMatMul of %s by %s to %s", a, b, y)
		}
		return scalars(m, "as", "bs", "ys")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("QLinearMatMul", []*ir.Value{m.Value("a"), one(b, m, "as"), zero(b, m, "az", "a"),
			m.Value("b"), one(b, m, "bs"), zero(b, m, "bz", "b"), one(b, m, "ys"), zero(b, m, "yz", "a")})}
	},
}

// A quantized linear layer:
//
//	x ── DequantizeLinear ─┬─ Gemm ── QuantizeLinear ──   becomes   x ─┬─ QGemm ──
//	w ── DequantizeLinear ─┤                                         w ─┤
//	b ── DequantizeLinear ─┘                                         b ─┘
var gemm = &rewrite.Rule{
	Name:    "qgemm",
	Doc:     "makes a Gemm between quantizations a QGemm",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		dx: shared = DequantizeLinear <...> (x, xs: const, xz?: const)
		dw: shared = DequantizeLinear <...> (w: const, ws: const, wz?: const)
		db: shared = DequantizeLinear <axis = @baxis> (b: const, bs: const, bz?: const)
		c = Gemm <alpha = 1, beta = 1, transA = @ta, transB = @tb> (dx, dw, db)
		y = QuantizeLinear <...> (c, ys: const, yz: const)`),
	Where: func(m *rewrite.Match) error {
		x, w, y := m.DType("x"), m.DType("w"), m.DType("yz")
		if x != y || x != ir.Int8 && x != ir.Uint8 || w != ir.Int8 && !(w == ir.Uint8 && x == ir.Uint8) {
			return fmt.Errorf("ONNX Runtime has no QGemm of %s by %s to %s", x, w, y)
		}
		if err := scalars(m, "xs", "ws", "ys"); err != nil {
			return err
		}
		return bias(m)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "QGemm", []*ir.Value{m.Value("x"), one(b, m, "xs"), zero(b, m, "xz", "x"),
			m.Value("w"), one(b, m, "ws"), zero(b, m, "wz", "w"), m.Value("b"), one(b, m, "ys"), zero(b, m, "yz", "x")},
			ir.IntAttr("transA", m.Attr("ta").Int()), ir.IntAttr("transB", m.Attr("tb").Int()))}
	},
}

// The pooling before a classifier:
//
//	x ── DequantizeLinear ── GlobalAveragePool ── QuantizeLinear ──   becomes   x ── QLinearGlobalAveragePool ──
var pool = &rewrite.Rule{
	Name:    "qlinear-global-pool",
	Doc:     "makes GlobalAveragePool between quantizations a quantized one",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		dx: shared = DequantizeLinear <...> (x, xs: const, xz?: const)
		c = GlobalAveragePool (dx)
		y = QuantizeLinear <...> (c, ys: const, yz: const)`),
	Where: func(m *rewrite.Match) error {
		if x, y := m.DType("x"), m.DType("yz"); x != y || x != ir.Int8 && x != ir.Uint8 {
			return fmt.Errorf("ONNX Runtime has no such operator of %s to %s", x, y)
		}
		return scalars(m, "xs", "ys")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "QLinearGlobalAveragePool", []*ir.Value{m.Value("x"), one(b, m, "xs"), zero(b, m, "xz", "x"), one(b, m, "ys"),
			zero(b, m, "yz", "x")}, ir.IntAttr("channels_last", 0))}
	},
}

// Moves of data keep the numbers, so that they may as well move the quantized ones, which have a quarter of the bytes:
//
//	x ── DequantizeLinear ── Reshape ── QuantizeLinear ──   becomes   x ── Reshape ──
var move = &rewrite.Rule{
	Name: "move-quantized",
	Doc:  "moves quantized numbers instead of dequantized ones that are quantized again in the same way",
	Match: rewrite.MustParse(`
		dx: shared = DequantizeLinear <...> (x, s: const, z: const)
		c = {Reshape, Transpose, Squeeze, Unsqueeze, Flatten, Gather, Slice, Expand, DepthToSpace, SpaceToDepth, Tile} <...> (dx, operands...)
		y = QuantizeLinear <...> (c, s, z)`, `
		dx: shared = DequantizeLinear <...> (x, s: const, z: const)
		c = MaxPool <...> (dx)
		y = QuantizeLinear <...> (c, s, z)`),
	Where: func(m *rewrite.Match) error {
		x := m.DType("x")
		if x != m.DType("z") || x != ir.Int8 && x != ir.Uint8 {
			return fmt.Errorf("%s becomes %s", x, m.DType("z"))
		}
		if err := scalars(m, "s"); err != nil {
			return err
		}
		switch s, _, err := rewrite.Scalar(m.Const("s")); {
		case err != nil:
			m.Fail(err)
		case !(s >= 1e-30 && s <= 1e30):
			return fmt.Errorf("the scale is %v", s)
		}
		n := m.Node("c")
		if n.Is("MaxPool") && m.Opset("") < 12 {
			return errors.New("there is no MaxPool of integers before opset 12")
		}
		if in := ops.Of(n).Input(0); in == nil || !in.Types().Contains(ir.TensorType(x, nil)) {
			return fmt.Errorf("%s does not take %s", n, x)
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := []*ir.Value{m.Value("x")}
		if !m.Node("c").Is("MaxPool") {
			in = append(in, m.Values("operands")...)
		}
		return []*ir.Value{b.Like(m.Node("c"), in)}
	},
}

// scalars says that one of the named constants is not one positive float.
func scalars(m *rewrite.Match, names ...string) error {
	for _, name := range names {
		t := m.Const(name)
		if t.DType() != ir.Float32 || t.Len() != 1 {
			return errors.New("a quantization is not one float scale")
		}
		if v, _, err := rewrite.Scalar(t); err != nil {
			m.Fail(err)
		} else if !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("a scale is %v", v)
		}
	}
	return nil
}
