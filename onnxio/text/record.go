package text

import (
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// The records below are what the reader leaves in Extra fields. They hold no values or nodes, so that copies of a model share
// them.

// slotRecord says what an output of the text was apart from its declaration.
type slotRecord struct {
	outer    bool // a value of an enclosing graph
	absorbed bool // the result of an Identity node, which name, meta and pos are of
	name     string
	meta     *ir.Meta
	pos      int64
}

// Identity makes the record a keep.Identity.
func (r *slotRecord) Identity() (string, *ir.Meta, int64, bool) {
	return r.name, r.meta, r.pos, r.absorbed
}

// Outer makes the record a keep.Outer.
func (r *slotRecord) Outer() bool { return r.outer }

// valueRecord holds the quantization_annotation of a value, and the name of a value that an annotation may refer to.
type valueRecord struct {
	name  string
	quant []ir.Prop
	bound map[string]bool
}

// Source makes the record a keep.Source.
func (r *valueRecord) Source() string { return r.name }

// Bound makes the record a keep.Quantization.
func (r *valueRecord) Bound(name string) bool { return r.bound[name] }

// Quantization makes the record a keep.Quantization.
func (r *valueRecord) Quantization() []ir.Prop { return r.quant }

// graphRecord holds the value_info of names nobody has, and the names that hide those of enclosing graphs.
type graphRecord struct {
	unbound []keep.Info
	shadows map[string]bool
}

// Unbound makes the record a keep.Unbound.
func (r *graphRecord) Unbound() []keep.Info { return r.unbound }

// Shadows makes the record a keep.Shadowing.
func (r *graphRecord) Shadows(name string) bool { return r.shadows[name] }
