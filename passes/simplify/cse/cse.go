// Package cse is common subexpression elimination.
package cse

import (
	"github.com/onnxopt/onnxopt/ir"
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
	e := &eliminator{c: c}
	for _, g := range m.Graphs() {
		if g.Owner() == nil {
			e.graph(g, nil)
		}
	}
	return nil
}

type eliminator struct {
	c    *passes.Context
	a, b signature // of the node that is looked at, and of one that it may be equal to
}

// scope holds the nodes of a graph that stay by their hash, within the scope of the graph around it.
type scope struct {
	nodes map[uint64]*ir.Node
	more  map[uint64][]*ir.Node // those of a hash that another node has
	outer *scope
}

// graph merges the nodes of g, and then those of its subgraphs. A node of a subgraph may be replaced by one of g wherever that
// stands: both have the same operands, so the owner of the subgraph waits for those already, and the node of g, which waits for
// nothing else, cannot depend on the owner.
func (e *eliminator) graph(g *ir.Graph, outer *scope) {
	s := &scope{make(map[uint64]*ir.Node, g.NumNodes()), map[uint64][]*ir.Node{}, outer}
	var subgraphs []*ir.Graph
	for n := range g.Nodes() {
		subgraphs = append(subgraphs, n.Subgraphs()...)
		if !signed(n, &e.a) {
			continue
		}
		hash := e.a.hash()
		if e.merge(n, s, hash) {
			continue
		}
		if s.nodes[hash] == nil {
			s.nodes[hash] = n
		} else {
			s.more[hash] = append(s.more[hash], n)
		}
	}
	for _, h := range subgraphs {
		e.graph(h, s)
	}
}

// merge replaces n by an equal node of s or a scope around it.
func (e *eliminator) merge(n *ir.Node, s *scope, hash uint64) bool {
	for ; s != nil; s = s.outer {
		k := s.nodes[hash]
		if k == nil {
			continue
		}
		if e.into(n, k) {
			return true
		}
		for _, k := range s.more[hash] {
			if e.into(n, k) {
				return true
			}
		}
	}
	return false
}

// into replaces n, the signature of which is e.a, by k if that is equal.
func (e *eliminator) into(n, k *ir.Node) bool {
	return !k.Dead() && signed(k, &e.b) && e.a.equal(&e.b) && e.replace(n, k)
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
