package layout

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// wide bounds the nodes beside one Transpose that are looked at.
const wide = 256

// Settle finds the nodes that are to compute in another order of axes so that Transposes which are there move fewer bytes and are not more, or are
// fewer and move as many. From each
// Transpose it goes on to the nodes that take its result, and those that take theirs, and then to those that make its operand. It returns the
// first of the Transposes from which there are any, nil if there is none. Nodes that add up elements stay: they would add in another order, and axes that are not the last ones cost them more.
func (r *Layout) Settle() (first *ir.Node) {
	r.order = r.g.NodeList()
	at := map[*ir.Node]int{}
	for i, n := range r.order {
		at[n] = i
	}
	for _, n := range r.order {
		p := r.permutation(n)
		if p == nil || r.moved[n] != nil {
			continue
		}
		r.spread(n.Result(0), ir.InversePerm(p), at, false)
		r.spread(n.Operand(0), p, at, true)
		if first == nil && len(r.moved) > 0 {
			first = n
		}
	}
	return first
}

// permutation is what a Transpose of the graph does, nil if n is none.
func (r *Layout) permutation(n *ir.Node) []int64 {
	if !n.Is("Transpose") || n.HasRefs() {
		return nil
	}
	rank := r.rank(n.Operand(0))
	if rank < 0 {
		return nil
	}
	if p := r.transposed(n, rank); len(p) == rank && !slices.IsSorted(p) {
		return p
	}
	return nil
}

// spread adds nodes one by one, in their order or against it, that can take v flipped by p, or make it so, and then their neighbours; and keeps those with which
// the least was moved.
func (r *Layout) spread(v *ir.Value, p []int64, at map[*ir.Node]int, up bool) {
	near := map[*ir.Node][]int64{}
	var queue []*ir.Node
	reach := func(n *ir.Node, p []int64) {
		if _, known := near[n]; n == nil || known || n.Graph() != r.g || n.IsReturn() || r.moved[n] != nil || n.Is("Transpose") || len(near) >= wide {
			return
		}
		near[n] = p
		i, _ := slices.BinarySearchFunc(queue, n, func(a, b *ir.Node) int {
			if up {
				a, b = b, a
			}
			return at[a] - at[b]
		})
		queue = slices.Insert(queue, i, n)
	}
	around := func(v *ir.Value, p []int64) {
		if up {
			reach(v.Node(), p)
		} else if v.NumUses() <= manyUses {
			for u := range v.Uses() {
				reach(u.Node, p)
			}
		}
	}
	around(v, p)
	var added []*ir.Node
	var count, fewest, length int
	var bytes, least float64
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		beside := values(n)
		m := r.movable(n, near[n])
		if m == nil || m.sums || !r.cheap(n, m, beside) {
			continue
		}
		for _, v := range beside {
			c := r.cost(v)
			count -= c
			bytes -= float64(c) * r.size(v)
		}
		r.moved[n] = m
		added = append(added, n)
		for _, v := range beside {
			c := r.cost(v)
			count += c
			bytes += float64(c) * r.size(v)
		}
		if count <= 0 && (bytes < least || bytes == least && count < fewest) {
			least, fewest, length = bytes, count, len(added)
		}
		switch {
		case up:
			for i, v := range n.Operands() {
				if v != nil && m.roles[i] == flips {
					around(v, near[n])
				}
			}
		case m.result != nil:
			for _, v := range n.Results() {
				if v != nil {
					around(v, m.result)
				}
			}
		}
	}
	for _, n := range added[length:] {
		delete(r.moved, n)
	}
}

// cheap reports whether n can be moved without a large constant that others use, too, being there twice, and without looking at many uses.
func (r *Layout) cheap(n *ir.Node, m *move, beside []*ir.Value) bool {
	for i, v := range n.Operands() {
		if m.roles[i] == constant && v.Const().ByteLen() > small && v.NumUses() > 1 {
			return false
		}
	}
	return !slices.ContainsFunc(beside, func(v *ir.Value) bool { return v.Const() == nil && v.NumUses() > manyUses })
}

// small is the number of bytes of a constant that may be there twice.
const small = 256

// usual stands for a size that is not known, when bytes are compared.
const usual = 32

// size is the number of bytes of v, as far as it is known.
func (r *Layout) size(v *ir.Value) float64 {
	dims, _ := r.facts.Dims(v)
	n := max(1, float64(r.facts.DType(v).Bits())/8)
	for _, d := range dims {
		n *= size(d)
	}
	return n
}

func size(d infer.Int) float64 {
	if n, ok := d.Const(); ok {
		return float64(n)
	}
	return usual
}
