// Package liveness computes how long values live and how much activation memory a run needs.
package liveness

import (
	"slices"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/ir"
)

// Options say what is known of types and sizes: Types tells the type of a value (nil: what the model records), Sizes the
// sizes of symbolic dimensions. The zero value is usable.
type Options = analysis.Options

// Report describes the memory of one evaluation of a graph in its derived order. Constants are not counted. A value lives
// from the node that computes it (an input from the start) to the last node that needs it, captures included; while a node
// runs, its operands and results live together; outputs live to the end. A result of an operator that only renames or
// reshapes its operand shares its memory.
type Report struct {
	Peak    int64       // bytes at the worst moment, what subgraphs and functions need inside included
	At      *ir.Node    // the node that runs then; nil if the graph has none
	Live    []*ir.Value // the buffers alive then, largest first, by the value that first held them
	Inside  int64       // of Peak: bytes inside the subgraphs or function of At
	Unknown int         // values whose size is not known; they count as nothing
	// Series is the number of bytes while each node runs, in the derived order, what it needs inside included.
	Series []int64
}

// aliases lists operators whose first result may share the elements of their first operand.
var aliases = []string{"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}

// Graph computes the report of g, main graph or other.
func Graph(g *ir.Graph, o Options) *Report {
	functions := make(map[ir.OpID]*ir.Function, len(g.Model().Functions))
	for _, f := range g.Model().Functions {
		functions[f.ID()] = f
	}
	w := &walker{o: o, functions: functions, inside: map[*ir.Function]*Report{}}
	return w.graph(g)
}

type walker struct {
	o         Options
	functions map[ir.OpID]*ir.Function
	inside    map[*ir.Function]*Report
}

// buffer is the memory of a value and of what shares it.
type buffer struct {
	value *ir.Value
	bytes int64
	last  int // the last step that needs it
}

func (w *walker) graph(g *ir.Graph) *Report {
	r := &Report{}
	nodes := g.NodeList()
	buffers := w.buffers(g, nodes, r)
	end := make([][]*buffer, len(nodes)+1) // buffers by the step after which they go
	for v, b := range buffers {
		if b.value == v {
			end[b.last] = append(end[b.last], b)
		}
	}
	var live, now int64
	start := func(v *ir.Value) {
		if b := buffers[v]; b != nil && b.value == v {
			live = analysis.Add(live, b.bytes)
		}
	}
	for _, s := range g.Inputs() {
		start(s.Value())
	}
	r.Peak = live
	peak := -1
	for i, n := range nodes {
		for _, v := range n.Results() {
			start(v)
		}
		inside := w.within(n, r)
		now = analysis.Add(live, inside)
		r.Series = append(r.Series, now)
		if now > r.Peak || r.At == nil && now == r.Peak {
			r.Peak, r.At, r.Inside, peak = now, n, inside, i
		}
		for _, b := range end[i] {
			live -= b.bytes
		}
	}
	r.Live = alive(g, nodes, buffers, peak)
	return r
}

// buffers gives each value of g that is no constant its buffer and finds out how long it is needed.
func (w *walker) buffers(g *ir.Graph, nodes []*ir.Node, r *Report) map[*ir.Value]*buffer {
	buffers := map[*ir.Value]*buffer{}
	define := func(v *ir.Value, at int) {
		bytes, ok := w.o.Bytes(w.o.Type(v))
		if !ok {
			r.Unknown++
		}
		buffers[v] = &buffer{v, bytes, at}
	}
	use := func(v *ir.Value, at int) {
		if b := buffers[v]; b != nil {
			b.last = max(b.last, at)
		}
	}
	for _, s := range g.Inputs() {
		define(s.Value(), 0)
	}
	for i, n := range nodes {
		for _, v := range n.Operands() {
			use(v, i)
		}
		for _, s := range n.Subgraphs() {
			for _, v := range s.Captures() {
				use(v, i)
			}
		}
		for k, v := range n.Results() {
			shared := buffers[n.Operand(0)]
			switch {
			case v == nil || v.Const() != nil:
			case k == 0 && shared != nil && w.functions[n.Op()] == nil && n.Op().Domain == "" && slices.Contains(aliases, n.Op().Type):
				buffers[v] = shared
			default:
				define(v, i)
			}
		}
	}
	for _, s := range g.Outputs() {
		use(s.Value(), len(nodes))
	}
	return buffers
}

// within is what n needs inside: the most that one of its subgraphs needs, or its function.
func (w *walker) within(n *ir.Node, r *Report) int64 {
	if f := w.functions[n.Op()]; f != nil {
		if _, ok := w.inside[f]; !ok {
			w.inside[f] = &Report{} // a function that calls itself ends here
			w.inside[f] = w.graph(f.Graph)
			r.Unknown += w.inside[f].Unknown
		}
		return w.inside[f].Peak
	}
	var most int64
	for _, s := range n.Subgraphs() {
		in := w.graph(s)
		r.Unknown += in.Unknown
		most = max(most, in.Peak)
	}
	return most
}

// alive lists the buffers that live at a step, the largest first; step -1 is the moment before the first node.
func alive(g *ir.Graph, nodes []*ir.Node, buffers map[*ir.Value]*buffer, step int) []*ir.Value {
	var r []*ir.Value
	add := func(v *ir.Value) {
		if b := buffers[v]; b != nil && b.value == v && b.bytes > 0 && b.last >= step {
			r = append(r, v)
		}
	}
	for _, s := range g.Inputs() {
		add(s.Value())
	}
	for _, n := range nodes[:step+1] {
		for _, v := range n.Results() {
			if v != nil {
				add(v)
			}
		}
	}
	slices.SortStableFunc(r, func(a, b *ir.Value) int {
		switch x, y := buffers[a].bytes, buffers[b].bytes; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return r
}
