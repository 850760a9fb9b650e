package naming

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// Identity is a node that has to be written although ir has none: "Name = Identity(Value)", because output Slot cannot be
// Value itself.
type Identity struct {
	Slot  *ir.Slot
	Name  string
	Value *ir.Value
	pos   int64 // in the source; after everything if it was not there
}

func identity(o *ir.Slot, name string) *Identity {
	i := &Identity{o, name, o.Value(), math.MaxInt64}
	if k, ok := o.Extra.(keep.Identity); ok {
		if _, _, pos, ok := k.Identity(); ok {
			i.pos = pos
		}
	}
	return i
}

// Nodes yields what is written as the nodes of g: its own in their derived order, and among them the Identities, for which the
// node is nil. An Identity stands where it stood in the source, but behind the node whose result it copies; a new one stands at
// the end. A name occurs once, even if several outputs share it.
func (n *Names) Nodes(g *ir.Graph) iter.Seq2[*ir.Node, *Identity] {
	return func(yield func(*ir.Node, *Identity) bool) {
		ids := slices.Clone(n.ids[g])
		slices.SortStableFunc(ids, func(a, b *Identity) int { return cmp.Compare(a.pos, b.pos) })
		made := map[*ir.Node]bool{}
		held := map[*ir.Node][]*Identity{} // past their place, waiting for what they copy
		all := func(ids []*Identity) bool {
			return !slices.ContainsFunc(ids, func(i *Identity) bool { return !yield(nil, i) })
		}
		for node := range g.Nodes() {
			for ; len(ids) > 0 && ids[0].pos < node.Pos(); ids = ids[1:] {
				of := ids[0].Value.Node()
				if of != nil && of.Graph() == g && !made[of] {
					held[of] = append(held[of], ids[0])
				} else if !yield(nil, ids[0]) {
					return
				}
			}
			if !yield(node, nil) || !all(held[node]) {
				return
			}
			if len(ids) > 0 {
				made[node] = true
			}
		}
		all(ids)
	}
}

// Identities lists what is added to the nodes of g, in the order of its outputs.
func (n *Names) Identities(g *ir.Graph) []*Identity { return n.ids[g] }
