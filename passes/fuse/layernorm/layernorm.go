// Package layernorm finds LayerNormalization and RMSNormalization in the arithmetic that spells them out.
package layernorm

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass replaces chains that spell out layer normalization by LayerNormalization, which needs opset 17, or RMSNormalization, which needs opset 23.
var Pass = rewrite.Define(passes.Info{
	Name: "layer-norm",
	Doc:  "finds LayerNormalization and RMSNormalization in the arithmetic that spells them out",
	Long: `Only float is looked at. ONNX Runtime does the same to a model when it loads it; other runtimes do not.`,
}, scale, plain, batch, rms, plainRMS, bias)

// What spells layer normalization out is in package spelled:
//
//	x ─┬─ ReduceMean ── Sub ─┬─ Pow 2 ── ReduceMean ── Add ── Sqrt ── Div ── Mul ── Add ──
//	   └────────────────┘    └────────────────────────────────────────┘
//
// becomes
//
//	x ── LayerNormalization ── Add ──
//
// and the next rule takes the Add.
var scale = &rewrite.Rule{
	Name:    "layer-norm",
	Doc:     "turns the arithmetic of layer normalization up to its scale into LayerNormalization",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParseFor("ReduceMean, Sqrt", spelled.LayerNorm),
	Where:   where("LayerNormalization", 17, spelled.ReadNorm),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{norm(b, m, "LayerNormalization", m.Value("x"), m.Value("gamma"))}
	},
}

// The same without Mul gets a scale of ones, which the operator has to have.
var plain = &rewrite.Rule{
	Name:    "layer-norm-plain",
	Doc:     "turns the arithmetic of layer normalization without a scale into LayerNormalization with one of ones",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParseFor("ReduceMean, Sqrt", spelled.PlainLayerNorm),
	Where:   where("LayerNormalization", 17, spelled.ReadPlainNorm),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{norm(b, m, "LayerNormalization", m.Value("x"), ones(b, m))}
	},
}

// Keras writes the formula of batch normalization, drawn in package spelled, where the bias is part of it:
//
//	x ── ... ── Mul ── Add ──   becomes   x ── LayerNormalization ──
var batch = &rewrite.Rule{
	Name:    "layer-norm-batch",
	Doc:     "turns layer normalization by the formula of batch normalization into LayerNormalization",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParseFor("ReduceMean, Sqrt", spelled.LayerNormBatch),
	Where: func(m *rewrite.Match) error {
		if gamma, beta := m.Shape("gamma"), m.Shape("beta"); !gamma.Equal(beta) || m.DType("beta") != ir.Float32 {
			return fmt.Errorf("what is added is a %s, not surely like the scale, a %s", m.Type("beta"), m.Type("gamma"))
		}
		return where("LayerNormalization", 17, spelled.ReadNorm)(m)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{norm(b, m, "LayerNormalization", m.Value("x"), m.Value("gamma"), m.Value("beta"))}
	},
}

// What spells normalization by the root of the mean square out is in package spelled:
//
//	x ─┬─ Pow 2 ── ReduceMean ── Add ── Sqrt ── Reciprocal ── Mul ── Mul ──   becomes   x ── RMSNormalization ──
//	   └──────────────────────────────────────────────────────┘
var rms = &rewrite.Rule{
	Name:    "rms-norm",
	Doc:     "turns the division by the root of the mean square, and the scale, into RMSNormalization",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParseFor("ReduceMean, Sqrt", spelled.RMSNorm),
	Where:   where("RMSNormalization", 23, spelled.ReadNorm),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{norm(b, m, "RMSNormalization", m.Value("x"), m.Value("gamma"))}
	},
}

// The same without the last Mul.
var plainRMS = &rewrite.Rule{
	Name:    "rms-norm-plain",
	Doc:     "turns the division by the root of the mean square, without a scale, into RMSNormalization with one of ones",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParseFor("ReduceMean, Sqrt", spelled.PlainRMSNorm),
	Where:   where("RMSNormalization", 23, spelled.ReadPlainNorm),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{norm(b, m, "RMSNormalization", m.Value("x"), ones(b, m))}
	},
}

// where reads the match as a normalization, if there is that operator, which came with that opset.
func where(op string, since int, read func(*rewrite.Match) (*spelled.Norm, error)) func(m *rewrite.Match) error {
	return func(m *rewrite.Match) error {
		if !m.Supports(op) {
			return fmt.Errorf("there is no %s before opset %d", op, since)
		}
		f, err := read(m)
		m.Keep = f
		return err
	}
}

func ones(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
	return b.Const("ones", m.Keep.(*spelled.Norm).Ones())
}

func norm(b *rewrite.Builder, m *rewrite.Match, op string, in ...*ir.Value) *ir.Value {
	f := m.Keep.(*spelled.Norm)
	return b.Op(op, in, ir.IntAttr("axis", f.Axis), ir.FloatAttr("epsilon", f.Epsilon))
}

// bias makes the beta of the normalization an operand:
//
//	x ── LayerNormalization ── Add ──   becomes   x ── LayerNormalization ──
var bias = &rewrite.Rule{
	Name:    "layer-norm-bias",
	Doc:     "makes what is added to a LayerNormalization without bias its bias",
	Promise: passes.Promise{RelTol: 1e-5},
	Match: rewrite.MustParse(`
		y = LayerNormalization <axis = @axis, epsilon = @epsilon> (x, gamma)
		z = Add (y, beta)`),
	Where: func(m *rewrite.Match) error {
		gamma, beta := m.Shape("gamma"), m.Shape("beta")
		if _, static := gamma.Ints(); !static || !gamma.Equal(beta) || m.DType("beta") != m.DType("gamma") {
			return fmt.Errorf("what is added is a %s, not surely like the scale, a %s", m.Type("beta"), m.Type("gamma"))
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Like(m.Node("y"), []*ir.Value{m.Value("x"), m.Value("gamma"), m.Value("beta")})}
	},
}
