package noop

import (
	"errors"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// arithmeticRules remove operations with a neutral constant. The constant may have many elements, and it may broadcast as long as
// the result has the shape of the other operand.
func arithmeticRules() []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name:    "mul-one",
			Doc:     "removes a multiplication by one",
			Match:   rewrite.MustParse(`y = Mul (x, k: const)`),
			Where:   neutral(1),
			Replace: toX,
		}, {
			Name:    "div-one",
			Doc:     "removes a division by one",
			Match:   rewrite.MustParse(`y = Div (x, k: const)`),
			Where:   neutral(1),
			Replace: toX,
		}, {
			Name:    "pow-one",
			Doc:     "removes a power of one",
			Match:   rewrite.MustParse(`y = Pow (x, k: const)`),
			Where:   powerOfOne,
			Replace: toX,
		}, {
			Name:    "sub-zero",
			Doc:     "removes the subtraction of zero",
			Match:   rewrite.MustParse(`y = Sub (x, k: const)`),
			Where:   neutral(0),
			Replace: toX,
		}, {
			Name:    "add-nothing",
			Doc:     "removes the addition of an integer zero, or of -0, which changes no float",
			Match:   rewrite.MustParse(`y = Add (x, k: const)`),
			Where:   addsNothing,
			Replace: toX,
		}, {
			Name:    "add-zero",
			Doc:     "removes the addition of zero, which turns -0 into 0",
			Promise: signOfZero,
			Match:   rewrite.MustParse(`y = Add (x, k: const)`),
			Where:   neutral(0),
			Replace: toX,
		}, {
			Name:    "or-false",
			Doc:     "removes a disjunction with false",
			Match:   rewrite.MustParse(`y = {Or, Xor} (x, k: const)`),
			Where:   neutral(0),
			Replace: toX,
		}, {
			Name:    "and-true",
			Doc:     "removes a conjunction with true",
			Match:   rewrite.MustParse(`y = And (x, k: const)`),
			Where:   neutral(1),
			Replace: toX,
		}, {
			Name:    "sum-of-one",
			Doc:     "removes Sum, Max, Min and Mean of one operand",
			Match:   rewrite.MustParse(`y = {Sum, Max, Min, Mean} (x)`),
			Replace: toX,
		},
	}
}

// neutral accepts a constant k filled with that number if the result has the shape of x.
func neutral(k float64) func(*rewrite.Match) error {
	return func(m *rewrite.Match) error {
		if !filled(m, m.Const("k"), k) {
			return errElement
		}
		return keepsShape(m)
	}
}

// powerOfOne refuses large integers, which a power may take through floats.
func powerOfOne(m *rewrite.Match) error {
	if !m.DType("x").IsFloat() {
		return errType
	}
	return neutral(1)(m)
}

func addsNothing(m *rewrite.Match) error {
	t := m.Const("k")
	switch {
	case t.DType().IsInt() && filled(m, t, 0):
	case t.DType().IsFloat() && filled(m, t, math.Copysign(0, -1)):
	default:
		return errElement
	}
	return keepsShape(m)
}

// keepsShape refuses a constant k that makes the result larger than x, and the broadcasting by attribute of opsets before 7.
func keepsShape(m *rewrite.Match) error {
	if m.Opset("") < 7 {
		return errors.New("before opset 7 it broadcasts by attribute")
	}
	k, x := m.Const("k").Shape(), m.Shape("x")
	if ir.NumElements(k) == 1 && (len(k) == 0 || x != nil && len(k) <= len(x)) {
		return nil
	}
	return sameShape(m)
}
