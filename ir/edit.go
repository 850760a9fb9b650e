package ir

import (
	"fmt"
	"math"
	"slices"
)

// AddInput appends an input of type t (nil: not declared).
func (g *Graph) AddInput(name string, t *Type) *Value {
	v := &Value{graph: g, index: g.model.number(), name: name, typ: t, input: true}
	g.ins = append(g.ins, &Slot{graph: g, name: name, value: v, index: len(g.ins)})
	g.touch(Structure)
	return v
}

// AddOutput appends an output that returns v and declares its type.
func (g *Graph) AddOutput(name string, v *Value, t *Type) *Slot {
	s := &Slot{graph: g, name: name, output: true, index: len(g.outs), typ: t}
	g.outs = append(g.outs, s)
	g.ret.AddOperand(v)
	return s
}

// RemoveInput takes input i away. It panics if the input is used.
func (g *Graph) RemoveInput(i int) {
	s := g.ins[i]
	if len(s.value.uses) > 0 {
		panic("ir: RemoveInput of a used input")
	}
	s.value.dead = true
	g.ins = slices.Delete(slices.Clone(g.ins), i, i+1)
	for j, s := range g.ins {
		s.index = j
	}
	g.touch(Structure)
}

// RemoveOutput takes output i away.
func (g *Graph) RemoveOutput(i int) {
	g.outs = slices.Delete(slices.Clone(g.outs), i, i+1)
	for j, s := range g.outs {
		s.index = j
	}
	g.ret.RemoveOperand(i)
}

// Const makes t an initializer without a name.
func (g *Graph) Const(t *Tensor) *Value { return g.NamedConst("", t) }

// NamedConst makes t an initializer and suggests a name. In a function body the writer makes it a Constant node.
func (g *Graph) NamedConst(name string, t *Tensor) *Value {
	v := &Value{graph: g, index: g.model.number(), name: name, tensor: t}
	g.consts = append(g.consts, v)
	g.touch(Consts)
	g.tell(func(l *Listener) {
		if l.Const != nil {
			l.Const(v)
		}
	})
	return v
}

// EraseConst removes an initializer. It panics if it is used or no initializer.
func (g *Graph) EraseConst(v *Value) {
	if !v.IsInitializer() || v.graph != g || len(v.uses) > 0 {
		panic(fmt.Sprintf("ir: EraseConst of %q, which is used or no initializer of the graph", v.name))
	}
	if !v.dead {
		v.dead = true
		g.cdead++
		g.touch(Consts)
		g.tell(func(l *Listener) {
			if l.Unconst != nil {
				l.Unconst(v)
			}
		})
	}
}

// New adds a node with one result. It takes its place in the derived order beside near, at the end if near is nil, and near's origin.
// Domain "ai.onnx" is taken as "".
func (g *Graph) New(near *Node, op OpID, in []*Value, attrs ...*Attr) *Node {
	return g.NewN(near, op, in, 1, attrs...)
}

// NewN is New with a chosen number of results.
func (g *Graph) NewN(near *Node, op OpID, in []*Value, results int, attrs ...*Attr) *Node {
	m := g.model
	op.Domain = Domain(op.Domain)
	n := &Node{graph: g, op: op, kind: m.kind(op), in: make([]operand, len(in)), out: make([]*Value, results), attrs: attrs}
	m.made++
	n.seq = m.made
	switch {
	case near != nil && near.graph == g && !near.IsReturn():
		n.pos, n.origin = near.pos, near.origin
	case near != nil:
		n.origin = near.origin
		fallthrough
	default:
		n.pos = math.MaxInt64
	}
	vs := make([]Value, results)
	for i := range vs {
		vs[i] = Value{graph: g, index: g.model.number(), def: n, result: int32(i)}
		n.out[i] = &vs[i]
	}
	for i, v := range in {
		n.link(i, v)
	}
	n.adopt(attrs)
	g.nodes = append(g.nodes, n)
	g.touch(Structure)
	g.tell(func(l *Listener) {
		if l.Made != nil {
			l.Made(n)
		}
	})
	return n
}

// Append adds a node as the next one of the source, with all operands still omitted. It is meant for readers: no listener
// is told.
func (g *Graph) Append(op OpID, operands, results int) *Node {
	op.Domain = Domain(op.Domain)
	n := &Node{graph: g, op: op, kind: g.model.kind(op), in: make([]operand, operands), out: make([]*Value, results), pos: int64(len(g.nodes))}
	vs := make([]Value, results)
	for i := range vs {
		vs[i] = Value{graph: g, index: g.model.number(), def: n, result: int32(i)}
		n.out[i] = &vs[i]
	}
	g.nodes = append(g.nodes, n)
	g.touch(Structure)
	return n
}

// NewSubgraph makes an empty graph that sees g's values. Give it to a node by GraphAttr.
func (g *Graph) NewSubgraph(name string) *Graph {
	s := g.model.NewGraph(name)
	s.outer = g
	return s
}

// adopt makes n the owner of the graphs in attrs.
func (n *Node) adopt(attrs []*Attr) {
	for _, a := range attrs {
		for _, s := range a.Graphs() {
			if s.owner != nil && s.owner != n && !s.owner.dead {
				panic("ir: a subgraph cannot belong to two nodes")
			}
			if s.outer != n.graph {
				panic("ir: a subgraph was made for another graph")
			}
			s.owner = n
		}
	}
}

// OmitResult makes result i an omitted one. It panics if the result is used.
func (n *Node) OmitResult(i int) {
	if v := n.out[i]; v != nil {
		if len(v.uses) > 0 {
			panic("ir: OmitResult of a used result")
		}
		v.dead = true
	}
	n.out[i] = nil
	n.graph.touch(Structure)
}

// RemoveResult takes result i away; later ones move up, and what a reader keeps of a node that has such goes. It panics if the result is used.
func (n *Node) RemoveResult(i int) {
	if v := n.out[i]; v != nil {
		if len(v.uses) > 0 {
			panic("ir: RemoveResult of a used result")
		}
		v.dead = true
	}
	if i < len(n.out)-1 {
		n.Extra = nil
	}
	n.out = slices.Delete(slices.Clone(n.out), i, i+1)
	for j, v := range n.out {
		if v != nil {
			v.result = int32(j)
		}
	}
	n.graph.touch(Structure)
}

// TrimResults drops omitted results from the end.
func (n *Node) TrimResults() {
	k := len(n.out)
	for k > 0 && n.out[k-1] == nil {
		k--
	}
	if k < len(n.out) {
		n.out = n.out[:k]
		n.graph.touch(Structure)
	}
}

func (n *Node) link(i int, v *Value) {
	n.in[i] = operand{v, 0}
	if v != nil {
		n.in[i].at = int32(len(v.uses))
		v.uses = append(v.uses, Use{n, i})
	}
}

func (n *Node) unlink(i int) {
	o := n.in[i]
	if o.v == nil {
		return
	}
	last := len(o.v.uses) - 1
	moved := o.v.uses[last]
	o.v.uses[o.at] = moved
	moved.Node.in[moved.Index].at = o.at
	o.v.uses[last] = Use{}
	o.v.uses = o.v.uses[:last]
	n.in[i].v = nil
}

// SetOperand makes operand i of n be v; nil omits it.
func (n *Node) SetOperand(i int, v *Value) {
	old := n.in[i].v
	if old == v {
		return
	}
	n.unlink(i)
	n.link(i, v)
	n.graph.touch(Structure)
	n.graph.tell(func(l *Listener) {
		if l.Operand != nil {
			l.Operand(n, i, old)
		}
	})
}

// AddOperand appends an operand.
func (n *Node) AddOperand(v *Value) {
	n.in = append(n.in, operand{})
	n.link(len(n.in)-1, v)
	n.graph.touch(Structure)
	n.graph.tell(func(l *Listener) {
		if l.Operand != nil {
			l.Operand(n, len(n.in)-1, nil)
		}
	})
}

// RemoveOperand takes operand i away; later ones move up.
func (n *Node) RemoveOperand(i int) {
	vs := n.Operands()
	old := vs[i]
	for j := range n.in {
		n.unlink(j)
	}
	n.in = n.in[:len(n.in)-1]
	for j, v := range slices.Delete(vs, i, i+1) {
		n.link(j, v)
	}
	n.graph.touch(Structure)
	n.graph.tell(func(l *Listener) {
		if l.Operand != nil {
			l.Operand(n, i, old)
		}
	})
}

// SetAttr adds a or replaces the attribute of its name.
func (n *Node) SetAttr(a *Attr) {
	n.adopt([]*Attr{a})
	n.attrs = slices.Clone(n.attrs)
	if i := slices.IndexFunc(n.attrs, func(x *Attr) bool { return x.Name == a.Name }); i >= 0 {
		n.release(n.attrs[i], a)
		n.attrs[i] = a
	} else {
		n.attrs = append(n.attrs, a)
	}
	n.attrChanged()
}

// RemoveAttr takes an attribute away if there is one of that name.
func (n *Node) RemoveAttr(name string) {
	i := slices.IndexFunc(n.attrs, func(x *Attr) bool { return x.Name == name })
	if i < 0 {
		return
	}
	n.release(n.attrs[i], nil)
	n.attrs = slices.Delete(slices.Clone(n.attrs), i, i+1)
	n.attrChanged()
}

// release drops the uses in the graphs of an attribute that goes, except those that its successor keeps.
func (n *Node) release(old, next *Attr) {
	for _, s := range old.Graphs() {
		if !slices.Contains(next.Graphs(), s) {
			s.discard()
		}
	}
}

func (n *Node) attrChanged() {
	n.graph.touch(Structure)
	n.graph.tell(func(l *Listener) {
		if l.Attr != nil {
			l.Attr(n)
		}
	})
}

// Erase removes n and what its subgraphs use. It panics if a result is still used, or if n is not alive in g.
func (g *Graph) Erase(n *Node) {
	if n.graph != g || n.dead || n.IsReturn() {
		panic("ir: Erase of a node that is not in the graph")
	}
	if n.Used() {
		panic(fmt.Sprintf("ir: Erase of node %q (%s), whose results are used", n.name, n.op))
	}
	g.tell(func(l *Listener) {
		if l.Erased != nil {
			l.Erased(n)
		}
	})
	n.discard()
	g.ndead++
	if g.ndead > 32 && g.ndead > len(g.nodes)/2 {
		g.nodes = slices.DeleteFunc(slices.Clone(g.nodes), func(n *Node) bool { return n.dead })
		g.ndead = 0
	}
	g.touch(Structure)
}

// discard marks n and everything inside it dead and drops their uses. The operands of a dead node cannot be read any more;
// its operator, attributes and origin can.
func (n *Node) discard() {
	n.dead = true
	for _, r := range n.out {
		if r != nil {
			r.dead = true
		}
	}
	for i := range n.in {
		n.unlink(i)
	}
	for _, s := range n.Subgraphs() {
		s.discard()
	}
}

func (g *Graph) discard() {
	for _, k := range g.nodes {
		if !k.dead {
			k.discard()
		}
	}
	g.ret.discard()
}

// ReplaceUses moves every use of v, captures and graph outputs included, to w. A result without a name takes v's.
func (v *Value) ReplaceUses(w *Value) {
	v.ReplaceUsesIf(w, func(Use) bool { return true })
}

// ReplaceUsesIf moves the uses of v for which move is true to w.
func (v *Value) ReplaceUsesIf(w *Value, move func(Use) bool) {
	if v == w {
		return
	}
	for u := range v.Uses() {
		if move(u) {
			u.Node.SetOperand(u.Index, w)
		}
	}
	if w != nil && w.name == "" && w.def != nil && len(v.uses) == 0 {
		w.name = v.name
	}
}

func (g *Graph) tell(f func(*Listener)) {
	for _, l := range g.model.listeners {
		f(l)
	}
}
