package kernel

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// bitKind names a function on the bits of integers.
type bitKind uint8

const (
	bitAnd bitKind = iota
	bitOr
	bitXor
	bitLeft
	bitRight
)

func bitwiseAndOp(c *Call) ([]ir.Datum, error) { return bitwise(c, bitAnd) }
func bitwiseOrOp(c *Call) ([]ir.Datum, error)  { return bitwise(c, bitOr) }
func bitwiseXorOp(c *Call) ([]ir.Datum, error) { return bitwise(c, bitXor) }

func bitShiftOp(c *Call) ([]ir.Datum, error) {
	switch d := c.str("direction", ""); d {
	case "LEFT":
		return bitwise(c, bitLeft)
	case "RIGHT":
		return bitwise(c, bitRight)
	default:
		return nil, fmt.Errorf("direction %q is neither LEFT nor RIGHT", d)
	}
}

func bitwise(c *Call, k bitKind) ([]ir.Datum, error) {
	a, b, shape, err := operands2(c)
	if err != nil {
		return nil, err
	}
	d := a.DType()
	if d != b.DType() || !d.IsInt() {
		return nil, fmt.Errorf("%s takes integers of one type, not %s and %s", c.Op, d, b.DType())
	}
	switch computeType(d) {
	case ir.Int8:
		return bits[int8](c, a, b, shape, k)
	case ir.Int16:
		return bits[int16](c, a, b, shape, k)
	case ir.Int32:
		return bits[int32](c, a, b, shape, k)
	case ir.Int64:
		return bits[int64](c, a, b, shape, k)
	case ir.Uint8:
		return bits[uint8](c, a, b, shape, k)
	case ir.Uint16:
		return bits[uint16](c, a, b, shape, k)
	case ir.Uint32:
		return bits[uint32](c, a, b, shape, k)
	}
	return bits[uint64](c, a, b, shape, k)
}

func bits[T integer](c *Call, a, b *ir.Tensor, shape []int64, k bitKind) ([]ir.Datum, error) {
	x, err := load[T](a)
	if err != nil {
		return nil, err
	}
	y, err := load[T](b)
	if err != nil {
		return nil, err
	}
	f := func(x, y T) T {
		switch {
		case k == bitAnd:
			return x & y
		case k == bitOr:
			return x | y
		case k == bitXor:
			return x ^ y
		case k == bitLeft:
			return x << shiftCount(y)
		}
		return x >> shiftCount(y)
	}
	r, err := zip(c, x, y, a.Shape(), b.Shape(), shape, f)
	return one(pack(a.DType(), shape, r), err)
}

// shiftCount is the number of bits to shift by: a negative one counts as more than there are (BitShift 28), which leaves zeros
// or, on a right shift, copies of the sign bit.
func shiftCount[T integer](y T) uint64 {
	if y < 0 {
		return 64
	}
	return uint64(y)
}
