// Package attention finds attention of several heads in models that have the operator.
package attention

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes Attention, which needs opset 23.
var Pass = rewrite.Define(passes.Info{
	Name: "attention",
	Doc:  "finds Attention in the arithmetic that spells it out",
	Long: `Only float is looked at, and masks that have queries and keys written out, since ONNX Runtime 1.32 takes no others.`,
}, rule)

// What spells attention out is in package spelled:
//
//	q ── Reshape ── Transpose ── MatMul ── Div ── Add ── Softmax ── MatMul ── Transpose ── Reshape ──   becomes   q ─┬─ Attention ──
//	k ── Reshape ── Transpose ───┘          mask ─┘                 │                                             k ─┤
//	v ── Reshape ── Transpose ──────────────────────────────────────┘                                             v ─┤
//	                                                                                                           mask ─┘
var rule = &rewrite.Rule{
	Name:    "attention",
	Doc:     "turns attention of several heads into Attention",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParse(spelled.Attention()...),
	Where: func(m *rewrite.Match) error {
		if !m.Supports("Attention") {
			return errors.New("there is no Attention before opset 23")
		}
		h, err := spelled.ReadAttention(m)
		if err != nil {
			return err
		}
		m.Keep = h
		switch {
		case !h.Merged && h.Packed == nil:
			return errors.New("keys and values have another rank than queries")
		case m.Has("seen"):
			return errors.New("the mask is chosen and not added")
		case !m.Has("mask"):
			return nil
		}
		d, ok := m.Dims("mask")
		if !ok || !h.Full(d) || m.DType("mask") != ir.Float32 {
			return fmt.Errorf("the mask is a %s, not surely of [batch,heads,queries,keys], or 1 in place of the first two", m.Type("mask"))
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		h := m.Keep.(*spelled.Heads)
		in := h.Operands(b, m)
		if m.Has("mask") {
			in = append(in, m.Value("mask"))
		}
		return []*ir.Value{b.Op("Attention", in, ir.IntAttr("q_num_heads", h.Heads), ir.IntAttr("kv_num_heads", h.Heads), ir.FloatAttr("scale", h.Scale))}
	},
}
