package ir

import (
	"iter"
	"slices"
)

// Graph is a main graph, a subgraph (the attribute of a node), a function body or a training graph.
type Graph struct {
	Meta  *Meta
	Extra Extra

	model  *Model
	name   string
	outer  *Graph // the graph whose values this one may capture
	owner  *Node  // the node whose attribute this is
	fn     *Function
	ins    []*Slot
	outs   []*Slot
	ret    *Node // its operands are the outputs
	nodes  []*Node
	ndead  int
	consts []*Value
	cdead  int
	epochs [numFacets]uint64

	order      []*Node // cached derived order
	orderAt    uint64
	orderOK    bool
	orderKinds []int32  // by place in order; made when it is asked for
	captures   []*Value // cached
	capturesAt uint64
	capturesOK bool
}

// Slot is one place of a graph's interface. In the main graph it owns its name; in subgraphs and functions the name is a
// hint. An input's slot has the input's value; an output's slot names whatever value it currently returns.
type Slot struct {
	Meta  *Meta
	Extra Extra

	graph  *Graph
	name   string
	output bool
	index  int
	value  *Value // inputs
	typ    *Type  // outputs: the declared type
}

// Name is the slot's name.
func (s *Slot) Name() string { return s.name }

// SetName renames the slot. In the main graph this changes the model's interface.
func (s *Slot) SetName(name string) {
	s.name = name
	if !s.output {
		s.value.name = name
	}
	s.graph.touch(Metadata)
}

// Value is what stands in the slot.
func (s *Slot) Value() *Value {
	if s.output {
		return s.graph.ret.in[s.index].v
	}
	return s.value
}

// SetValue makes an output slot return v. It panics on an input slot.
func (s *Slot) SetValue(v *Value) {
	if !s.output {
		panic("ir: SetValue on an input")
	}
	s.graph.ret.SetOperand(s.index, v)
}

// Type is the declared type; for an input, the value's.
func (s *Slot) Type() *Type {
	if s.output {
		return s.typ
	}
	return s.value.typ
}

// SetType declares a type. For an input it sets the value's, without asking whether it contradicts (see Value.Refine).
func (s *Slot) SetType(t *Type) {
	if s.output {
		s.typ = t
	} else {
		s.value.typ = t
	}
	s.graph.touch(Types)
}

// Name is the graph's own name, without meaning.
func (g *Graph) Name() string { return g.name }

// SetName renames the graph.
func (g *Graph) SetName(name string) {
	g.name = name
	g.touch(Metadata)
}

// Model is the model g belongs to.
func (g *Graph) Model() *Model { return g.model }

// Outer is the graph whose values g may capture, nil for top-level graphs.
func (g *Graph) Outer() *Graph { return g.outer }

// Owner is the node whose attribute g is, nil for top-level graphs.
func (g *Graph) Owner() *Node { return g.owner }

// Function is the function whose body g is or is nested in, nil outside functions.
func (g *Graph) Function() *Function {
	for ; g != nil; g = g.outer {
		if g.fn != nil {
			return g.fn
		}
	}
	return nil
}

// IsBody reports whether g is itself the body of a function.
func (g *Graph) IsBody() bool { return g.fn != nil }

// Opset is the version of a domain that applies in g: the function's own, or the model's.
func (g *Graph) Opset(domain string) int64 {
	if f := g.Function(); f != nil {
		return lookupOpset(f.opsets, domain)
	}
	return g.model.Opset(domain)
}

// Encloses reports whether values of g can be seen in h: h is g or nested in it.
func (g *Graph) Encloses(h *Graph) bool {
	for ; h != nil; h = h.outer {
		if h == g {
			return true
		}
	}
	return false
}

// Depth is the number of graphs around g.
func (g *Graph) Depth() int {
	d := 0
	for o := g.outer; o != nil; o = o.outer {
		d++
	}
	return d
}

// Inputs are the graph's inputs in order: required ones and, from IR version 4 on, those with a default. Initializers that older
// files list as inputs are not among them.
func (g *Graph) Inputs() []*Slot { return g.ins }

// Outputs are the graph's outputs in order.
func (g *Graph) Outputs() []*Slot { return g.outs }

// Return is the pseudo-node whose operands are the outputs. Its operator is {"ir", "Return"}; it is never among Nodes.
func (g *Graph) Return() *Node { return g.ret }

// Consts lists the initializers in order, defaults of inputs not included.
func (g *Graph) Consts() []*Value {
	g.sweepConsts()
	return slices.Clone(g.consts)
}

func (g *Graph) sweepConsts() {
	if g.cdead > 0 {
		g.consts = slices.DeleteFunc(g.consts, func(v *Value) bool { return v.dead })
		g.cdead = 0
	}
}

// NumNodes is the number of nodes of g itself.
func (g *Graph) NumNodes() int { return len(g.nodes) - g.ndead }

// Nodes yields g's own nodes in the derived order: topological, ties broken by source position; a node also waits for what
// its subgraphs capture. It is a snapshot: nodes erased meanwhile are left out, nodes made meanwhile do not appear. While
// there is a cycle (Verify reports it) the order is by position.
func (g *Graph) Nodes() iter.Seq[*Node] {
	order, _ := g.sorted()
	return func(yield func(*Node) bool) {
		for _, n := range order {
			if !n.dead && !yield(n) {
				return
			}
		}
	}
}

// NodesOf is Nodes without those whose kind (Node.Kind) is not wanted. It does not look at these: on a large graph that saves most of the
// time of a walk. wanted is asked when the walk gets there.
func (g *Graph) NodesOf(wanted func(kind int) bool) iter.Seq[*Node] {
	order, _ := g.sorted()
	if len(g.orderKinds) != len(order) {
		g.orderKinds = make([]int32, len(order))
		for i, n := range order {
			g.orderKinds[i] = n.kind
		}
	}
	kinds := g.orderKinds
	return func(yield func(*Node) bool) {
		for i, k := range kinds {
			if wanted(int(k)) {
				if n := order[i]; !n.dead && !yield(n) {
					return
				}
			}
		}
	}
}

// NodeList is Nodes as a slice.
func (g *Graph) NodeList() []*Node { return slices.Collect(g.Nodes()) }

// Backward yields the nodes of Nodes in reverse.
func (g *Graph) Backward() iter.Seq[*Node] {
	order, _ := g.sorted()
	return func(yield func(*Node) bool) {
		for _, n := range slices.Backward(order) {
			if !n.dead && !yield(n) {
				return
			}
		}
	}
}

// Epoch counts the changes of a facet in g and the graphs nested in it.
func (g *Graph) Epoch(f Facet) uint64 { return g.epochs[f] }

func (g *Graph) touch(f Facet) {
	for h := g; h != nil; h = h.outer {
		h.epochs[f]++
	}
	g.model.touch(f)
}

// Captures lists the values of enclosing graphs that g or a graph nested in it uses, each once.
func (g *Graph) Captures() []*Value {
	if g.outer == nil {
		return nil
	}
	if g.capturesOK && g.capturesAt == g.epochs[Structure] {
		return g.captures
	}
	g.captures = g.captures[:0:0]
	seen := map[*Value]bool{}
	add := func(v *Value) {
		if v != nil && v.graph != g && !seen[v] {
			seen[v] = true
			g.captures = append(g.captures, v)
		}
	}
	for _, n := range append(slices.Clip(g.nodes), g.ret) {
		if n.dead {
			continue
		}
		for _, o := range n.in {
			add(o.v)
		}
		for _, s := range n.Subgraphs() {
			for _, v := range s.Captures() {
				add(v)
			}
		}
	}
	g.capturesAt, g.capturesOK = g.epochs[Structure], true
	return g.captures
}
