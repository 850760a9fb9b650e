// Package einsum turns Einsum that is a matrix product into MatMul.
package einsum

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass turns Einsum into MatMul.
var Pass = rewrite.Define(passes.Info{
	Name: "einsum",
	Doc:  "turns Einsum that is a matrix product into MatMul",
}, rule)

// Exporters write batched products so: "bhqd,bhkd->bhqk" are the scores of attention, "btd,df->btf" is a linear layer. PyTorch exports
// torch.einsum as it is, tf2onnx what the attention layers of Keras make.
//
//	a, b ── Einsum "bhqd,bhkd->bhqk" ──   becomes   b ── Transpose ─┐
//	                                                    a ───────────── MatMul ──
var rule = &rewrite.Rule{
	Name:    "einsum-matmul",
	Doc:     "turns an Einsum of two operands that is a matrix product, with the second one transposed or not, into MatMul",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParse(`z = Einsum <equation = @equation> (a, b)`),
	Where: func(m *rewrite.Match) error {
		if d := m.DType("a"); !weights.Supported(d) || d == ir.BFloat16 {
			return fmt.Errorf("the operands are of type %s", d)
		}
		transposed, err := product(m)
		m.Keep = transposed
		return err
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		second := m.Value("b")
		if m.Keep.(bool) {
			dims, _ := m.Dims("b")
			perm := make([]int64, len(dims))
			for i := range perm {
				perm[i] = int64(i)
			}
			k := len(perm)
			perm[k-1], perm[k-2] = perm[k-2], perm[k-1]
			second = b.Op("Transpose", []*ir.Value{second}, ir.IntsAttr("perm", perm))
		}
		return []*ir.Value{b.Op("MatMul", []*ir.Value{m.Value("a"), second})}
	},
}

// product accepts equations ...mk,...kn->...mn and ...mk,...nk->...mn, where the second operand has the labels before these or none, and
// reports whether it is the latter. Axes of one label must surely have one size: those of size one would be repeated.
func product(m *rewrite.Match) (transposed bool, err error) {
	text := strings.ReplaceAll(m.Attr("equation").Str(), " ", "")
	left, out, ok := strings.Cut(text, "->")
	first, second, ok2 := strings.Cut(left, ",")
	if !ok || !ok2 || strings.ContainsAny(text, ".") || strings.Contains(second, ",") || len(first) < 2 || len(second) < 2 || len(out) != len(first) {
		return false, fmt.Errorf("equation %q is no matrix product", text)
	}
	for i := range first {
		if strings.Count(first, first[i:i+1]) > 1 {
			return false, fmt.Errorf("equation %q has a diagonal", text)
		}
	}
	batch, row, inner := first[:len(first)-2], first[len(first)-2], first[len(first)-1]
	x, y := second[len(second)-2], second[len(second)-1]
	var column byte
	switch {
	case x == inner:
		column = y
	case y == inner:
		column, transposed = x, true
	}
	prefix := second[:len(second)-2]
	if column == 0 || strings.IndexByte(first, column) >= 0 || prefix != "" && prefix != batch || out != batch+string([]byte{row, column}) {
		return false, fmt.Errorf("equation %q is no matrix product", text)
	}
	a, ok := m.Dims("a")
	b, ok2 := m.Dims("b")
	if !ok || !ok2 || len(a) != len(first) || len(b) != len(second) {
		return false, errors.New("the shapes are not known")
	}
	for i := range first {
		if k := strings.IndexByte(second, first[i]); k >= 0 && !a[i].Same(b[k]) {
			return false, fmt.Errorf("axis %d of the first operand and axis %d of the second may differ", i, k)
		}
	}
	return transposed, nil
}
