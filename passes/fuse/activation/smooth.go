package activation

import (
	"errors"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// What spells Gelu out is in package spelled:
//
//	x ─┬─ Div √2 ── Erf ── Add 1 ── Mul ── Mul 0.5 ──   becomes   x ── Gelu ──
//	   └────────────────────────────┘
var gelu = &rewrite.Rule{
	Name:    "gelu",
	Doc:     "turns the product of a value and its distribution function, by Erf, into Gelu",
	Promise: tolerance,
	Match:   rewrite.MustParseFor("Erf", spelled.Gelu),
	Where:   func(m *rewrite.Match) error { return geluWhere(m, spelled.GeluConstants) },
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Gelu", []*ir.Value{m.Value("x")})}
	},
}

// The approximation by the hyperbolic tangent becomes Gelu of that approximation.
var geluTanh = &rewrite.Rule{
	Name:    "gelu-tanh",
	Doc:     "turns the approximation of Gelu by Tanh into Gelu",
	Promise: tolerance,
	Match:   rewrite.MustParseFor("Tanh", spelled.GeluTanh),
	Where:   func(m *rewrite.Match) error { return geluWhere(m, spelled.GeluTanhConstants) },
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Gelu", []*ir.Value{m.Value("x")}, ir.StringAttr("approximate", "tanh"))}
	},
}

func geluWhere(m *rewrite.Match, constants func(*rewrite.Match) error) error {
	if !m.Supports("Gelu") {
		return errors.New("there is no Gelu before opset 20")
	}
	return constants(m)
}

// Mish is x * tanh(softplus(x)) (Misra 2019). torch.onnx writes below opset 18, and darknet converters do at any,
//
//	x ─┬─ Softplus ── Tanh ── Mul ──   becomes   x ── Mish ──
//	   └──────────────────────┘
var mish = &rewrite.Rule{
	Name:    "mish",
	Doc:     "turns the product of a value and Tanh of its Softplus into Mish",
	Promise: tolerance,
	Match: rewrite.MustParse(`
		s = Softplus (x)
		t = Tanh (s)
		z = Mul (x, t)`),
	Where: func(m *rewrite.Match) error {
		if !m.Supports("Mish") {
			return errors.New("there is no Mish before opset 18")
		}
		return spelled.Elementwise(m)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Mish", []*ir.Value{m.Value("x")})}
	},
}
