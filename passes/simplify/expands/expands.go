// Package expands is the pass that removes Expand nodes before operators that broadcast by themselves.
package expands

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Pass gives what broadcasts the operand of an Expand instead of its result, where every use of the result is of that kind and
// keeps its shape.
var Pass = passes.Define(passes.Info{
	Name: "expands",
	Doc:  "removes Expand before operators that broadcast",
	Long: `Exporters expand masks and constants to the shape of what they are combined with, which the operator would do by itself:

	m ── Expand(shape of x) ── Where(m, x, y) ──   becomes   m ── Where(m, x, y) ──

The shape of the result must be proven to stay what it is, axis by axis, from the other operands or from the Expand's own.`,
	Rules: []passes.RuleDoc{{Name: "expands", Doc: "removes an Expand"}},
}, struct{}{}, run)

func run(c *passes.Context, m *ir.Model, _ struct{}) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for n := range m.Nodes() {
		if n.Is("Expand") && n.Result(0).NumUses() > 0 {
			remove(c, f, n)
		}
	}
	return nil
}

func remove(c *passes.Context, f *facts.Facts, n *ir.Node) {
	x, y := n.Operand(0), n.Result(0)
	for u := range y.Uses() {
		if why := refuse(f, u, x); why != "" {
			c.Remark(n, "expands", why)
			return
		}
	}
	c.Rewrite("expands", n, nil, func() {
		y.ReplaceUsesIf(x, func(ir.Use) bool { return true })
		n.Graph().Erase(n)
	})
}

// refuse says why the node of u cannot take x, whose Expand it takes now.
func refuse(f *facts.Facts, u ir.Use, x *ir.Value) string {
	n := u.Node
	if n.IsReturn() || n.HasRefs() || !ops.Has(n, ops.Broadcast) {
		return fmt.Sprintf("it is also used by %s", n)
	}
	z, ok := f.Dims(n.Result(0))
	if !ok {
		return fmt.Sprintf("the rank of the result of %s is not known", n)
	}
	rank := 0
	operands := make([][]infer.Int, n.NumOperands())
	for i, v := range n.Operands() {
		if i != u.Index && v == n.Operand(u.Index) {
			return fmt.Sprintf("%s uses it twice", n)
		}
		if i == u.Index {
			v = x
		}
		if operands[i], ok = f.Dims(v); !ok {
			return fmt.Sprintf("the rank of an operand of %s is not known", n)
		}
		rank = max(rank, len(operands[i]))
	}
	if rank != len(z) {
		return fmt.Sprintf("the result of %s would lose axes", n)
	}
	for k, d := range z {
		if !d.Is(1) && !anySame(operands, d, rank-k) {
			return fmt.Sprintf("axis %d of the result of %s may lose its size", k, n)
		}
	}
	return ""
}

// anySame reports whether an operand surely has size d along the axis that is fromEnd places before its end.
func anySame(operands [][]infer.Int, d infer.Int, fromEnd int) bool {
	for _, dims := range operands {
		if k := len(dims) - fromEnd; k >= 0 && dims[k].Same(d) {
			return true
		}
	}
	return false
}
