// Package rotary finds rotary position embedding, for ONNX Runtime.
package rotary

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes RotaryEmbedding of com.microsoft.
var Pass = passes.Define(rewrite.New(rules(nil)...).Describe(passes.Info{
	Name: "ort-rotary",
	Doc:  "finds RotaryEmbedding of ONNX Runtime in the arithmetic that spells it out",
	Long: `Pass rotary does the same from opset 23 on, whose operator is of the standard. This one needs a table of cosines by position. Where a model
looks positions up in one that is surely as long as the sequence, the operator takes both; negative positions, which count from the table's
end, become those that they mean. The operator refuses longer sequences than the table, so that otherwise the cosines of the batch are the
table, and a vector's place in the batch is its position: six small nodes, once for all layers. Of an empty batch that table is empty and the
operator refuses it, too. On a CPU, ONNX Runtime 1.32 is 1.5 to 2.7 times as fast with the operator. Only float is looked at.`,
}), struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
	return rewrite.Apply(c, m, rules(spelled.Tables{})...)
})

var (
	whole   = rewrite.MustParseFor("Concat, Mul", spelled.Rotary)
	partial = rewrite.MustParse(spelled.PartialRotary("com.microsoft.RotaryEmbedding <interleaved = @interleaved> (x1, ids, cos, sin)")...)
)

// What spells the rotation out is in package spelled:
//
//	x ─┬────────────────────────────── Mul cos ── Add ──   becomes   x ── RotaryEmbedding ──
//	   ├─ Slice ── Neg ─┬─ Concat ── Mul sin ──┘            positions ─┤
//	   └─ Slice ────────┘                                       table ─┘
//
//	x ─┬─ Slice ── RotaryEmbedding ── Concat ──            becomes   x ── RotaryEmbedding<rotary_embedding_dim> ──
//	   └─ Slice ────────────────────────┘
func rules(tables spelled.Tables) []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name:    "ort-rotary",
			Doc:     "turns rotary position embedding into RotaryEmbedding of ONNX Runtime",
			Promise: contrib.Tolerance,
			Match:   whole,
			Where: func(m *rewrite.Match) error {
				switch {
				case m.Opset("") < 13:
					return errors.New("Unsqueeze has its axes as an attribute before opset 13")
				case m.Supports("RotaryEmbedding"):
					return errors.New("the model's opset has an operator of its own for it")
				}
				t, err := spelled.ReadRotary(m, tables)
				m.Keep = t
				if err == nil && m.Has("cg") {
					if c, s := m.Shape("cc"), m.Shape("sc"); !c.Same(s) || m.Const("cc").Len() == 0 {
						return fmt.Errorf("the tables are a %s and a %s", m.Type("cc"), m.Type("sc"))
					}
				}
				return err
			},
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				t := m.Keep.(*spelled.Turn)
				in := append([]*ir.Value{t.Merge(b, m.Value("x"))}, table(b, m, t)...)
				return []*ir.Value{t.Apart(b, contrib.Op(b, "RotaryEmbedding", in, t.Attrs()...))}
			},
		},
		{
			Name:    "ort-partial-rotary",
			Doc:     "makes a rotation of the first elements of each head one of the heads",
			Promise: passes.Promise{}, // the same rotation
			Match:   partial,
			Where: func(m *rewrite.Match) error {
				x, dim, err := spelled.ReadPartial(m)
				if err != nil {
					return err
				}
				heads, ok := x[1].Const()
				if m.Keep = [2]int64{heads, dim}; !ok || heads < 1 {
					return fmt.Errorf("the number of heads of a %s is not known", m.Type("x"))
				}
				return nil
			},
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				k := m.Keep.([2]int64)
				attrs := []*ir.Attr{ir.IntAttr("num_heads", k[0]), ir.IntAttr("rotary_embedding_dim", k[1])}
				if m.Attr("interleaved").Int() != 0 {
					attrs = append(attrs, ir.IntAttr("interleaved", 1))
				}
				return []*ir.Value{contrib.Op(b, "RotaryEmbedding", []*ir.Value{m.Value("x"), m.Value("ids"), m.Value("cos"), m.Value("sin")}, attrs...)}
			},
		},
	}
}

// table makes positions, [batch,length] or that of the first vector of each sequence, and the cosines and sines by position.
func table(b *rewrite.Builder, m *rewrite.Match, t *spelled.Turn) []*ir.Value {
	if m.Has("cg") && t.SameBatch && infer.Num(m.Const("cc").Shape()[0]).Sub(t.Length()).NonNeg() {
		cos, sin := t.Columns(b, m.Value("cc")), t.Columns(b, m.Value("sc"))
		return []*ir.Value{positions(b, m), cos, sin}
	}
	cos, sin := t.Angles(b, m)
	rows := func(v *ir.Value) *ir.Value {
		return b.Op("Reshape", []*ir.Value{v, b.Ints("", -1, t.Size/2)})
	}
	if t.OneBatch {
		return []*ir.Value{b.Ints("", 0), rows(cos), rows(sin)}
	}
	var sizes *ir.Value
	if m.Opset("") >= 15 {
		sizes = b.Op("Shape", []*ir.Value{cos}, ir.IntAttr("start", 0), ir.IntAttr("end", 2))
	} else {
		sizes = b.Op("Slice", []*ir.Value{b.Op("Shape", []*ir.Value{cos}), b.Ints("", 0), b.Ints("", 2)})
	}
	count := b.Op("ReduceProd", []*ir.Value{sizes}, ir.IntAttr("keepdims", 0))
	zero, one := b.Const("", scalar(0)), b.Const("", scalar(1))
	places := b.Op("Reshape", []*ir.Value{b.Op("Range", []*ir.Value{zero, count, one}), sizes})
	return []*ir.Value{places, rows(cos), rows(sin)}
}

// positions are what looks rows of the table up, as numbers from 0 on.
func positions(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
	ids := m.Value("ids")
	if m.DType("ids") != ir.Int64 {
		ids = b.Op("Cast", []*ir.Value{ids}, ir.IntAttr("to", int64(ir.Int64)))
	}
	if known, ok := m.IntsOf(m.Value("ids")); ok && len(known) > 0 && allNonNeg(known) {
		return ids
	}
	return b.Op("Mod", []*ir.Value{ids, b.Const("", scalar(m.Const("cc").Shape()[0]))})
}

func allNonNeg(v []infer.Int) bool {
	for _, x := range v {
		if !x.NonNeg() {
			return false
		}
	}
	return true
}

func scalar(v int64) *ir.Tensor { return ir.TensorOf([]int64{v}).Reshape([]int64{}) }
