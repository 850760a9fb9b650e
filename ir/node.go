package ir

import "slices"

// OpID names an operator. Domain is canonical: "" is the default domain.
type OpID struct{ Domain, Type, Overload string }

// Op is an operator of the default domain.
func Op(typ string) OpID { return OpID{Type: typ} }

// String is the operator as the textual syntax writes it ("Conv", "com.microsoft.Gelu", "local.F:overload").
func (o OpID) String() string {
	s := o.Type
	if o.Domain != "" {
		s = o.Domain + "." + s
	}
	if o.Overload != "" {
		s += ":" + o.Overload
	}
	return s
}

// Node is an operation. A node belongs to one graph for life; when it is erased it stays readable but is Dead.
type Node struct {
	Extra Extra

	graph  *Graph
	op     OpID
	name   string
	in     []operand
	out    []*Value // nil for an omitted result
	attrs  []*Attr
	meta   *Meta
	origin *Origin
	pos    int64 // place in the source; first key of the derived order
	seq    int64 // second key: nodes made later at the same place
	idx    int32 // scratch of the sort
	deg    int32
	kind   int32
	dead   bool
}

// operand is one edge; at is its place in v.uses, so that removal takes constant time.
type operand struct {
	v  *Value
	at int32
}

// Op is the operator.
func (n *Node) Op() OpID { return n.op }

// Kind is the operator's index in the model's Kinds, for tables by operator: a comparison of numbers instead of strings.
func (n *Node) Kind() int { return int(n.kind) }

// SetOp changes the operator in place; operands, results and attributes stay.
func (n *Node) SetOp(op OpID) {
	op.Domain = Domain(op.Domain)
	n.op, n.kind = op, n.graph.model.kind(op)
	n.graph.touch(Structure)
	n.graph.tell(func(l *Listener) {
		if l.Attr != nil {
			l.Attr(n)
		}
	})
}

// Is reports whether n is a plain operator of the default domain with one of these types whose attributes are all known: a
// node in a function body whose attributes refer to the function's is no such node, and neither is one whose operator a
// model-local function redefines. Passes match with it.
func (n *Node) Is(types ...string) bool {
	return n.op.Domain == "" && n.op.Overload == "" && slices.Contains(types, n.op.Type) && !n.HasRefs() && n.graph.model.Function(n.op) == nil
}

// HasRefs reports whether an attribute refers to an attribute of the enclosing function, so that its value is not known.
func (n *Node) HasRefs() bool {
	return slices.ContainsFunc(n.attrs, func(a *Attr) bool { return a.Ref != "" })
}

// Name is the node's name, without meaning; it may be empty or not unique.
func (n *Node) Name() string { return n.name }

// SetName renames the node.
func (n *Node) SetName(s string) {
	n.name = s
	n.graph.touch(Metadata)
}

// Meta is the node's documentation and metadata, nil if there is none.
func (n *Node) Meta() *Meta { return n.meta }

// SetMeta replaces documentation and metadata.
func (n *Node) SetMeta(m *Meta) {
	n.meta = m
	n.graph.touch(Metadata)
}

// Graph is the graph n belongs or belonged to.
func (n *Node) Graph() *Graph { return n.graph }

// Dead reports whether n was erased.
func (n *Node) Dead() bool { return n.dead }

// IsReturn reports whether n is a graph's Return pseudo-node.
func (n *Node) IsReturn() bool { return n.graph.ret == n }

// NumOperands is the number of operands, omitted ones included.
func (n *Node) NumOperands() int { return len(n.in) }

// Operand is operand i; nil if it is omitted or beyond the last.
func (n *Node) Operand(i int) *Value {
	if i < 0 || i >= len(n.in) {
		return nil
	}
	return n.in[i].v
}

// Operands is a copy of the operand list; nil stands for an omitted one.
func (n *Node) Operands() []*Value {
	r := make([]*Value, len(n.in))
	for i, o := range n.in {
		r[i] = o.v
	}
	return r
}

// NumResults is the number of results, omitted ones included.
func (n *Node) NumResults() int { return len(n.out) }

// Result is result i; nil if it is omitted or beyond the last.
func (n *Node) Result(i int) *Value {
	if i < 0 || i >= len(n.out) {
		return nil
	}
	return n.out[i]
}

// Results is the list of results; nil stands for an omitted one. The caller must not change it.
func (n *Node) Results() []*Value { return n.out }

// Used reports whether any result has a use.
func (n *Node) Used() bool {
	return slices.ContainsFunc(n.out, func(v *Value) bool { return v != nil && len(v.uses) > 0 })
}

// Attrs are the attributes in order. The caller must not change the list.
func (n *Node) Attrs() []*Attr { return n.attrs }

// Attr is the attribute of that name, nil if there is none. Attr's accessors are safe on nil.
func (n *Node) Attr(name string) *Attr {
	for _, a := range n.attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Int is the attribute's value, or def if there is no such INT attribute.
func (n *Node) Int(name string, def int64) int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInt && a.Ref == "" {
		return a.Int()
	}
	return def
}

// Float is the attribute's value, or def if there is no such FLOAT attribute.
func (n *Node) Float(name string, def float32) float32 {
	if a := n.Attr(name); a != nil && a.Kind == AttrFloat && a.Ref == "" {
		return a.Float()
	}
	return def
}

// Str is the attribute's value, or def if there is no such STRING attribute.
func (n *Node) Str(name, def string) string {
	if a := n.Attr(name); a != nil && a.Kind == AttrString && a.Ref == "" {
		return a.Str()
	}
	return def
}

// Ints is the attribute's value, nil if there is no such INTS attribute.
func (n *Node) Ints(name string) []int64 { return n.Attr(name).Ints() }

// Subgraphs lists the graphs its attributes hold.
func (n *Node) Subgraphs() []*Graph {
	var r []*Graph
	for _, a := range n.attrs {
		if a.Kind == AttrGraph || a.Kind == AttrGraphs {
			r = append(r, a.Graphs()...)
		}
	}
	return r
}

// Origin says what the node stands for, nil for a node made without any.
func (n *Node) Origin() *Origin { return n.origin }

// SetOrigin replaces the origin. Rewrites go through passes.Context, which does it.
func (n *Node) SetOrigin(o *Origin) { n.origin = o }

// Pos is the node's place in the source: the first key of the derived order. Nodes made near another share its place.
func (n *Node) Pos() int64 { return n.pos }
