package qlinear

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// What onnxruntime.quantization.quantize_dynamic makes of a linear layer:
//
//	x ── DynamicQuantizeLinear ─┬─ MatMulInteger ── Cast ── Mul ── Add ──   becomes   x ── DynamicQuantizeLinear ── MatMulIntegerToFloat ──
//	                            └─ Mul (scale of w) ────────┘
var integer = &rewrite.Rule{
	Name:    "matmul-integer-to-float",
	Doc:     "makes the scales, and a bias, part of the product of integers before them",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(integerProduct+`
		y = Add (z, bias: const)`, integerProduct),
	Where: func(m *rewrite.Match) error {
		w := m.Shape("w")
		if len(w) != 2 {
			return fmt.Errorf("the weights are a %s, not surely a matrix", m.Type("w"))
		}
		if s := m.Const("ws"); s.DType() != ir.Float32 || s.Len() != 1 && (s.Rank() != 1 || !w[1].Same(ir.Static(s.Len()))) || s.Rank() > 1 {
			return fmt.Errorf("the weights' scales are a %s", s.Type())
		}
		if s := m.Type("xs"); s.DType() != ir.Float32 || !single(s) {
			return fmt.Errorf("the scale is a %s, not surely one float", s)
		}
		if z := m.Value("xz"); z != nil && !single(m.Type("xz")) {
			return fmt.Errorf("the zero point is a %s, not surely one number", m.Type("xz"))
		}
		if z := m.Value("wz"); z != nil && !single(m.Type("wz")) && !(len(m.Shape("wz")) == 1 && m.Shape("wz")[0].Same(w[1])) {
			return fmt.Errorf("the weights' zero points are a %s", m.Type("wz"))
		}
		if x := m.Shape("x"); len(x) < 2 {
			return fmt.Errorf("x is a %s, not surely of matrices", m.Type("x"))
		}
		if m.Has("bias") {
			if b := m.Shape("bias"); len(b) != 1 || !b[0].Same(w[1]) {
				return fmt.Errorf("the bias is a %s", m.Type("bias"))
			}
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := []*ir.Value{m.Value("x"), m.Value("w"), m.Value("xs"), m.Value("ws"), m.Value("xz"), m.Value("wz"), nil}
		if m.Has("bias") {
			in[6] = m.Value("bias")
		}
		return []*ir.Value{contrib.Op(b, "MatMulIntegerToFloat", in)}
	},
}

const integerProduct = `
		i = MatMulInteger (x, w, xz?, wz?)
		f = Cast <to = 1> (i)
		s = Mul (xs, ws: const)
		z = Mul (f, s)`

// single reports whether t surely has one element and at most one axis.
func single(t *ir.Type) bool {
	s := t.TensorShape()
	return s.Known() && (len(s) == 0 || len(s) == 1 && s[0].Same(ir.Static(1)))
}

// A quantization for one product alone:
//
//	x ── DynamicQuantizeLinear ── MatMulIntegerToFloat ──   becomes   x ── DynamicQuantizeMatMul ──
var dynamic = &rewrite.Rule{
	Name:    "dynamic-quantize-matmul",
	Doc:     "makes a dynamic quantization part of the only product that uses it",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		q, s, z = DynamicQuantizeLinear (x)
		y = com.microsoft.MatMulIntegerToFloat (q, w, s, ws, z, wz?, bias?)`),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "DynamicQuantizeMatMul", []*ir.Value{m.Value("x"), m.Value("w"), m.Value("ws"), m.Value("wz"), m.Value("bias")})}
	},
}
