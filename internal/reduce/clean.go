package reduce

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// idle are the nodes and constants of m that no output depends on. A failure may depend on them all the same.
func idle(m *ir.Model) (nodes map[*ir.Node]bool, consts map[*ir.Value]bool) {
	needed := map[*ir.Node]bool{}
	held := map[*ir.Value]bool{}
	var need func(n *ir.Node)
	need = func(n *ir.Node) {
		for _, v := range n.Operands() {
			if v == nil || held[v] {
				continue
			}
			held[v] = true
			if d := v.Node(); d != nil && !needed[d] {
				needed[d] = true
				need(d)
			}
		}
		for _, s := range n.Subgraphs() {
			need(s.Return())
		}
	}
	for _, g := range m.Graphs() {
		if g.Owner() == nil {
			need(g.Return())
		}
	}
	nodes, consts = map[*ir.Node]bool{}, map[*ir.Value]bool{}
	for _, g := range m.Graphs() {
		for n := range g.Nodes() {
			if !needed[n] {
				nodes[n] = true
			}
		}
		for _, v := range g.Consts() {
			if !held[v] {
				consts[v] = true
			}
		}
	}
	return nodes, consts
}

// clean removes nodes, constants and functions that an edit left without a use; those given stay.
func clean(m *ir.Model, nodes map[*ir.Node]bool, consts map[*ir.Value]bool) {
	for again := true; again; {
		again = false
		for _, g := range m.Graphs() {
			for n := range g.Backward() {
				if !n.Used() && !nodes[n] {
					g.Erase(n)
					again = true
				}
			}
			for _, v := range slices.Clone(g.Consts()) {
				if v.NumUses() == 0 && !consts[v] {
					g.EraseConst(v)
				}
			}
		}
		for _, f := range slices.Clone(m.Functions) {
			if !called(m, f) {
				m.RemoveFunction(f)
				again = true
			}
		}
	}
}

func called(m *ir.Model, f *ir.Function) bool {
	for n := range m.Nodes() {
		if n.Op() == f.ID() {
			return true
		}
	}
	return false
}
