package opset

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// The bodies follow the functions that the standard gives with these operators.

func hardSwishDown(s *site) {
	s.tolerant()
	x := s.in(0)
	h := s.opa("HardSigmoid", attrs(ir.FloatAttr("alpha", 1.0/6), ir.FloatAttr("beta", 0.5)), x)
	s.replace(s.op("Mul", x, h))
}

func mishDown(s *site) {
	s.tolerant()
	x := s.in(0)
	s.replace(s.op("Mul", x, s.op("Tanh", s.op("Softplus", x))))
}

func celuDown(s *site) {
	s.tolerant()
	x, alpha := s.in(0), s.like(s.in(0), float64(s.float32("alpha")))
	s.replace(s.op("Mul", alpha, s.opa("Elu", attrs(ir.FloatAttr("alpha", 1)), s.op("Div", x, alpha))))
}

func geluDown(s *site) {
	s.tolerant()
	x := s.in(0)
	half, one := s.like(x, 0.5), s.like(x, 1)
	var t *ir.Value
	if s.str("approximate") == "tanh" {
		cube := s.op("Mul", s.like(x, 0.044715), s.op("Mul", x, s.op("Mul", x, x)))
		t = s.op("Tanh", s.op("Mul", s.like(x, math.Sqrt(2/math.Pi)), s.op("Add", x, cube)))
	} else {
		t = s.op("Erf", s.op("Mul", s.like(x, math.Sqrt2/2), x))
	}
	s.replace(s.op("Mul", s.op("Mul", half, x), s.op("Add", one, t)))
}

// swish is x * sigmoid(alpha * x).
func (s *site) swish(x *ir.Value, alpha float32) *ir.Value {
	z := x
	if alpha != 1 {
		z = s.op("Mul", s.like(x, float64(alpha)), x)
	}
	return s.op("Mul", x, s.op("Sigmoid", z))
}

func swishDown(s *site) {
	s.tolerant()
	s.replace(s.swish(s.in(0), s.float32("alpha")))
}

func swiGLUDown(s *site) {
	s.tolerant()
	s.replace(s.op("Mul", s.opa("Swish", attrs(ir.FloatAttr("alpha", s.float32("alpha"))), s.in(0)), s.in(1)))
}

func orEqualDown(s *site) {
	a, b := s.in(0), s.in(1)
	typ := "Greater"
	if s.n.Op().Type == "LessOrEqual" {
		typ = "Less"
	}
	s.replace(s.op("Or", s.op(typ, a, b), s.op("Equal", a, b)))
}
