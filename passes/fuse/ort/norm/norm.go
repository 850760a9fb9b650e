// Package norm finds layer normalization in models of operator sets that have no operator for it, for ONNX Runtime.
package norm

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/internal/upgrade"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes LayerNormalization, and raises the model's opset to 17 for it.
var Pass = passes.Define(rewrite.New(layers(nil, nil)...).Describe(passes.Info{
	Name: "ort-norm",
	Doc:  "finds LayerNormalization below opset 17, which it raises to that",
	Long: `ONNX Runtime's level 2 writes LayerNormalization into models of any opset, which the standard does not have before opset 17. This pass writes
the standard's operator once and raises the opset of the model for it, where no other node means anything else in opset 17. Then the pass
"layer-norm" finds the others.`,
}), struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
	if m.Opset("") >= since {
		return nil
	}
	known, err := facts.Of(c)
	if err != nil {
		return err
	}
	types := map[*ir.Value]*ir.Type{} // now: nothing is known while nodes are being edited
	for n := range m.Nodes() {
		for _, v := range append(n.Operands(), n.Results()...) {
			if v != nil {
				types[v] = known.Type(v)
			}
		}
	}
	get := func(v *ir.Value) *ir.Type { return types[v] }
	return rewrite.Apply(c, m, layers(upgrade.Check(m, since, get), get)...)
})

// since is the opset that has LayerNormalization.
const since = 17

// layers are the rules, for layer normalization with a scale and without; refused is what stands in the way of opset 17.
func layers(refused error, types func(*ir.Value) *ir.Type) []*rewrite.Rule {
	// What spells layer normalization out is in package spelled:
	//
	//	x ─┬─ ReduceMean ── Sub ─┬─ Pow 2 ── ReduceMean ── Add ── Sqrt ── Div ── Mul ──   becomes   x ── LayerNormalization ──
	//	   └────────────────┘    └────────────────────────────────────────┘
	scaled := layer(refused, types, spelled.ReadNorm, func(_ *rewrite.Builder, m *rewrite.Match) *ir.Value { return m.Value("gamma") })
	scaled.Name = "raise-layer-norm"
	scaled.Doc = "turns the arithmetic of layer normalization up to its scale into LayerNormalization of opset 17"
	scaled.Match = rewrite.MustParseFor("ReduceMean, Sqrt", spelled.LayerNorm)

	// The same without Mul gets a scale of ones.
	plain := layer(refused, types, spelled.ReadPlainNorm, func(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
		return b.Const("ones", m.Keep.(*spelled.Norm).Ones())
	})
	plain.Name = "raise-layer-norm-plain"
	plain.Doc = "turns the arithmetic of layer normalization without a scale into LayerNormalization of opset 17"
	plain.Match = rewrite.MustParseFor("ReduceMean, Sqrt", spelled.PlainLayerNorm)
	return []*rewrite.Rule{scaled, plain}
}

// layer is what the rules have in common.
func layer(refused error, types func(*ir.Value) *ir.Type, read func(*rewrite.Match) (*spelled.Norm, error), scale func(*rewrite.Builder, *rewrite.Match) *ir.Value) *rewrite.Rule {
	return &rewrite.Rule{
		Promise: contrib.Tolerance,
		Where: func(m *rewrite.Match) error {
			if m.Supports("LayerNormalization") {
				return errors.New("the opset has LayerNormalization, which pass layer-norm writes")
			}
			if g := m.Root().Graph(); g.Function() != nil {
				return fmt.Errorf("it stands in function %s", g.Function().ID())
			}
			f, err := read(m)
			if err != nil {
				return err
			}
			m.Keep = f
			for _, g := range m.Root().Graph().Model().Functions {
				if v := g.Graph.Opset(""); v != 0 && v < since {
					return fmt.Errorf("function %s imports opset %d, and ONNX Runtime takes that of the model for it", g.ID(), v)
				}
			}
			return refused
		},
		Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			f := m.Keep.(*spelled.Norm)
			upgrade.Raise(m.Root().Graph().Model(), since, types)
			return []*ir.Value{b.Op("LayerNormalization", []*ir.Value{m.Value("x"), scale(b, m)},
				ir.IntAttr("axis", f.Axis), ir.FloatAttr("epsilon", f.Epsilon))}
		},
	}
}
