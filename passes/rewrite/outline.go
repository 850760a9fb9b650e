package rewrite

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// outlined reports whether k may fit at n by what can be told without binding anything: the operators of the matched nodes and which
// operands there are. Nearly all nodes are told from a match by that, so it is what the time of a set of rules goes into.
func (d *driver) outlined(k candidate, n *ir.Node) bool {
	kinds := d.kinds[k.index]
	if kinds == nil {
		kinds = make([][]int, len(k.tree.nodes))
		for i, p := range k.tree.nodes {
			for _, op := range p.ops {
				if kind, ok := d.m.Kind(op); ok {
					kinds[i] = append(kinds[i], kind)
				}
			}
		}
		d.kinds[k.index] = kinds
	}
	return k.tree.outlined(kinds, k.tree.root(), n)
}

func (t *tree) outlined(kinds [][]int, p *node, n *ir.Node) bool {
	if !slices.Contains(kinds[p.index], n.Kind()) {
		return false
	}
	if len(p.operands) != 2 || n.NumOperands() != 2 {
		for i := range p.operands {
			if !t.operandOutlined(kinds, p.operands[i], n, i) {
				return false
			}
		}
		return true
	}
	a, b := p.operands[0], p.operands[1]
	return t.operandOutlined(kinds, a, n, 0) && t.operandOutlined(kinds, b, n, 1) || // either order, if the operator is commutative
		t.operandOutlined(kinds, a, n, 1) && t.operandOutlined(kinds, b, n, 0)
}

func (t *tree) operandOutlined(kinds [][]int, o operand, n *ir.Node, i int) bool {
	v := n.Operand(i)
	switch o.kind {
	case omitted:
		return v == nil
	case interior:
		if v == nil {
			return false
		}
		def, result := v.Def()
		return def != nil && result == o.ref.result && def.Graph() == n.Graph() && t.outlined(kinds, t.nodes[o.ref.node], def)
	case literal:
		return v != nil && v.Const() != nil && v.Const().Len() == 1
	}
	return v != nil || t.captures[o.capture].optional || t.captures[o.capture].variadic
}
