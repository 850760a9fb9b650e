// Package rotary finds rotary position embedding, for models whose opset has the operator.
package rotary

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes RotaryEmbedding, which needs opset 23.
var Pass = passes.Define(rewrite.New(rules(nil)...).Describe(passes.Info{
	Name: "rotary",
	Doc:  "finds RotaryEmbedding in the arithmetic that spells it out",
	Long: `Heads are turned as Llama and GPT-NeoX do it, by halves, or as GPT-J does, by neighbours, as a whole or their first elements alone. Cosines and
sines must hold every angle twice, which the pass follows to what computes them or sees in a table. On a CPU, ONNX Runtime 1.32 is 1.5
to 2.7 times as fast with the operator. Only float is looked at.`,
}), struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
	return rewrite.Apply(c, m, rules(spelled.Tables{})...)
})

var (
	whole   = rewrite.MustParseFor("Concat, Mul", spelled.Rotary)
	partial = rewrite.MustParse(spelled.PartialRotary("RotaryEmbedding <interleaved = @interleaved> (x1, cos, sin)")...)
)

// What spells the rotation out is in package spelled:
//
//	x ─┬────────────────────────────── Mul cos ── Add ──   becomes   x ── RotaryEmbedding ──
//	   ├─ Slice ── Neg ─┬─ Concat ── Mul sin ──┘                  cos ─┤
//	   └─ Slice ────────┘                                         sin ─┘
//
//	x ─┬─ Slice ── RotaryEmbedding ── Concat ──            becomes   x ── RotaryEmbedding<rotary_embedding_dim> ──
//	   └─ Slice ────────────────────────┘
func rules(tables spelled.Tables) []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name:    "rotary",
			Doc:     "turns rotary position embedding into RotaryEmbedding",
			Promise: passes.Promise{RelTol: 1e-4},
			Match:   whole,
			Where: func(m *rewrite.Match) error {
				if !m.Supports("RotaryEmbedding") {
					return errors.New("there is no RotaryEmbedding before opset 23")
				}
				t, err := spelled.ReadRotary(m, tables)
				if m.Keep = t; err == nil && !t.SameBatch {
					err = fmt.Errorf("the cosines are a %s for a %s, not surely of its batch", m.Type("cos"), m.Type("x"))
				}
				return err
			},
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				t := m.Keep.(*spelled.Turn)
				cos, sin := t.Angles(b, m)
				attrs := t.Attrs()
				if t.Heads > 0 {
					attrs = append(attrs, ir.IntAttr("num_heads", t.Heads))
				}
				return []*ir.Value{t.Apart(b, b.Op("RotaryEmbedding", []*ir.Value{t.Merge(b, m.Value("x")), cos, sin}, attrs...))}
			},
		},
		{
			Name:    "partial-rotary",
			Doc:     "makes a rotation of the first elements of each head one of the heads",
			Promise: passes.Promise{}, // the same rotation
			Match:   partial,
			Where: func(m *rewrite.Match) error {
				_, dim, err := spelled.ReadPartial(m)
				m.Keep = dim
				return err
			},
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				attrs := []*ir.Attr{ir.IntAttr("rotary_embedding_dim", m.Keep.(int64))}
				if m.Attr("interleaved").Int() != 0 {
					attrs = append(attrs, ir.IntAttr("interleaved", 1))
				}
				return []*ir.Value{b.Op("RotaryEmbedding", []*ir.Value{m.Value("x"), m.Value("cos"), m.Value("sin")}, attrs...)}
			},
		},
	}
}
