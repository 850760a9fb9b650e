package spelled

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Gelu is x * (1 + erf(x/√2)) / 2 (Hendrycks and Gimpel 2016). torch.onnx, tf2onnx and PaddlePaddle write
//
//	x ─┬─ Div √2 ── Erf ── Add 1 ── Mul ── Mul 0.5 ──
//	   └────────────────────────────┘
//
// or multiply by 1/√2 instead of dividing, and by 0.5 at another place. The operand is x and the root z.
func Gelu() []string { return halved("d = {Div, Mul} (x, s: scalar)\ne = Erf (d)") }

// GeluConstants says why the constants of a match of Gelu are not those of Gelu.
func GeluConstants(m *rewrite.Match) error {
	want := map[string]float64{"s": math.Sqrt2, "one": 1, "half": 0.5}
	if m.Node("d").Is("Mul") {
		want["s"] = 1 / math.Sqrt2
	}
	return Constants(m, want, "s", "one", "half")
}

// GeluTanh is the approximation with the hyperbolic tangent, x * (1 + tanh(√(2/π) * (x + 0.044715*x³))) / 2, as GPT-2 and BERT of Google
// have it:
//
//	x ─┬─┬─ Pow 3 ── Mul 0.044715 ── Add ── Mul 0.7978846 ── Tanh ── Add 1 ── Mul ── Mul 0.5 ──
//	   │ └───────────────────────────┘                                        │
//	   └──────────────────────────────────────────────────────────────────────┘
//
// with x·x·x for the power, and, as "gelu_fast" of Hugging Face, with √(2/π)·x·(1 + 0.044715·x·x) for the argument.
func GeluTanh() []string {
	var r []string
	for _, argument := range []string{
		"p = Pow (x, three: scalar)\nq = Mul (p, k: scalar)\nr = Add (x, q)\nd = Mul (r, s: scalar)",
		"x2 = Mul (x, x)\np = Mul (x2, x)\nq = Mul (p, k: scalar)\nr = Add (x, q)\nd = Mul (r, s: scalar)",
		"x2 = Mul (x, x)\nq = Mul (x2, k: scalar)\np = Mul (x, q)\nr = Add (x, p)\nd = Mul (r, s: scalar)",
		"p = Mul (x, k: scalar)\nq = Mul (p, x)\nr = Add (q, unit: scalar)\nt = Mul (x, s: scalar)\nd = Mul (t, r)",
		"p = Mul (x, x)\nq = Mul (p, k: scalar)\nr = Add (q, unit: scalar)\nt = Mul (x, s: scalar)\nd = Mul (t, r)",
	} {
		r = append(r, halved(argument+"\ne = Tanh (d)")...)
	}
	return r
}

// GeluTanhConstants says why the constants of a match of GeluTanh are not those of the approximation.
func GeluTanhConstants(m *rewrite.Match) error {
	want := map[string]float64{"three": 3, "k": 0.044715, "s": math.Sqrt(2 / math.Pi), "one": 1, "half": 0.5, "unit": 1}
	return Constants(m, want, "three", "k", "s", "one", "half", "unit")
}

// halved are the orders in which exporters multiply x, 1+e and a half.
func halved(e string) []string {
	return []string{
		e + "\na = Add (e, one: scalar)\ny = Mul (x, a)\nz = Mul (y, half: scalar)",
		e + "\na = Add (e, one: scalar)\ny = Mul (x, half: scalar)\nz = Mul (y, a)",
		e + "\na = Add (e, one: scalar)\ny = Mul (a, half: scalar)\nz = Mul (x, y)",
	}
}

// Swish is x * sigmoid(alpha*x), where a factor of 1 is left out. The operand is x and the root z.
func Swish() []string {
	return []string{
		"a = Mul (x, alpha: scalar)\ns = Sigmoid (a)\nz = Mul (x, s)",
		"s = Sigmoid (x)\nz = Mul (x, s)",
	}
}

// SwishFactor is the factor of a match of Swish, or why there is none that is usable.
func SwishFactor(m *rewrite.Match) (float32, error) {
	f := float32(1)
	if m.Has("alpha") {
		f = float32(Scalar(m, "alpha"))
	}
	if !(f > 0 && f < 100) {
		return 0, fmt.Errorf("the factor is %v", f)
	}
	return f, Elementwise(m, "alpha")
}
