// Package layout changes the order of axes of values in a graph, and moves Transposes to where they cancel.
package layout

import (
	"context"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Layout is one change of a graph. A permutation p of a value says how the graph has it from now on, flipped: axis j is what was axis p[j].
type Layout struct {
	Inputs  map[*ir.Value][]int64
	Outputs map[int][]int64 // by place

	ctx   context.Context
	g     *ir.Graph
	facts *facts.Facts

	order    []*ir.Node
	moved    map[*ir.Node]*move                 // nodes that compute on flipped values
	flipped  map[*ir.Value]*ir.Value            // what stands for a value, flipped
	straight map[*ir.Value]*ir.Value            // what stands for a value that is only there flipped, in its old order
	made     map[*ir.Value]map[string]*ir.Value // Transposes, by value and permutation
	consts   map[*ir.Value]map[string]*ir.Value // permuted constants
	idle     map[*ir.Node]bool                  // Transposes of the graph that may have no use left
	source   map[*ir.Node]*ir.Value             // what they transposed before anything was edited
}

// New prepares a change of g, which is none yet.
func New(ctx context.Context, g *ir.Graph, f *facts.Facts) *Layout {
	return &Layout{
		ctx: ctx, g: g, facts: f, Inputs: map[*ir.Value][]int64{}, Outputs: map[int][]int64{},
		moved: map[*ir.Node]*move{}, flipped: map[*ir.Value]*ir.Value{}, straight: map[*ir.Value]*ir.Value{},
	}
}

// Sums reports whether a node that adds up elements is among those that compute in another order of axes, so that it may add in another order.
func (r *Layout) Sums() bool {
	for _, m := range r.moved {
		if m.sums {
			return true
		}
	}
	return false
}

// permuted is the type of a value that is flipped.
func permuted(t *ir.Type, p []int64) *ir.Type {
	if t == nil || t.Shape == nil || len(t.Shape) != len(p) {
		return t
	}
	u := *t
	u.Shape = make(ir.Shape, len(p))
	for i, a := range p {
		u.Shape[i] = t.Shape[a]
	}
	return &u
}

// compose is the permutation of Transpose(Transpose(x, p), q).
func compose(p, q []int64) []int64 {
	r := make([]int64, len(q))
	for j, a := range q {
		r[j] = p[a]
	}
	return r
}
