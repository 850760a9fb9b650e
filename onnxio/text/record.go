package text

import (
	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// The records below are what the reader leaves in Extra fields. They hold no values or nodes, so that copies of a model share
// them.

// slotRecord stands for the Identity node that was absorbed into an output.
type slotRecord struct {
	name string
	meta *ir.Meta
	pos  int64
}

// Identity makes the record a keep.Identity.
func (r *slotRecord) Identity() (string, *ir.Meta, int64, bool) { return r.name, r.meta, r.pos, true }

// valueRecord holds the quantization_annotation of a value.
type valueRecord struct{ quant []ir.Prop }

// Quantization makes the record a keep.Quantization.
func (r *valueRecord) Quantization() []ir.Prop { return r.quant }

// graphRecord holds the value_info of names nobody has.
type graphRecord struct{ unbound []keep.Info }

// Unbound makes the record a keep.Unbound.
func (r *graphRecord) Unbound() []keep.Info { return r.unbound }
