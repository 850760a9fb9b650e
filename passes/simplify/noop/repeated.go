package noop

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
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
			Name: "cast-there-and-back",
			Doc:  "removes a cast to a type that holds every value, and the cast back",
			Match: rewrite.MustParse(`
				y: shared = Cast <to = @wide, ...> (x)
				z = Cast <to = @back, ...> (y)`),
			Where:   castsBack,
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
			Name: "quantize-again",
			Doc:  "removes a dequantization and a quantization with the same numbers",
			Match: rewrite.MustParse(`
				y: shared = DequantizeLinear <...> (x, s: const, zero?)
				z = QuantizeLinear <...> (y, s, zero?)`),
			Where:   quantizesAgain,
			Replace: toX,
		}, {
			Name:    "clip-nothing",
			Doc:     "removes a Clip of integers without bounds",
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

// unbounded refuses floats: a bound that is not stated is the largest finite number of the type, in every opset.
func unbounded(m *rewrite.Match) error {
	if !m.DType("x").IsInt() {
		return errors.New("it makes infinities finite")
	}
	return nil
}

func castsBack(m *rewrite.Match) error {
	from, wide := m.DType("x"), ir.DType(m.Attr("wide").Int())
	switch {
	case from == ir.Undefined || int64(from) != m.Attr("back").Int():
		return errType
	case !holds(wide, from):
		return errors.New("the type between does not hold every value")
	}
	return nil
}

// holds reports whether every value of type d is one of type wide.
func holds(wide, d ir.DType) bool {
	switch {
	case d == ir.Bool:
		return wide.IsInt() && wide.Bits() >= 8 || precision(wide) > 0
	case d.IsInt() && wide.IsInt() && d.Bits() >= 8:
		return wide.IsSigned() == d.IsSigned() && wide.Bits() >= d.Bits() || wide.IsSigned() && wide.Bits() > d.Bits()
	case d.IsInt() && d.Bits() >= 8:
		return precision(wide) >= d.Bits()
	case d == ir.BFloat16:
		return wide == ir.Float32 || wide == ir.Float64 || wide == d
	}
	return precision(d) > 0 && precision(wide) >= precision(d)
}

// precision is the number of bits up to which a floating-point type holds all integers, 0 for types that are not looked at.
func precision(d ir.DType) int {
	switch d {
	case ir.Float16:
		return 11
	case ir.Float32:
		return 24
	case ir.Float64:
		return 53
	}
	return 0
}

// quantizesAgain accepts integers of 8 or 16 bits whose float32 scales are ordinary numbers: (q*s)/s is then closer to q than to any other integer.
func quantizesAgain(m *rewrite.Match) error {
	first, second := m.Node("y"), m.Node("z")
	d, s := m.DType("x"), m.Const("s")
	switch {
	case d != m.DType("z") || d != ir.Int8 && d != ir.Uint8 && d != ir.Int16 && d != ir.Uint16:
		return fmt.Errorf("it turns %s into %s", d, m.DType("z"))
	case s.DType() != ir.Float32 || s.Len() < 1 || s.ByteLen() > maxRead:
		return fmt.Errorf("the scale is a %s", s.Type())
	case s.Len() > 1 && (ops.Int(first, "axis") != ops.Int(second, "axis") || ops.Int(first, "block_size") != ops.Int(second, "block_size")):
		return errors.New("the axes differ")
	case second.Int("precision", 0) != 0 || first.Int("output_dtype", 0) != 0 && ir.DType(first.Int("output_dtype", 0)) != ir.Float32:
		return errors.New("it computes in another type")
	}
	v, err := ir.Elements[float32](s)
	m.Fail(err)
	for _, x := range v {
		if !(x > 1e-30 && x < 1e30) {
			return fmt.Errorf("a scale is %v", x)
		}
	}
	return err
}
