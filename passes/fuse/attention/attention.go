// Package attention finds attention of several heads in models that have the operator.
package attention

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes Attention, which needs opset 23.
var Pass = passes.Define(rewrite.New(merged, apart).Describe(passes.Info{
	Name: "attention",
	Doc:  "finds Attention in the arithmetic that spells it out",
	Long: `Only float is looked at, and masks that have queries and keys written out, since ONNX Runtime 1.32 takes no others. Where heads of keys
and values serve groups of those of queries, the operator needs no repetition of them: on a CPU ONNX Runtime is 1.04 to 4 times as fast as with Expand.`,
}), struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
	if err := mergedSet.Apply(c, m); err != nil {
		return err
	}
	return apartSet.Apply(c, m) // whose root comes before that of merged
})

var mergedSet, apartSet = rewrite.New(merged), rewrite.New(apart)

// What spells attention out is in package spelled:
//
//	q ── Reshape ── Transpose ── MatMul ── Div ── Add ── Softmax ── MatMul ── Transpose ── Reshape ──   becomes   q ─┬─ Attention ──
//	k ── Reshape ── Transpose ───┘          mask ─┘                 │                                             k ─┤
//	v ── Reshape ── Transpose ──────────────────────────────────────┘                                             v ─┤
//	                                                                                                           mask ─┘
var merged = &rewrite.Rule{
	Name:    "attention",
	Doc:     "turns attention of several heads into Attention",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParseFor("Softmax, MatMul", spelled.Attention),
	Where: func(m *rewrite.Match) error {
		if !m.Supports("Attention") {
			return errors.New("there is no Attention before opset 23")
		}
		h, err := spelled.ReadAttention(m)
		if err != nil {
			return err
		}
		if !h.Merged && h.Packed == nil {
			return errors.New("keys and values have another rank than queries")
		}
		m.Keep = h
		return mask(m, h)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		h := m.Keep.(*spelled.Heads)
		y := b.Op("Attention", append(h.Operands(b, m), added(b, m)), ir.IntAttr("q_num_heads", h.Heads), ir.IntAttr("kv_num_heads", h.Heads), ir.FloatAttr("scale", h.Scale))
		return []*ir.Value{h.Result(b, y)}
	},
}

// Heads may stand before the length on all sides, and each of keys and values be repeated for a group of those of queries:
//
//	q ──────────────────────────────────────────────── MatMul ── Mul ── Add ── Softmax ── MatMul ──   becomes   q ─┬─ Attention ──
//	k ── (Unsqueeze ── Expand ── Reshape) ── Transpose ─┘       mask ─┘                     │                    k ─┤
//	v ── (Unsqueeze ── Expand ── Reshape) ──────────────────────────────────────────────────┘                    v ─┤
//	                                                                                                          mask ─┘
var apart = &rewrite.Rule{
	Name:    "grouped-attention",
	Doc:     "turns attention whose heads are apart, or shared in groups, into Attention",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParseFor("Softmax, MatMul", spelled.HeadsApart),
	Where: func(m *rewrite.Match) error {
		if !m.Supports("Attention") {
			return errors.New("there is no Attention before opset 23")
		}
		h, err := spelled.ReadHeadsApart(m)
		if err != nil {
			return err
		}
		m.Keep = h
		return mask(m, h)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		h := m.Keep.(*spelled.Heads)
		in := []*ir.Value{m.Value("qt"), m.Value("k"), m.Value("v"), added(b, m)}
		return []*ir.Value{b.Op("Attention", in, ir.FloatAttr("scale", h.Scale))}
	},
}

// mask says why the operator does not take the mask.
func mask(m *rewrite.Match, h *spelled.Heads) error {
	if err := h.Chosen(m); err != nil || !m.Has("mask") {
		return err
	}
	d, ok := m.Dims("mask")
	if ok && len(d) == 4 && d[3].IsKnown() && !d[3].Same(h.Keys) && h.Shared > 0 && h.Shared < h.Heads {
		h.Widen = true // which costs less than the repetition of keys and values
		d = []infer.Int{d[0], d[1], d[2], h.Keys}
	}
	if !ok || !h.Full(d) || m.DType("mask") != ir.Float32 {
		return fmt.Errorf("the mask is a %s, not surely of [batch,heads,queries,keys], or 1 in place of the first two", m.Type("mask"))
	}
	return nil
}

// added is what is added to the scores, nil if nothing is. A mask that is as long as the keys or 1, as it must be to fit, but of which the
// model does not say which, is expanded.
func added(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
	v := spelled.Finite(b, m)
	if m.Keep.(*spelled.Heads).Widen {
		v = b.Op("Expand", []*ir.Value{v, b.Op("Shape", []*ir.Value{m.Value("k")}, ir.IntAttr("start", 2), ir.IntAttr("end", 3))})
	}
	return v
}
