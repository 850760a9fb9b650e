package activation

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Clip states its bounds by attributes before opset 11, by operands from then on.
const (
	clipByAttributes = `
		a = Add (x, b: scalar)
		c = Clip <min = @low, max = @high> (a)`
	clipByOperands = `
		a = Add (x, b: scalar)
		c = Clip (a, low: scalar, high: scalar)`
)

// PaddlePaddle, MobileNetV3 of Keras and older exports of torch.nn.Hardsigmoid write relu6(x + 3) / 6:
//
//	x ── Add 3 ── Clip 0 6 ── Div 6 ──   becomes   x ── HardSigmoid ──
//
// HardSigmoid is max(0, min(1, alpha*x + beta)); with a clip to [0, h], alpha is 1/h and beta b/h.
var hardSigmoid = &rewrite.Rule{
	Name:    "hard-sigmoid",
	Doc:     "turns Add, Clip from 0 to h, and division by h into HardSigmoid",
	Promise: tolerance,
	Match: rewrite.MustParse(
		clipByAttributes+`
		z = {Div, Mul} (c, d: scalar)`,
		clipByOperands+`
		z = {Div, Mul} (c, d: scalar)`),
	Where: hard,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{sigmoid(b, m)}
	},
}

// The same exporters write x * relu6(x + 3) / 6 (Howard et al. 2019, "Searching for MobileNetV3"):
//
//	x ─┬─ Add 3 ── Clip 0 6 ── Mul ── Div 6 ──   becomes   x ── HardSwish ──   or   x ─┬─ HardSigmoid ── Mul ──
//	   └───────────────────────┘                                                    └─────────────────┘
//
// the latter before opset 14, or where the numbers are not 3 and 6.
var hardSwish = &rewrite.Rule{
	Name:    "hard-swish",
	Doc:     "turns a product with Add and Clip, divided by the bound, into HardSwish, or HardSigmoid and Mul",
	Promise: tolerance,
	Match: rewrite.MustParse(
		clipByAttributes+`
		y = Mul (x, c)
		z = {Div, Mul} (y, d: scalar)`,
		clipByOperands+`
		y = Mul (x, c)
		z = {Div, Mul} (y, d: scalar)`),
	Where: hard,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		x := m.Value("x")
		p := m.Keep.(*clipped)
		if m.Supports("HardSwish") && p.shift == 3 && p.high == 6 {
			return []*ir.Value{b.Op("HardSwish", []*ir.Value{x})}
		}
		return []*ir.Value{b.Op("Mul", []*ir.Value{x, sigmoid(b, m)})}
	},
}

// torch.onnx writes torch.nn.Hardswish below opset 14 as the following, and models keep it when their opset is raised:
//
//	x ─┬─ HardSigmoid ── Mul ──   becomes   x ── HardSwish ──
//	   └─────────────────┘
var hardSwishOfSigmoid = &rewrite.Rule{
	Name:    "hard-swish-of-sigmoid",
	Doc:     "turns the product of a value and its HardSigmoid into HardSwish",
	Promise: tolerance,
	Match: rewrite.MustParse(`
		h = HardSigmoid <alpha = @alpha, beta = @beta> (x)
		z = Mul (x, h)`),
	Where: func(m *rewrite.Match) error {
		alpha, beta := float64(m.Attr("alpha").Float()), float64(m.Attr("beta").Float())
		switch {
		case !m.Supports("HardSwish"):
			return errors.New("there is no HardSwish before opset 14")
		case math.Abs(alpha*6-1) > 1e-6 || beta != 0.5:
			return fmt.Errorf("alpha is %v and beta %v, not 1/6 and 0.5", alpha, beta)
		}
		return spelled.Elementwise(m)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("HardSwish", []*ir.Value{m.Value("x")})}
	},
}

// clipped is max(0, min(high, x + shift)).
type clipped struct{ shift, high float64 }

// hard reads the numbers of a match and leaves them in Keep.
func hard(m *rewrite.Match) error {
	p := &clipped{shift: spelled.Scalar(m, "b")}
	low, d := 0.0, spelled.Scalar(m, "d")
	if m.Has("low") {
		low, p.high = spelled.Scalar(m, "low"), spelled.Scalar(m, "high")
	} else {
		if m.Opset("") >= 11 || m.Attr("low") == nil || m.Attr("high") == nil {
			return errors.New("Clip states no bounds")
		}
		low, p.high = float64(m.Attr("low").Float()), float64(m.Attr("high").Float())
	}
	if m.Root().Is("Mul") {
		d = 1 / d
	}
	switch {
	case low != 0 || !(p.high > 0) || math.IsInf(p.high, 0):
		return fmt.Errorf("it clips to [%v, %v]", low, p.high)
	case !(math.Abs(d/p.high-1) <= 1e-6):
		return fmt.Errorf("it divides by %v what it clips to %v", d, p.high)
	case math.IsInf(p.shift, 0) || math.IsNaN(p.shift):
		return fmt.Errorf("it adds %v", p.shift)
	}
	m.Keep = p
	return spelled.Elementwise(m, "b", "d")
}

// sigmoid builds the HardSigmoid of a match.
func sigmoid(b *rewrite.Builder, m *rewrite.Match) *ir.Value {
	p := m.Keep.(*clipped)
	return b.Op("HardSigmoid", []*ir.Value{m.Value("x")},
		ir.FloatAttr("alpha", float32(1/p.high)), ir.FloatAttr("beta", float32(p.shift/p.high)))
}
