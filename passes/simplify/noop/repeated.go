package noop

import (
	"errors"

	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// repeatedRules remove operators that repeat or undo what the operator before them did.
func repeatedRules() []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name: "again",
			Doc:  "removes the second of two equal operators where once is enough",
			Match: rewrite.MustParse(`
				x: shared = {Relu, Abs, Floor, Ceil, Round, Sign} (v)
				y = {Relu, Abs, Floor, Ceil, Round, Sign} (x)`),
			Where:   sameOperator,
			Replace: toX,
		}, {
			Name: "clip-again",
			Doc:  "removes the second of two Clip with equal bounds",
			Match: rewrite.MustParse(`
				x: shared = Clip <min = @low, max = @high> (v, min?, max?)
				y = Clip <min = @low, max = @high> (x, min?, max?)`),
			Replace: toX,
		}, {
			Name: "twice",
			Doc:  "removes an operator that undoes itself, done twice",
			Match: rewrite.MustParse(`
				y: shared = {Neg, Not, BitwiseNot} (x)
				z = {Neg, Not, BitwiseNot} (y)`),
			Where: func(m *rewrite.Match) error {
				if m.Node("y").Op() != m.Node("z").Op() {
					return errOperator
				}
				return nil
			},
			Replace: toX,
		}, {
			Name:    "clip-nothing",
			Doc:     "removes a Clip without bounds",
			Match:   rewrite.MustParse(`y = Clip (x)`),
			Where:   unbounded,
			Replace: toX,
		},
	}
}

var errOperator = errors.New("the operators differ")

func sameOperator(m *rewrite.Match) error {
	if m.Node("x").Op() != m.Node("y").Op() {
		return errOperator
	}
	return nil
}

// unbounded refuses opsets before 11, where bounds that are not stated are the largest finite floats.
func unbounded(m *rewrite.Match) error {
	if m.Opset("") < 11 {
		return errors.New("before opset 11 it makes infinities finite")
	}
	return nil
}
