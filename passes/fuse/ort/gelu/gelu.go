// Package gelu finds Gelu and its relatives among ONNX Runtime's operators.
package gelu

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes Gelu, BiasGelu, FastGelu and QuickGelu of com.microsoft.
var Pass = rewrite.Define(passes.Info{
	Name: "ort-gelu",
	Doc:  "finds Gelu, BiasGelu, FastGelu and QuickGelu of ONNX Runtime in the arithmetic that spells them out",
	Long: `ONNX Runtime's level 2 writes the same operators. They need no opset, unlike Gelu of the standard, which the pass "activations" writes from
opset 20 on. Only float is looked at.`,
}, erf, tanh, bias, fastBias, quick, swish)

// What spells Gelu out is in package spelled:
//
//	x ─┬─ Div √2 ── Erf ── Add 1 ── Mul ── Mul 0.5 ──   becomes   x ── Gelu ──
//	   └────────────────────────────┘
var erf = &rewrite.Rule{
	Name:    "gelu-erf",
	Doc:     "turns the product of a value and its distribution function, by Erf, into Gelu",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParseFor("Erf", spelled.Gelu),
	Where:   spelled.GeluConstants,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "Gelu", []*ir.Value{m.Value("x")})}
	},
}

// The approximation by the hyperbolic tangent becomes FastGelu.
var tanh = &rewrite.Rule{
	Name:    "fast-gelu",
	Doc:     "turns the approximation of Gelu by Tanh into FastGelu",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParseFor("Tanh", spelled.GeluTanh),
	Where:   spelled.GeluTanhConstants,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "FastGelu", []*ir.Value{m.Value("x")})}
	},
}

// The bias of the layer before it:
//
//	x ── Add ── Gelu ──   becomes   x ── BiasGelu ──
var bias = &rewrite.Rule{
	Name:    "bias-gelu",
	Doc:     "makes a vector that is added before Gelu part of it",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		a = Add (x, b)
		z = com.microsoft.Gelu (a)`, `
		a = Add (x, b)
		z = Gelu <approximate = "none"> (a)`),
	Where: vector,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "BiasGelu", []*ir.Value{m.Value("x"), m.Value("b")})}
	},
}

// The same for the approximation:
//
//	x ── Add ── FastGelu ──   becomes   x ── FastGelu ──
var fastBias = &rewrite.Rule{
	Name:    "fast-gelu-bias",
	Doc:     "makes a vector that is added before the approximation of Gelu part of it",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		a = Add (x, b)
		z = com.microsoft.FastGelu (a)`, `
		a = Add (x, b)
		z = Gelu <approximate = "tanh"> (a)`),
	Where: vector,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "FastGelu", []*ir.Value{m.Value("x"), m.Value("b")})}
	},
}

// vector says why b is not a vector as long as x's last axis.
func vector(m *rewrite.Match) error {
	x, b := m.Shape("x"), m.Shape("b")
	if len(x) == 0 || len(b) != 1 || !b[0].Same(x[len(x)-1]) {
		return fmt.Errorf("what is added is a %s, not surely as long as the last axis of %s", m.Type("b"), m.Type("x"))
	}
	return contrib.Float(m, "x")
}

// Swish, or SiLU, is x * sigmoid(x) (Ramachandran et al. 2017, "Searching for Activation Functions"); with a factor of 1.702 it approximates
// Gelu, as CLIP has it. torch.onnx, PaddlePaddle and Keras write
//
//	x ─┬─ Mul 1.702 ── Sigmoid ── Mul ──   becomes   x ── QuickGelu ──
//	   └──────────────────────────┘
var quick = &rewrite.Rule{
	Name:    "quick-gelu",
	Doc:     "turns the product of a value and Sigmoid of a multiple of it into QuickGelu",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParseFor("Sigmoid, Mul", spelled.Swish),
	Where: func(m *rewrite.Match) error {
		alpha, err := spelled.SwishFactor(m)
		m.Keep = alpha
		return err
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "QuickGelu", []*ir.Value{m.Value("x")}, ir.FloatAttr("alpha", m.Keep.(float32)))}
	},
}

// Swish of opset 24, which ONNX Runtime takes apart on loading, becomes QuickGelu.
var swish = &rewrite.Rule{
	Name:    "swish",
	Doc:     "turns Swish into QuickGelu",
	Promise: contrib.Tolerance,
	Match:   rewrite.MustParse(`z = Swish <alpha = @alpha> (x)`),
	Where:   func(m *rewrite.Match) error { return contrib.Float(m, "x") },
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{contrib.Op(b, "QuickGelu", []*ir.Value{m.Value("x")}, ir.FloatAttr("alpha", m.Attr("alpha").Float()))}
	},
}
