package onnxio

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// The edits below are what passes do, in their simplest form.

// eliminate removes Identity nodes.
func eliminate(m *ir.Model) (k int) {
	for n := range m.Nodes() {
		if n.Is("Identity") && n.Operand(0) != nil && n.Result(0) != nil {
			n.Result(0).ReplaceUses(n.Operand(0))
			n.Graph().Erase(n)
			k++
		}
	}
	return k
}

// dce removes nodes and initializers without uses, users first.
func dce(m *ir.Model) {
	for _, g := range slices.Backward(m.Graphs()) {
		for n := range g.Backward() {
			if !n.Used() {
				g.Erase(n)
			}
		}
	}
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			if v.NumUses() == 0 {
				g.EraseConst(v)
			}
		}
	}
}

// inject puts an Identity on every edge, those to graph outputs included, and returns what it made.
func inject(m *ir.Model) (made []*ir.Node) {
	for _, g := range m.Graphs() {
		for _, n := range append(g.NodeList(), g.Return()) {
			for i, v := range n.Operands() {
				if v != nil {
					id := g.New(n, ir.Op("Identity"), []*ir.Value{v})
					n.SetOperand(i, id.Result(0))
					made = append(made, id)
				}
			}
		}
	}
	return made
}

// remove takes away what inject made.
func remove(made []*ir.Node) {
	for _, n := range made {
		n.Result(0).ReplaceUses(n.Operand(0))
		n.Graph().Erase(n)
	}
}
