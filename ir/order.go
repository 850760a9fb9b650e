package ir

import (
	"container/heap"
	"slices"
)

// deep calls f for every value that n waits for: its operands and what its subgraphs capture.
func (n *Node) deep(f func(*Value)) {
	for _, o := range n.in {
		if o.v != nil {
			f(o.v)
		}
	}
	for _, a := range n.attrs {
		if a.Kind == AttrGraph || a.Kind == AttrGraphs {
			for _, s := range a.Graphs() {
				for _, v := range s.Captures() {
					f(v)
				}
			}
		}
	}
}

// byRank orders nodes by the scratch field idx, their rank by position.
type byRank []*Node

func (h byRank) Len() int           { return len(h) }
func (h byRank) Less(i, j int) bool { return h[i].idx < h[j].idx }
func (h byRank) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byRank) Push(x any)        { *h = append(*h, x.(*Node)) }
func (h *byRank) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// sorted returns the derived order, and false if there is a cycle, in which case the order is by position.
// It is Kahn's algorithm with a priority queue (CACM 5(11), 1962); nodes already in order need no queue.
func (g *Graph) sorted() ([]*Node, bool) {
	if g.order != nil && g.orderAt == g.epochs[Structure] {
		return g.order, g.orderOK
	}
	ns := make([]*Node, 0, g.NumNodes())
	for _, n := range g.nodes {
		if !n.dead {
			ns = append(ns, n)
		}
	}
	before := func(a, b *Node) int {
		switch {
		case a.pos != b.pos:
			return compare(a.pos, b.pos)
		default:
			return compare(a.seq, b.seq)
		}
	}
	if seed := g.model.shuffle; seed != 0 {
		for i, n := range ns {
			n.deg = int32(mix(seed+uint64(i)) >> 33)
		}
		before = func(a, b *Node) int { return compare(int64(a.deg), int64(b.deg)) }
	}
	if !slices.IsSortedFunc(ns, before) {
		slices.SortStableFunc(ns, before)
	}
	r, ok := kahn(g, ns)
	g.order, g.orderOK, g.orderAt = r, ok, g.epochs[Structure]
	g.orderKinds = nil
	return r, ok
}

func kahn(g *Graph, ns []*Node) ([]*Node, bool) {
	for i, n := range ns {
		n.idx = int32(i)
	}
	inOrder := true
	edges := 0
	for _, n := range ns {
		n.deg = 0
		n.deep(func(v *Value) {
			if v.graph == g && v.def != nil && !v.def.dead {
				n.deg++
				edges++
				inOrder = inOrder && v.def.idx < n.idx
			}
		})
	}
	if inOrder {
		return ns, true
	}
	// The successors of node i are succ[start[i]:start[i+1]].
	start := make([]int32, len(ns)+1)
	succ := make([]int32, edges)
	count := make([]int32, len(ns))
	for _, n := range ns {
		n.deep(func(v *Value) {
			if v.graph == g && v.def != nil && !v.def.dead {
				count[v.def.idx]++
			}
		})
	}
	for i, c := range count {
		start[i+1] = start[i] + c
		count[i] = start[i]
	}
	var ready byRank
	for _, n := range ns {
		n.deep(func(v *Value) {
			if v.graph == g && v.def != nil && !v.def.dead {
				succ[count[v.def.idx]] = n.idx
				count[v.def.idx]++
			}
		})
		if n.deg == 0 {
			ready = append(ready, n)
		}
	}
	heap.Init(&ready)
	r := make([]*Node, 0, len(ns))
	for len(ready) > 0 {
		n := heap.Pop(&ready).(*Node)
		r = append(r, n)
		for _, s := range succ[start[n.idx]:start[n.idx+1]] {
			if ns[s].deg--; ns[s].deg == 0 {
				heap.Push(&ready, ns[s])
			}
		}
	}
	if len(r) < len(ns) {
		return ns, false
	}
	return r, true
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
