// Package cse is common subexpression elimination.
package cse

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
)

// Options has no options.
type Options struct{}

// Pass keeps the first of several nodes that compute the same: the same deterministic operator of the same operands with
// the same attributes, where a default counts as stated and the first two operands of a commutative operator may be exchanged. A
// node of a subgraph is also replaced by an equal one of an enclosing graph. Opaque nodes, calls of
// functions, constants and nodes with subgraphs are left alone.
//
// It is value numbering by hashing over the scopes of the graph (Briggs, Cooper, Simpson: Value Numbering, 1997).
var Pass = passes.Define(passes.Info{
	Name: "cse",
	Doc:  "computes what several nodes compute alike only once",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, _ Options) error {
	e := &eliminator{c: c, ids: map[*ir.Value]uint64{}}
	for _, g := range m.Graphs() {
		if g.Owner() == nil {
			e.graph(g, nil)
		}
	}
	return nil
}

type eliminator struct {
	c   *passes.Context
	ids map[*ir.Value]uint64 // numbers values in the order in which they are met, for hashing
}

// scope holds the nodes of a graph that stay by their hash, within the scope of the graph around it.
type scope struct {
	nodes map[uint64][]*ir.Node
	outer *scope
}

// graph merges the nodes of g, and then those of its subgraphs. A node of a subgraph may be replaced by one of g wherever that
// stands: both have the same operands, so the owner of the subgraph waits for those already, and the node of g, which waits for
// nothing else, cannot depend on the owner.
func (e *eliminator) graph(g *ir.Graph, outer *scope) {
	s := &scope{map[uint64][]*ir.Node{}, outer}
	var subgraphs []*ir.Graph
	for n := range g.Nodes() {
		subgraphs = append(subgraphs, n.Subgraphs()...)
		sig, ok := e.signature(n)
		if !ok {
			continue
		}
		hash := sig.hash(e.id)
		if !e.merge(n, sig, s, hash) {
			s.nodes[hash] = append(s.nodes[hash], n)
		}
	}
	for _, h := range subgraphs {
		e.graph(h, s)
	}
}

// merge replaces n by an equal node of s or a scope around it.
func (e *eliminator) merge(n *ir.Node, sig *signature, s *scope, hash uint64) bool {
	for ; s != nil; s = s.outer {
		for _, k := range s.nodes[hash] {
			if other, _ := e.signature(k); sig.equal(other) && e.replace(n, k) {
				return true
			}
		}
	}
	return false
}

// replace moves the uses of n's results to those of k and erases n. Outputs may cost Identity nodes, but no more than the node
// that goes.
func (e *eliminator) replace(n, k *ir.Node) bool {
	cost := 0
	for i, v := range n.Results() {
		if v == nil {
			continue
		}
		cost += glue.Cost(v, k.Result(i))
		if why := glue.Refuse(v, k.Result(i), 1); why != "" {
			e.c.Remark(n, "cse", why)
			return false
		}
	}
	if cost > 1 || cost == 1 && n.Is("Identity") {
		e.c.Remark(n, "cse", "its outputs would need as many Identity nodes")
		return false
	}
	return e.c.Rewrite("cse", n, []*ir.Node{k}, func() {
		for i, v := range n.Results() {
			if v != nil {
				glue.KeepType(v, k.Result(i))
				v.ReplaceUses(k.Result(i))
			}
		}
		n.Graph().Erase(n)
	})
}

func (e *eliminator) id(v *ir.Value) uint64 {
	if v == nil {
		return 0
	}
	if _, ok := e.ids[v]; !ok {
		e.ids[v] = uint64(len(e.ids) + 1)
	}
	return e.ids[v]
}

// signature is what decides the results of n; ok is false for nodes that are never merged.
func (e *eliminator) signature(n *ir.Node) (s *signature, ok bool) {
	s = &signature{schema: ops.Of(n), node: n}
	if s.schema == nil || len(n.Subgraphs()) > 0 || !ops.Deterministic(n) || n.Op() == ir.Op("Constant") {
		return nil, false
	}
	s.in = n.Operands()
	for len(s.in) > 0 && s.in[len(s.in)-1] == nil {
		s.in = s.in[:len(s.in)-1]
	}
	if s.schema.Has(ops.Commutative) && len(s.in) >= 2 && e.id(s.in[0]) > e.id(s.in[1]) {
		s.in[0], s.in[1] = s.in[1], s.in[0]
	}
	s.attrs = stated(n, s.schema)
	return s, true
}
