// Package facts gives passes what is known of values: types, shapes and known elements.
package facts

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// Facts answers questions about single values. What it says stays true under rewrites, because a rewrite never changes what
// a value computes; values made meanwhile are inferred when somebody asks.
type Facts struct{ result *infer.Result }

var analysis = &passes.Analysis[*Facts]{
	Name:  "facts",
	Reads: []ir.Facet{ir.Structure, ir.Types, ir.Consts},
	Compute: func(_ *passes.Context, m *ir.Model) (*Facts, error) {
		return &Facts{infer.Model(m)}, nil
	},
}

// Prime hands the inference of a model to a run of passes on it.
func Prime(r *infer.Result) passes.Primed { return passes.Prime(analysis, &Facts{r}) }

// Of returns the facts of the model that the pass works on. They are computed once and hold until a recorded type is changed.
func Of(c *passes.Context) (*Facts, error) { return passes.GetFacts(c, analysis) }

// about is the result of inference, v's included. A nil v is an omitted operand.
func (f *Facts) about(v *ir.Value) *infer.Result {
	f.result.Extend(v)
	return f.result
}

// Type is the type of v, nil if nothing is known. A dimension that is an expression over the model's named dimensions has the
// expression's canonical spelling as its name.
func (f *Facts) Type(v *ir.Value) *ir.Type { return f.about(v).Type(v) }

// Shape is the shape of v, nil if its rank is not known.
func (f *Facts) Shape(v *ir.Value) ir.Shape { return f.about(v).Shape(v) }

// DType is the element type of v, Undefined if it is not known.
func (f *Facts) DType(v *ir.Value) ir.DType { return f.about(v).DType(v) }

// Dims are the dimensions of v as expressions, those without a name in the model included; ok is false if the rank is not known.
// Equal expressions are equal sizes. The caller must not change them.
func (f *Facts) Dims(v *ir.Value) (dims []infer.Int, ok bool) { return f.about(v).Dims(v) }

// SameShape reports whether v and w surely have the same shape.
func (f *Facts) SameShape(v, w *ir.Value) bool {
	f.result.Extend(w)
	return f.about(v).SameShape(v, w)
}

// Ints are the elements of v in row-major order as expressions, if v is a small tensor of which something is known. Elements
// that are not known, or are no integers, are unknown.
func (f *Facts) Ints(v *ir.Value) ([]infer.Int, bool) { return f.about(v).Ints(v) }

// Known is the value of v if it is the same in every run: v is a constant, or computed from sizes and constants that are all
// numbers. nil otherwise.
func (f *Facts) Known(v *ir.Value) *ir.Tensor { return f.about(v).Known(v) }
