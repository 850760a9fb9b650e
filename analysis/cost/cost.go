// Package cost counts what a model computes and stores: multiply-accumulates, parameters, bytes and sparsity.
package cost

import (
	"fmt"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/ir"
)

// Options say what is known of types and sizes: Types tells the type of a value (nil: what the model records), Sizes the
// sizes of symbolic dimensions. The zero value is usable.
type Options = analysis.Options

// Count is a number of multiply-accumulates. FLOPs are twice that.
type Count struct {
	MACs int64
	// Unknown counts the nodes that compute products whose number is not known: a size is symbolic or not inferred, or
	// the number of times a loop goes round. They contribute nothing to MACs, a loop body with unknown count contributes
	// one round.
	Unknown int64
}

// FLOPs counts a multiplication and an addition each as one operation.
func (c Count) FLOPs() int64 { return analysis.Mul(2, c.MACs) }

func (c Count) plus(d Count) Count {
	return Count{analysis.Add(c.MACs, d.MACs), analysis.Add(c.Unknown, d.Unknown)}
}

func (c Count) times(n int64) Count { return Count{analysis.Mul(c.MACs, n), c.Unknown} }

// Report is the cost of one run of a model and the size of its constants.
type Report struct {
	Count
	// Nodes holds the count of each node of the main graph that computes products, its subgraphs or function included.
	Nodes map[*ir.Node]Count
	// ByOp sums the counts of nodes of all graphs by operator, weighted as often as they run.
	ByOp map[ir.OpID]Count
	// Constants describes initializers, defaults of inputs and Constant nodes in all graphs and functions, each tensor once.
	Constants Constants
}

// Model counts m. Subgraphs of If count as the more expensive branch; a Loop's body as often as its constant trip count says;
// a Scan's as often as the scanned axis is long; a function wherever it is called, with the types recorded in its body.
func Model(m *ir.Model, o Options) *Report {
	c := &counter{o: o, functions: make(map[ir.OpID]*ir.Function, len(m.Functions)), bodies: map[*ir.Function]tally{}}
	for _, f := range m.Functions {
		c.functions[f.ID()] = f
	}
	r := &Report{Nodes: map[*ir.Node]Count{}, ByOp: map[ir.OpID]Count{}, Constants: constants(m)}
	for n := range m.Main.Nodes() {
		t := c.node(n)
		for op, k := range t {
			r.ByOp[op] = r.ByOp[op].plus(k)
		}
		if s := t.sum(); s != (Count{}) {
			r.Nodes[n] = s
			r.Count = r.Count.plus(s)
		}
	}
	return r
}

// Node counts one node by the formulas of the operators, without subgraphs and functions. It reports false for operators
// that compute no products. An error says which size is missing.
func Node(n *ir.Node, o Options) (macs int64, products bool, err error) {
	f := formula(n.Op())
	if f == nil {
		return 0, false, nil
	}
	s := reader{n: n, o: o}
	macs = f(&s)
	if s.err != nil {
		return 0, true, fmt.Errorf("node %q (%s): %w", n.Name(), n.Op(), s.err)
	}
	return macs, true, nil
}

// tally is a count by operator.
type tally map[ir.OpID]Count

func (t tally) add(u tally, times int64) {
	for op, c := range u {
		t[op] = t[op].plus(c.times(times))
	}
}

func (t tally) sum() (s Count) {
	for _, c := range t {
		s = s.plus(c)
	}
	return s
}

type counter struct {
	o         Options
	functions map[ir.OpID]*ir.Function
	bodies    map[*ir.Function]tally // functions counted, nil while one is being counted
}

func (c *counter) graph(g *ir.Graph) tally {
	t := tally{}
	for n := range g.Nodes() {
		t.add(c.node(n), 1)
	}
	return t
}

func (c *counter) node(n *ir.Node) tally {
	if f := c.functions[n.Op()]; f != nil {
		t, ok := c.bodies[f]
		if !ok {
			c.bodies[f] = nil // a function that calls itself counts once
			t = c.graph(f.Graph)
			c.bodies[f] = t
		}
		return t
	}
	if len(n.Subgraphs()) > 0 {
		return c.control(n)
	}
	macs, products, err := Node(n, c.o)
	switch {
	case err != nil:
		return tally{n.Op(): {Unknown: 1}}
	case products:
		return tally{n.Op(): {MACs: macs}}
	}
	return nil
}

// control counts an operator that evaluates graphs.
func (c *counter) control(n *ir.Node) tally {
	var most tally
	all := tally{}
	for _, g := range n.Subgraphs() {
		t := c.graph(g)
		all.add(t, 1)
		if most == nil || most.sum().MACs < t.sum().MACs {
			most = t
		}
	}
	if n.Op().Type == "If" {
		return most
	}
	rounds, known := c.rounds(n)
	t := tally{}
	t.add(all, rounds)
	if !known && len(all) > 0 {
		t[n.Op()] = t[n.Op()].plus(Count{Unknown: 1})
	}
	return t
}

// rounds is how often the bodies of n run; 1 and false if that is not known.
func (c *counter) rounds(n *ir.Node) (int64, bool) {
	switch n.Op().Type {
	case "Loop":
		if t := n.Operand(0).Const(); t != nil && t.DType() == ir.Int64 && t.Len() == 1 {
			if v, err := ir.Elements[int64](t); err == nil && v[0] >= 0 {
				return v[0], true
			}
		}
		return 1, false
	case "Scan":
		scanned := int(n.Int("num_scan_inputs", 1))
		s := reader{n: n, o: c.o}
		axis := int64(0)
		if a := n.Ints("scan_input_axes"); len(a) > 0 {
			axis = a[0]
		}
		if k := s.dim(n.NumOperands()-scanned, axis); s.err == nil {
			return k, true
		}
		return 1, false
	}
	return 1, false
}
