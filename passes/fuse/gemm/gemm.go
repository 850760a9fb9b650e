// Package gemm turns a matrix product and the addition or transposition beside it into one Gemm.
package gemm

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass turns MatMul with Add or Transpose into Gemm.
var Pass = rewrite.Define(passes.Info{
	Name: "matmul-add",
	Doc:  "turns MatMul and Add of matrices into Gemm, which transposes its operands itself",
}, rule, transposed)

// Exporters of linear layers (torch.nn.Linear in older exporters, Keras Dense) write x·w + c as two nodes.
//
//	x ── MatMul ── Add ──   becomes   x ── Gemm ──
var rule = &rewrite.Rule{
	Name:    "matmul-add",
	Doc:     "turns MatMul of two matrices and Add of what broadcasts to their product into Gemm",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		y = MatMul (a, b)
		z = Add (y, c)`),
	Where: func(m *rewrite.Match) error {
		if m.Opset("") < 7 {
			return errors.New("Gemm does not broadcast by itself before opset 7")
		}
		a, b, c := m.Shape("a"), m.Shape("b"), m.Shape("c")
		if len(a) != 2 || len(b) != 2 {
			return fmt.Errorf("the operands have shapes %s and %s, not surely those of matrices", a, b)
		}
		if d := m.DType("a"); !weights.Supported(d) || d == ir.BFloat16 && m.Opset("") < 13 {
			return fmt.Errorf("Gemm does not take elements of type %s", d)
		}
		if !broadcasts(c, ir.Shape{a[0], b[1]}) {
			return fmt.Errorf("c has shape %s, which does not surely broadcast to [%s,%s]", c, a[0], b[1])
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Gemm", []*ir.Value{m.Value("a"), m.Value("b"), m.Value("c")})}
	},
}

// broadcasts reports whether shape surely broadcasts to the shape to without making it larger.
func broadcasts(shape, to ir.Shape) bool {
	if !shape.Known() || len(shape) > len(to) {
		return false
	}
	for i, d := range shape {
		if !d.Same(ir.Static(1)) && !d.Same(to[i+len(to)-len(shape)]) {
			return false
		}
	}
	return true
}
