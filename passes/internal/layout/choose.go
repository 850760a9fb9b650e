package layout

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Choose finds the nodes that are to compute on flipped values: first downwards from the inputs, then upwards from the outputs. Each time
// nodes are added one by one as long as there are any, and those stay with which the fewest Transposes were left. Each step looks at
// the values beside the node alone.
func (r *Layout) Choose() {
	r.order = r.g.NodeList()
	r.grow(r.order, func(n *ir.Node) []int64 {
		for _, v := range n.Operands() {
			if p := r.produced(v); p != nil {
				return p
			}
		}
		return nil
	})
	backward := slices.Clone(r.order)
	slices.Reverse(backward)
	r.grow(backward, func(n *ir.Node) []int64 {
		for _, v := range n.Results() {
			if p := r.wanted(v); p != nil {
				return p
			}
		}
		return nil
	})
}

// manyUses bounds the uses of values that nodes are moved over, since all of them are looked at for each node.
const manyUses = 256

// grow adds nodes in that order; perm is the permutation in which a node could take part.
func (r *Layout) grow(order []*ir.Node, perm func(*ir.Node) []int64) {
	var added []*ir.Node
	cost, best, length := 0, 0, 0
	for _, n := range order {
		p := perm(n)
		if p == nil || r.moved[n] != nil {
			continue
		}
		beside := values(n)
		if slices.ContainsFunc(beside, func(v *ir.Value) bool { return v.Const() == nil && v.NumUses() > manyUses }) {
			continue
		}
		m := r.movable(n, p)
		if m == nil {
			continue
		}
		for _, v := range beside {
			cost -= r.cost(v)
		}
		r.moved[n] = m
		added = append(added, n)
		for _, v := range beside {
			cost += r.cost(v)
		}
		if cost < best {
			best, length = cost, len(added)
		}
	}
	for _, n := range added[length:] {
		delete(r.moved, n)
	}
}

// values lists the operands and results of n, each once.
func values(n *ir.Node) []*ir.Value {
	var r []*ir.Value
	for _, v := range append(n.Operands(), n.Results()...) {
		if v != nil && !slices.Contains(r, v) {
			r = append(r, v)
		}
	}
	return r
}

// produced is the permutation in which v is made, nil if it is made as it was.
func (r *Layout) produced(v *ir.Value) []int64 {
	if v == nil {
		return nil
	}
	if p := r.Inputs[v]; p != nil {
		return p
	}
	if m := r.moved[v.Node()]; m != nil && v.Node() != nil {
		return m.result
	}
	return nil
}

// wanted is a permutation in which somebody takes v, nil if nobody does.
func (r *Layout) wanted(v *ir.Value) []int64 {
	if v == nil {
		return nil
	}
	for u := range v.Uses() {
		if p := r.taken(u); p != nil {
			return p
		}
	}
	return nil
}

// taken is the permutation in which a use takes its value, nil if as it was.
func (r *Layout) taken(u ir.Use) []int64 {
	if u.Node == r.g.Return() {
		return r.Outputs[u.Index]
	}
	if m := r.moved[u.Node]; m != nil && m.roles[u.Index] == flips {
		return m.perm
	}
	return nil
}

// transposed is the permutation of a Transpose that is not moved, nil if n is none.
func (r *Layout) transposed(n *ir.Node, rank int) []int64 {
	if n == nil || !n.Is("Transpose") || n.Graph() != r.g || r.moved[n] != nil {
		return nil
	}
	if n.Attr("perm") == nil {
		var p []int64
		for i := range rank {
			p = append(p, int64(rank-1-i))
		}
		return p
	}
	p := n.Ints("perm")
	if len(p) != rank {
		return nil
	}
	for i, a := range p {
		if a < 0 || a >= int64(rank) || slices.Contains(p[:i], a) {
			return nil // no permutation: a node that fails when it is run
		}
	}
	return p
}

// cost is the number of Transposes that v needs, less those in the model that are not needed any more.
func (r *Layout) cost(v *ir.Value) int {
	if v.Const() != nil {
		return 0
	}
	made := r.produced(v)
	other, straight, cost := [][]int64{}, false, 0
	for u := range v.Uses() {
		p := r.taken(u)
		switch {
		case p == nil && made != nil:
			if q := r.transposed(u.Node, len(made)); q == nil {
				straight = true
			} else if slices.Equal(q, made) {
				cost-- // Transpose(v, q) is v as it is made
			}
		case p == nil:
			straight = true
		case !slices.Equal(p, made) && !slices.ContainsFunc(other, func(q []int64) bool { return slices.Equal(p, q) }):
			other = append(other, p)
		}
	}
	if made != nil {
		if straight {
			cost++
		}
		return cost + len(other)
	}
	for _, p := range other {
		q := r.transposed(v.Node(), len(p))
		if q == nil || !slices.IsSorted(compose(q, p)) {
			cost++
		}
		if q != nil && !straight {
			cost-- // the Transpose that makes v goes
			straight = true
		}
	}
	return cost
}
