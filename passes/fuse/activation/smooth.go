package activation

import (
	"errors"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Gelu is x * (1 + erf(x/√2)) / 2 (Hendrycks and Gimpel 2016). torch.onnx, tf2onnx and PaddlePaddle write
//
//	x ─┬─ Div √2 ── Erf ── Add 1 ── Mul ── Mul 0.5 ──   becomes   x ── Gelu ──
//	   └────────────────────────────┘
//
// or multiply by 1/√2 instead of dividing, and by 0.5 at another place.
var gelu = &rewrite.Rule{
	Name:    "gelu",
	Doc:     "turns the product of a value and its distribution function, by Erf, into Gelu",
	Promise: tolerance,
	Match:   rewrite.MustParse(halved(`d = {Div, Mul} (x, s: scalar)` + "\n" + `e = Erf (d)`)...),
	Where: func(m *rewrite.Match) error {
		want := map[string]float64{"s": math.Sqrt2, "one": 1, "half": 0.5}
		if m.Node("d").Is("Mul") {
			want["s"] = 1 / math.Sqrt2
		}
		return geluWhere(m, want, "s", "one", "half")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Gelu", []*ir.Value{m.Value("x")})}
	},
}

// The approximation with the hyperbolic tangent, x * (1 + tanh(√(2/π) * (x + 0.044715*x³))) / 2, as GPT-2 and BERT of Google have it:
//
//	x ─┬─┬─ Pow 3 ── Mul 0.044715 ── Add ── Mul 0.7978846 ── Tanh ── Add 1 ── Mul ── Mul 0.5 ──   becomes   x ── Gelu ──
//	   │ └───────────────────────────┘                                        │
//	   └──────────────────────────────────────────────────────────────────────┘
var geluTanh = &rewrite.Rule{
	Name:    "gelu-tanh",
	Doc:     "turns the approximation of Gelu by Tanh into Gelu",
	Promise: tolerance,
	Match: rewrite.MustParse(append(
		halved("p = Pow (x, three: scalar)\nq = Mul (p, k: scalar)\nr = Add (x, q)\nd = Mul (r, s: scalar)\ne = Tanh (d)"),
		halved("x2 = Mul (x, x)\np = Mul (x2, x)\nq = Mul (p, k: scalar)\nr = Add (x, q)\nd = Mul (r, s: scalar)\ne = Tanh (d)")...)...),
	Where: func(m *rewrite.Match) error {
		want := map[string]float64{"three": 3, "k": 0.044715, "s": math.Sqrt(2 / math.Pi), "one": 1, "half": 0.5}
		return geluWhere(m, want, "three", "k", "s", "one", "half")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Gelu", []*ir.Value{m.Value("x")}, ir.StringAttr("approximate", "tanh"))}
	},
}

// halved are the orders in which exporters multiply x, 1+e and a half.
func halved(e string) []string {
	return []string{
		e + "\na = Add (e, one: scalar)\ny = Mul (x, a)\nz = Mul (y, half: scalar)",
		e + "\na = Add (e, one: scalar)\ny = Mul (x, half: scalar)\nz = Mul (y, a)",
		e + "\na = Add (e, one: scalar)\ny = Mul (a, half: scalar)\nz = Mul (x, y)",
	}
}

func geluWhere(m *rewrite.Match, want map[string]float64, names ...string) error {
	if !m.Supports("Gelu") {
		return errors.New("there is no Gelu before opset 20")
	}
	return constants(m, want, names...)
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
		return plain(m)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Mish", []*ir.Value{m.Value("x")})}
	},
}
