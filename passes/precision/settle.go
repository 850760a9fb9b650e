package precision

import (
	"github.com/onnxopt/onnxopt/ir"
)

// light is the number of bytes of constants up to which a node is not worth a cast.
const light = 1 << 10

// settle lets nodes keep their type where that saves casts: those between nodes that keep it. Each step saves at least one cast, so
// there are few.
func (p *planner) settle() {
	if p.to == ir.Float32 || p.o.WeightsOnly {
		return
	}
	for range 4 {
		before := len(p.kept)
		p.islands()
		for n := range p.m.Nodes() {
			if p.loose(n) {
				p.try([]*ir.Node{n})
			}
		}
		if len(p.kept) == before {
			return
		}
	}
}

// loose reports whether n changes its type, may as well keep it, and has no weights.
func (p *planner) loose(n *ir.Node) bool {
	if _, kept := p.kept[n]; kept || n.Is("Constant") || p.links(n) != nil || p.m.Function(n.Op()) != nil || !p.touches(n) {
		return false
	}
	if n.Is("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "Einsum", "Attention") && !p.quantized(n) {
		return false
	}
	if n.Is("DequantizeLinear") {
		return true
	}
	size := int64(0)
	for _, v := range n.Operands() {
		if t := v.Const(); t != nil && p.isFrom(v) {
			size += t.ByteLen()
		}
	}
	return size <= light
}

// quantized reports whether n computes on integers: its first two operands come from DequantizeLinear.
func (p *planner) quantized(n *ir.Node) bool {
	for i := range 2 {
		if v := n.Operand(i); v == nil || v.Node() == nil || !v.Node().Is("DequantizeLinear") {
			return false
		}
	}
	return true
}

// try lets nodes keep their type if that saves casts.
func (p *planner) try(ns []*ir.Node) {
	seen := map[*ir.Value]bool{}
	var vs []*ir.Value
	add := func(v *ir.Value) {
		if p.isFrom(v) && v.Const() == nil && !seen[v] {
			seen[v] = true
			vs = append(vs, v)
		}
	}
	for _, n := range ns {
		for _, v := range n.Operands() {
			add(v)
		}
		for _, v := range n.Results() {
			add(v)
		}
	}
	casts := func() (k int) {
		for _, v := range vs {
			if p.split(v) {
				k++
			}
		}
		return k
	}
	before := casts()
	if before == 0 {
		return
	}
	for _, n := range ns {
		p.kept[n] = reason{}
	}
	if casts() < before {
		return
	}
	for _, n := range ns {
		delete(p.kept, n)
	}
}

// split reports whether v is needed in a type that it does not have.
func (p *planner) split(v *ir.Value) bool {
	h := p.home(v)
	for u := range v.Uses() {
		if d := p.demand(u.Node, u.Index); d >= old && d != h {
			return true
		}
	}
	return false
}

// islands tries groups of connected loose nodes, which single nodes cannot leave one after the other without more casts in between.
func (p *planner) islands() {
	group := map[*ir.Node]*ir.Node{}
	find := func(n *ir.Node) *ir.Node {
		for group[n] != n {
			group[n] = group[group[n]]
			n = group[n]
		}
		return n
	}
	var order []*ir.Node
	for n := range p.m.Nodes() {
		if p.loose(n) {
			group[n] = n
			order = append(order, n)
		}
	}
	for _, n := range order {
		for _, v := range n.Operands() {
			if !p.isFrom(v) {
				continue
			}
			if d := v.Node(); d != nil && group[d] != nil {
				group[find(n)] = find(d)
			}
		}
	}
	members := map[*ir.Node][]*ir.Node{}
	for _, n := range order {
		members[find(n)] = append(members[find(n)], n)
	}
	for _, n := range order {
		if g := members[n]; len(g) > 1 && find(n) == n {
			p.try(g)
		}
	}
}
