package measured

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// counterparts pairs the values of b's main graph with those of a's that are computed in the same way from the same inputs and constants, as value
// numbering does (Cocke and Schwartz, "Programming languages and their compilers", 1970). Constants and attributes are the same if
// they are shared, as those of a copy are; nodes with subgraphs have no counterpart.
func counterparts(a, b *ir.Model) map[*ir.Value]*ir.Value {
	id := map[*ir.Value]int{}
	next := 0
	fresh := func(v *ir.Value) {
		next++
		id[v] = next
	}
	inputs := map[string]*ir.Value{}
	for _, s := range a.Main.Inputs() {
		fresh(s.Value())
		inputs[s.Name()] = s.Value()
	}
	key := func(n *ir.Node) (string, bool) {
		if len(n.Subgraphs()) > 0 {
			return "", false
		}
		var k strings.Builder
		fmt.Fprint(&k, n.Op())
		for _, at := range n.Attrs() {
			fmt.Fprintf(&k, " %p", at)
		}
		for _, v := range n.Operands() {
			switch {
			case v == nil:
				k.WriteString(" -")
			case v.Const() != nil:
				fmt.Fprintf(&k, " c%p", v.Const())
			case id[v] == 0:
				return "", false
			default:
				fmt.Fprintf(&k, " %d", id[v])
			}
		}
		return k.String(), true
	}
	known := map[string]*ir.Node{}
	for n := range a.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				fresh(v)
			}
		}
		if k, ok := key(n); ok {
			known[k] = n
		}
	}
	to := map[*ir.Value]*ir.Value{}
	pair := func(v, w *ir.Value) {
		if v != nil && w != nil {
			to[v], id[v] = w, id[w]
		}
	}
	for _, s := range b.Main.Inputs() {
		pair(s.Value(), inputs[s.Name()])
	}
	for n := range b.Main.Nodes() {
		if k, ok := key(n); ok && known[k] != nil {
			for i, v := range n.Results() {
				if i < known[k].NumResults() {
					pair(v, known[k].Result(i))
				}
			}
		}
	}
	return to
}
