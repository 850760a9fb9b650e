package kernel

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

func maxOp(c *Call) ([]ir.Datum, error) { return variadic(c, kindMax, false) }
func minOp(c *Call) ([]ir.Datum, error) { return variadic(c, kindMin, false) }
func sumOp(c *Call) ([]ir.Datum, error) { return variadic(c, kindAdd, false) }

// meanOp is the sum divided by the number of operands.
func meanOp(c *Call) ([]ir.Datum, error) { return variadic(c, kindAdd, true) }

// variadic folds the operands from the left with a function, in the compute type: narrow floats are rounded once, at the end.
// Max and Min give NaN where an element is NaN, and order -0 below +0.
func variadic(c *Call, k binaryKind, mean bool) ([]ir.Datum, error) {
	if len(c.In) == 0 {
		return nil, errors.New("no operands")
	}
	in := make([]*ir.Tensor, len(c.In))
	shapes := make([][]int64, len(c.In))
	for i := range in {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		if i > 0 && t.DType() != in[0].DType() {
			return nil, c.badOperand(i, t)
		}
		in[i], shapes[i] = t, t.Shape()
	}
	shape, err := broadcast(shapes...)
	if err != nil {
		return nil, err
	}
	d := in[0].DType()
	if d == ir.Bool {
		return nil, c.badType(d)
	}
	switch computeType(d) {
	case ir.Float32:
		return variadicAs[float32](c, in, shape, k, mean)
	case ir.Float64:
		return variadicAs[float64](c, in, shape, k, mean)
	case ir.Int8:
		return variadicAs[int8](c, in, shape, k, mean)
	case ir.Int16:
		return variadicAs[int16](c, in, shape, k, mean)
	case ir.Int32:
		return variadicAs[int32](c, in, shape, k, mean)
	case ir.Int64:
		return variadicAs[int64](c, in, shape, k, mean)
	case ir.Uint8:
		return variadicAs[uint8](c, in, shape, k, mean)
	case ir.Uint16:
		return variadicAs[uint16](c, in, shape, k, mean)
	case ir.Uint32:
		return variadicAs[uint32](c, in, shape, k, mean)
	case ir.Uint64:
		return variadicAs[uint64](c, in, shape, k, mean)
	}
	return nil, c.badType(d)
}

func variadicAs[T ordered](c *Call, in []*ir.Tensor, shape []int64, k binaryKind, mean bool) ([]ir.Datum, error) {
	var fail error
	d := in[0].DType()
	f := binaryFunc[T](k, d, &fail)
	acc, err := load[T](in[0])
	if err != nil {
		return nil, err
	}
	if len(in) == 1 {
		return one(in[0], nil)
	}
	have := in[0].Shape()
	for _, t := range in[1:] {
		v, err := load[T](t)
		if err != nil {
			return nil, err
		}
		to, err := broadcast(have, t.Shape())
		if err != nil {
			return nil, err
		}
		if acc, err = zip(c, acc, v, have, t.Shape(), to, f); err != nil {
			return nil, err
		}
		have = to
	}
	if mean {
		for i := range acc {
			acc[i] /= T(len(in))
		}
	}
	return one(pack(d, shape, acc), fail)
}

// powOp raises the first operand to the second; the result has the type of the first. Powers of integers by integers are
// exact modulo 2**bits; a negative exponent gives the truncated quotient, and of zero it is an error. All others are computed
// in float64.
func powOp(c *Call) ([]ir.Datum, error) {
	a, b, shape, err := operands2(c)
	if err != nil {
		return nil, err
	}
	if d := a.DType(); d == ir.Bool || b.DType() == ir.Bool {
		return nil, c.badType(ir.Bool)
	}
	if a.DType().IsInt() && b.DType().IsInt() {
		return powInts(c, a, b, shape)
	}
	x, err := floats(a)
	if err != nil {
		return nil, err
	}
	y, err := floats(b)
	if err != nil {
		return nil, err
	}
	r, err := zip(c, x, y, a.Shape(), b.Shape(), shape, fmath.Pow)
	if err != nil {
		return nil, err
	}
	return one(convertFloats(c, a.DType(), shape, r))
}

func powInts(c *Call, a, b *ir.Tensor, shape []int64) ([]ir.Datum, error) {
	x, err := ints(a)
	if err != nil {
		return nil, err
	}
	y, err := ints(b)
	if err != nil {
		return nil, err
	}
	var fail error
	r, err := zip(c, x, y, a.Shape(), b.Shape(), shape, func(base, e int64) int64 {
		if e < 0 && b.DType().IsSigned() {
			switch {
			case base == 0:
				fail = fmt.Errorf("zero to the power of %d", e)
			case base == 1, base == -1 && e%2 == 0 && a.DType().IsSigned():
				return 1
			case base == -1 && a.DType().IsSigned():
				return -1
			}
			return 0
		}
		p := int64(1)
		for u := uint64(e); u > 0; u >>= 1 {
			if u&1 != 0 {
				p *= base
			}
			base *= base
		}
		return p
	})
	if err == nil {
		err = fail
	}
	if err != nil {
		return nil, err
	}
	return one(convertInts(c, a.DType(), shape, r))
}
