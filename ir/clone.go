package ir

import (
	"maps"
	"slices"
)

// Clone returns a deep copy of m. Payloads, types, origins and what readers keep are shared, since they do not change.
// Listeners are not copied.
func (m *Model) Clone() *Model {
	c, _ := m.CloneMap()
	return c
}

// CloneMap is Clone and also tells which value of the copy stands for which of m.
func (m *Model) CloneMap() (*Model, map[*Value]*Value) {
	c := *m
	c.listeners, c.index, c.graphs = nil, functionIndex{}, graphList{}
	c.kinds, c.kindOf = slices.Clone(m.kinds), maps.Clone(m.kindOf)
	c.opsets = slices.Clone(m.opsets)
	c.Functions = nil
	c.Training = nil
	c.values = 0
	k := &cloner{m: &c, values: map[*Value]*Value{}}
	if m.Main != nil {
		c.Main = k.graph(m.Main, nil)
	}
	for _, f := range m.Functions {
		d := *f
		d.opsets = slices.Clone(f.opsets)
		d.Graph = k.graph(f.Graph, nil)
		d.Graph.fn = &d
		c.Functions = append(c.Functions, &d)
	}
	for _, t := range m.Training {
		d := *t
		if t.Initialization != nil {
			d.Initialization = k.graph(t.Initialization, c.Main)
		}
		if t.Algorithm != nil {
			d.Algorithm = k.graph(t.Algorithm, c.Main)
		}
		d.InitBinding = k.bindings(t.InitBinding)
		d.UpdateBinding = k.bindings(t.UpdateBinding)
		c.Training = append(c.Training, &d)
	}
	return &c, k.values
}

// CopyInto copies the nodes of g into h beside near and returns the values that stand for g's outputs. The inputs of g become
// in; values that g captures keep their place. It is how inlining is written. Constants become constants of h. In a copy
// across graphs of different opsets the caller answers for the meaning.
func (g *Graph) CopyInto(h *Graph, near *Node, in []*Value) []*Value {
	k := &cloner{m: h.model, values: map[*Value]*Value{}}
	for i, s := range g.ins {
		if i < len(in) {
			k.values[s.value] = in[i]
		} else {
			k.values[s.value] = nil
		}
	}
	for _, v := range g.consts {
		if !v.dead {
			w := h.NamedConst(v.name, v.tensor)
			w.typ, w.Meta, w.origin = v.typ, v.Meta, v.origin
			k.values[v] = w
		}
	}
	for n := range g.Nodes() {
		c := h.NewN(near, n.op, k.operands(n), len(n.out))
		c.name, c.meta = n.name, n.meta
		if n.origin != nil {
			c.origin = n.origin
		}
		for i, r := range n.out {
			if r == nil {
				c.OmitResult(i)
				continue
			}
			w := c.out[i]
			w.name, w.typ, w.Meta, w.stated = r.name, r.typ, r.Meta, r.stated
			k.values[r] = w
		}
		for _, a := range n.attrs {
			c.SetAttr(k.attr(a, h))
		}
	}
	out := make([]*Value, len(g.outs))
	for i := range out {
		out[i] = k.value(g.ret.in[i].v)
	}
	return out
}

type cloner struct {
	m      *Model
	values map[*Value]*Value
}

// value is the copy of v, or v itself where v is outside what is copied.
func (k *cloner) value(v *Value) *Value {
	if w, ok := k.values[v]; ok {
		return w
	}
	return v
}

func (k *cloner) operands(n *Node) []*Value {
	r := n.Operands()
	for i, v := range r {
		r[i] = k.value(v)
	}
	return r
}

func (k *cloner) bindings(b []Binding) []Binding {
	b = slices.Clone(b)
	for i := range b {
		b[i].Target = k.value(b[i].Target)
	}
	return b
}

func (k *cloner) copyValue(v *Value, g *Graph, def *Node) *Value {
	w := *v
	w.graph, w.def, w.uses, w.index = g, def, nil, k.m.number()
	k.values[v] = &w
	return &w
}

// graph copies g. Nodes are copied before operands are linked, because the order of g.nodes is not topological.
func (k *cloner) graph(g, outer *Graph) *Graph {
	c := &Graph{Meta: g.Meta, Extra: g.Extra, model: k.m, name: g.name, outer: outer, fn: g.fn, epochs: g.epochs}
	c.ret = &Node{graph: c, op: g.ret.op, kind: g.ret.kind, in: make([]operand, len(g.ret.in))}
	for _, s := range g.ins {
		t := *s
		t.graph, t.value = c, k.copyValue(s.value, c, nil)
		c.ins = append(c.ins, &t)
	}
	for _, s := range g.outs {
		t := *s
		t.graph = c
		c.outs = append(c.outs, &t)
	}
	for _, v := range g.consts {
		if !v.dead {
			c.consts = append(c.consts, k.copyValue(v, c, nil))
		}
	}
	c.nodes = make([]*Node, 0, g.NumNodes())
	var from []*Node
	for _, n := range g.nodes {
		if n.dead {
			continue
		}
		d := *n
		if kinds := k.m.kinds; int(n.kind) >= len(kinds) || kinds[n.kind] != n.op { // of another model
			d.kind = k.m.kind(n.op)
		}
		d.graph, d.in, d.out = c, make([]operand, len(n.in)), make([]*Value, len(n.out))
		for i, r := range n.out {
			if r != nil {
				d.out[i] = k.copyValue(r, c, &d)
			}
		}
		c.nodes = append(c.nodes, &d)
		from = append(from, n)
	}
	for i, n := range from {
		d := c.nodes[i]
		for j, o := range n.in {
			d.link(j, k.value(o.v))
		}
		d.attrs = slices.Clone(n.attrs)
		for j, a := range d.attrs {
			if len(a.Graphs()) > 0 {
				d.attrs[j] = k.attr(a, c)
				for _, s := range d.attrs[j].Graphs() {
					s.owner = d
				}
			}
		}
	}
	for i, o := range g.ret.in {
		c.ret.link(i, k.value(o.v))
	}
	return c
}

// attr copies an attribute whose graphs are to be nested in outer. What a reader keeps of it goes along.
func (k *cloner) attr(a *Attr, outer *Graph) *Attr {
	switch v := a.value.(type) {
	case *Graph:
		b := *a
		b.value = k.graph(v, outer)
		return &b
	case []*Graph:
		b := *a
		gs := make([]*Graph, len(v))
		for i, g := range v {
			gs[i] = k.graph(g, outer)
		}
		b.value = gs
		return &b
	}
	return a
}

// Assign makes m become what c is: snapshots are taken with Clone and given back with Assign. c must not be used afterwards.
func (m *Model) Assign(c *Model) {
	listeners := m.listeners
	epochs := m.epochs
	*m = *c
	m.listeners, m.graphs = listeners, graphList{}
	for f := range epochs {
		m.epochs[f] = max(epochs[f], c.epochs[f]) + 1
	}
	for _, g := range m.Graphs() {
		g.model = m
	}
}
