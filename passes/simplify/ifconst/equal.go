package ifconst

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/same"
)

// resolveEqual replaces the results of an If that are the same in both branches: all of them by the first branch if its nodes are those of the
// second, else those that both branches take from outside.
func resolveEqual(c *passes.Context, n *ir.Node) {
	then, other := n.Attr("then_branch").Graph(), n.Attr("else_branch").Graph()
	if then == nil || other == nil || len(then.Inputs())+len(other.Inputs()) > 0 ||
		len(then.Outputs()) != n.NumResults() || len(other.Outputs()) != n.NumResults() {
		return
	}
	k := &comparison{then: then, other: other, pairs: map[*ir.Value]*ir.Value{}}
	all := true
	for i, s := range then.Outputs() {
		v, to := n.Result(i), s.Value()
		if v.NumUses() == 0 {
			continue
		}
		if !k.equal(to, other.Outputs()[i].Value()) {
			all = false
			continue
		}
		if to.Graph() == then {
			continue
		}
		if why := glue.Refuse(v, to, 0); why != "" {
			c.Remark(n, "same", why)
			all = false
			continue
		}
		c.Rewrite("same", n, nil, func() { v.ReplaceUses(to) })
	}
	if !all || !n.Used() {
		return
	}
	if opaque(then) || opaque(other) {
		c.Remark(n, "same", "what an operator without a schema does is not known")
		return
	}
	if why := refuse(n, then); why != "" {
		c.Remark(n, "same", why)
		return
	}
	c.Rewrite("same", n, nil, func() { inline(n, then) })
}

// opaque reports whether g or a graph nested in it has a node of which nothing is known.
func opaque(g *ir.Graph) bool {
	for n := range g.Nodes() {
		if ops.Of(n) == nil {
			return true
		}
		for _, s := range n.Subgraphs() {
			if opaque(s) {
				return true
			}
		}
	}
	return false
}

// comparison compares the values of two branches. Nodes with subgraphs are not compared.
type comparison struct {
	then, other *ir.Graph
	pairs       map[*ir.Value]*ir.Value // what a value of the first was found to be in the second; nil: it differed from the first it was compared with
}

// equal reports whether v, seen from the first branch, and w, seen from the second, are the same.
func (k *comparison) equal(v, w *ir.Value) bool {
	if v == nil || w == nil || v.Graph() != k.then || w.Graph() != k.other {
		return v == w || v.Const() != nil && w.Const() != nil && same.Tensors(v.Const(), w.Const())
	}
	if u, ok := k.pairs[v]; ok {
		return u == w
	}
	if v.Const() != nil || w.Const() != nil {
		return v.Const() != nil && w.Const() != nil && same.Tensors(v.Const(), w.Const())
	}
	k.pairs[v] = nil
	n, i := v.Def()
	m, j := w.Def()
	if n == nil || m == nil || i != j || n.Op() != m.Op() || n.NumOperands() != m.NumOperands() || n.NumResults() != m.NumResults() ||
		len(n.Attrs()) != len(m.Attrs()) {
		return false
	}
	for _, a := range n.Attrs() {
		if b := m.Attr(a.Name); b == nil || !same.Attrs(a, b) {
			return false
		}
	}
	for o := range n.NumOperands() {
		if !k.equal(n.Operand(o), m.Operand(o)) {
			return false
		}
	}
	k.pairs[v] = w
	return true
}
