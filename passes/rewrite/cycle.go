package rewrite

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// search bounds the nodes that one question about dependences looks at.
const search = 4096

// acyclic checks a match of which interior values are replaced. If the root alone is replaced, everything that the new nodes use
// lies above it and no cycle can form. But an operand of the match may depend on a replaced interior value by a way outside
// the match: the new nodes would wait for themselves.
func (m *Match) acyclic() error {
	for _, r := range m.tree.replaced {
		if r.node == m.tree.root().index {
			continue
		}
		above := m.above(r.node)
		for i, b := range m.bindings {
			for _, v := range append(slices.Clip(b.list), b.value) {
				if v == nil || v.Node() == nil {
					continue
				}
				if j := slices.Index(m.nodes, v.Node()); j == r.node || j >= 0 && !above[j] {
					return fmt.Errorf("%s is or depends on %s, which is to be replaced", m.tree.captures[i].name, m.nodes[r.node])
				}
			}
		}
		for i, n := range m.nodes {
			if above[i] {
				continue // what it uses lies above the replaced value
			}
			for _, v := range n.Operands() {
				if v != nil && !slices.Contains(m.nodes, v.Node()) && dependsOn(v, m.nodes[r.node]) {
					return fmt.Errorf("operand %q may depend on %s, which is to be replaced", v.Name(), m.nodes[r.node])
				}
			}
		}
	}
	return nil
}

// above marks node i of the pattern and the nodes it leads to.
func (m *Match) above(i int) []bool {
	mark := make([]bool, i+1, len(m.nodes))
	mark[i] = true
	for ; i >= 0; i-- {
		for _, o := range m.tree.nodes[i].operands {
			if mark[i] && o.kind == interior {
				mark[o.ref.node] = true
			}
		}
	}
	return mark[:len(m.nodes)]
}

// dependsOn reports whether v depends on a result of n, or whether that cannot be told cheaply.
func dependsOn(v *ir.Value, n *ir.Node) bool {
	seen := map[*ir.Node]bool{}
	todo := []*ir.Value{v}
	for len(todo) > 0 {
		d := todo[len(todo)-1].Node()
		todo = todo[:len(todo)-1]
		if d == n {
			return true
		}
		if d == nil || seen[d] || d.Graph() != n.Graph() {
			continue // a value of an enclosing graph depends on nothing in here
		}
		if seen[d] = true; len(seen) > search {
			return true
		}
		for _, o := range d.Operands() {
			if o != nil {
				todo = append(todo, o)
			}
		}
		for _, s := range d.Subgraphs() {
			todo = append(todo, s.Captures()...)
		}
	}
	return false
}
