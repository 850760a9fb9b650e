package gemm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// A product reads a transposed operand as fast as a straight one, and the Transpose takes a pass over it. PyTorch exporters
// leave one at the weights of nn.Linear where these are not constant, or shared with an embedding.
//
//	w ── Transpose ─┐
//	x ───────────── MatMul ──   becomes   x, w ── Gemm transB=1 ──
var transposed = &rewrite.Rule{
	Name:    "transpose-gemm",
	Doc:     "makes the transposition of an operand part of the Gemm, or of the MatMul of two matrices, behind it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		t = Transpose <perm = @p> (a)
		z = Gemm <transA = @ta, transB = @tb, ...> (t, b, c?)`, `
		t = Transpose <perm = @p> (b)
		z = Gemm <transA = @ta, transB = @tb, ...> (a, t, c?)`, `
		t = Transpose <perm = @p> (a)
		z = MatMul (t, b)`, `
		t = Transpose <perm = @p> (b)
		z = MatMul (a, t)`),
	Where: func(m *rewrite.Match) error {
		a, b := m.Shape("a"), m.Shape("b")
		perm := m.Attr("p").Ints()
		switch {
		case len(a) != 2 || len(b) != 2:
			return fmt.Errorf("the operands have shapes %s and %s, not surely those of matrices", a, b)
		case m.Attr("p") != nil && !slices.Equal(perm, []int64{1, 0}):
			return fmt.Errorf("it transposes by %v", perm)
		}
		if m.Root().Is("MatMul") {
			if m.Opset("") < 11 {
				return errors.New("before opset 11 Gemm needs something to add")
			}
			if d := m.DType("a"); !weights.Supported(d) || d == ir.BFloat16 && m.Opset("") < 13 {
				return fmt.Errorf("Gemm does not take elements of type %s", d)
			}
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		n := m.Root()
		in, name := slices.Clone(n.Operands()), "transA"
		k := 0
		if in[1] == m.Value("t") {
			k, name = 1, "transB"
		}
		in[k] = m.Node("t").Operand(0)
		if n.Is("MatMul") {
			return []*ir.Value{b.Op("Gemm", in, ir.IntAttr(name, 1))}
		}
		straight := int64(1)
		if n.Int(name, 0) != 0 { // any number but 0 transposes
			straight = 0
		}
		return []*ir.Value{b.Like(n, in, ir.IntAttr(name, straight))}
	},
}
