package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// operands2 reads the two operands of a binary operator and their common shape. Below opset 7 the operators broadcast only
// if the attribute broadcast is set, and the second operand lies at attribute axis of the first.
func operands2(c *Call) (a, b *ir.Tensor, shape []int64, err error) {
	if a, err = c.Need(0); err != nil {
		return
	}
	if b, err = c.Need(1); err != nil {
		return
	}
	if c.Opset < 7 && c.Op.Domain == "" {
		if b, err = legacyOperand(c, a, b); err != nil {
			return
		}
	}
	shape, err = broadcast(a.Shape(), b.Shape())
	return
}

// legacyOperand reshapes b for multidirectional broadcasting so that its first dimension lies at the axis given.
func legacyOperand(c *Call, a, b *ir.Tensor) (*ir.Tensor, error) {
	axis := c.Attr("axis")
	if c.int("broadcast", 0) == 0 || axis == nil || b.Rank() == 0 {
		return b, nil
	}
	at, err := axisOf(axis.Int(), max(a.Rank(), 1))
	if err != nil {
		return nil, err
	}
	if at+b.Rank() > a.Rank() {
		return nil, fmt.Errorf("shapes %v and %v do not broadcast at axis %d", a.Shape(), b.Shape(), at)
	}
	return b.Reshape(append(append([]int64{}, b.Shape()...), ones(a.Rank()-at-b.Rank())...)), nil
}

// zip applies f to the elements of a and b, broadcast to shape. The elements are given in their compute type.
func zip[T, R ir.Scalar](c *Call, a, b []T, ashape, bshape, shape []int64, f func(x, y T) R) ([]R, error) {
	r, err := alloc[R](c, shape)
	if err != nil {
		return nil, err
	}
	n := newNest(shape, broadcastStrides(ashape, shape), broadcastStrides(bshape, shape))
	as, bs, out := n.inner(0), n.inner(1), 0
	err = n.rows(func(at []int, length int) error {
		for i, j := at[0], at[1]; length > 0; {
			part := min(length, 1<<16)
			for k := range r[out : out+part] {
				r[out+k] = f(a[i], b[j])
				i += as
				j += bs
			}
			out, length = out+part, length-part
			if err := c.tick(8 * part); err != nil {
				return err
			}
		}
		return nil
	})
	return r, err
}

// binaryKind names an arithmetic function of two numbers.
type binaryKind uint8

const (
	kindAdd binaryKind = iota
	kindSub
	kindMul
	kindDiv
	kindMax
	kindMin
	kindMod  // sign of the divisor
	kindFMod // sign of the dividend
)

func addOp(c *Call) ([]ir.Datum, error) { return arithmetic(c, kindAdd) }
func subOp(c *Call) ([]ir.Datum, error) { return arithmetic(c, kindSub) }
func mulOp(c *Call) ([]ir.Datum, error) { return arithmetic(c, kindMul) }
func divOp(c *Call) ([]ir.Datum, error) { return arithmetic(c, kindDiv) }

func modOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if c.int("fmod", 0) != 0 {
		return arithmetic(c, kindFMod)
	}
	if x.DType().IsFloat() && c.Opset < 28 {
		return nil, errors.New("Mod of floats needs fmod=1")
	}
	return arithmetic(c, kindMod)
}

var (
	errDivideByZero = errors.New("integer division by zero")
	errDivideRange  = errors.New("integer division overflows: the smallest value divided by -1")
)

func arithmetic(c *Call, k binaryKind) ([]ir.Datum, error) {
	a, b, shape, err := operands2(c)
	if err != nil {
		return nil, err
	}
	if a.DType() != b.DType() {
		return nil, fmt.Errorf("operands have types %s and %s", a.DType(), b.DType())
	}
	if a.DType() == ir.Bool {
		return nil, c.badType(ir.Bool)
	}
	switch computeType(a.DType()) {
	case ir.Float32:
		return arith[float32](c, a, b, shape, k)
	case ir.Float64:
		return arith[float64](c, a, b, shape, k)
	case ir.Int8:
		return arith[int8](c, a, b, shape, k)
	case ir.Int16:
		return arith[int16](c, a, b, shape, k)
	case ir.Int32:
		return arith[int32](c, a, b, shape, k)
	case ir.Int64:
		return arith[int64](c, a, b, shape, k)
	case ir.Uint8:
		return arith[uint8](c, a, b, shape, k)
	case ir.Uint16:
		return arith[uint16](c, a, b, shape, k)
	case ir.Uint32:
		return arith[uint32](c, a, b, shape, k)
	case ir.Uint64:
		return arith[uint64](c, a, b, shape, k)
	}
	return nil, c.badType(a.DType())
}

func arith[T ordered](c *Call, a, b *ir.Tensor, shape []int64, k binaryKind) ([]ir.Datum, error) {
	x, err := load[T](a)
	if err != nil {
		return nil, err
	}
	y, err := load[T](b)
	if err != nil {
		return nil, err
	}
	var fail error
	r, err := zip(c, x, y, a.Shape(), b.Shape(), shape, binaryFunc[T](k, a.DType(), &fail))
	if err == nil {
		err = fail
	}
	return one(pack(a.DType(), shape, r), err)
}

// binaryFunc is the function for k. Where the quotient of two integers does not exist it sets fail.
func binaryFunc[T ordered](k binaryKind, d ir.DType, fail *error) func(x, y T) T {
	switch k {
	case kindAdd:
		return func(x, y T) T { return x + y }
	case kindSub:
		return func(x, y T) T { return x - y }
	case kindMul:
		return func(x, y T) T { return x * y }
	case kindMax:
		return func(x, y T) T { return max(x, y) }
	case kindMin:
		return func(x, y T) T { return min(x, y) }
	}
	if d.IsFloat() {
		switch k {
		case kindDiv:
			return func(x, y T) T { return x / y }
		case kindFMod:
			return func(x, y T) T { return T(math.Mod(float64(x), float64(y))) }
		}
		return func(x, y T) T { return T(floorMod(float64(x), float64(y))) }
	}
	var zero, one T = 0, 1
	lowest := lowestInt[T](d)
	return func(x, y T) T {
		switch {
		case y == 0:
			*fail = errDivideByZero
			return 0
		case zero-one < 0 && y == zero-one && k == kindDiv && x == lowest:
			*fail = errDivideRange
			return 0
		case zero-one < 0 && y == zero-one:
			if k == kindDiv {
				return zero - x
			}
			return 0
		case k == kindDiv:
			return x / y
		}
		m := x - T(x/y*y)
		if k == kindMod && m != 0 && (m < 0) != (y < 0) {
			m += y
		}
		return m
	}
}

// lowestInt is the smallest value of an integer type.
func lowestInt[T ordered](d ir.DType) T {
	if !d.IsSigned() {
		return 0
	}
	var one T = 1
	v := -one
	for range d.Bits() - 1 {
		v += v
	}
	return v
}

// floorMod is the remainder with the sign of the divisor, as Python's %.
func floorMod(x, y float64) float64 {
	m := math.Mod(x, y)
	if m == 0 {
		return math.Copysign(0, y)
	}
	if (m < 0) != (y < 0) {
		m += y
	}
	return m
}

// logical operators take bools.
func andOp(c *Call) ([]ir.Datum, error) {
	return logical(c, func(x, y uint8) uint8 { return truth(x != 0 && y != 0) })
}

func orOp(c *Call) ([]ir.Datum, error) {
	return logical(c, func(x, y uint8) uint8 { return truth(x != 0 || y != 0) })
}

func xorOp(c *Call) ([]ir.Datum, error) {
	return logical(c, func(x, y uint8) uint8 { return truth((x != 0) != (y != 0)) })
}

func truth(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func logical(c *Call, f func(x, y uint8) uint8) ([]ir.Datum, error) {
	a, b, shape, err := operands2(c)
	if err != nil {
		return nil, err
	}
	if a.DType() != ir.Bool || b.DType() != ir.Bool {
		return nil, fmt.Errorf("%s takes bools, not %s and %s", c.Op, a.DType(), b.DType())
	}
	x, err := load[uint8](a)
	if err != nil {
		return nil, err
	}
	y, err := load[uint8](b)
	if err != nil {
		return nil, err
	}
	r, err := zip(c, x, y, a.Shape(), b.Shape(), shape, f)
	return one(boolTensor(shape, r), err)
}

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

// preluOp multiplies negative elements by the slope, which broadcasts to x in one direction. Below opset 7 a vector of
// slopes lies along axis 1.
func preluOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	slope, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if c.Opset < 7 && slope.Rank() == 1 && slope.Len() > 1 && x.Rank() > 2 {
		slope = slope.Reshape(append(slope.Shape(), ones(x.Rank()-2)...))
	}
	d := x.DType()
	shape, err := broadcast(x.Shape(), slope.Shape())
	if err != nil {
		return nil, err
	}
	if len(shape) != x.Rank() || product(shape) != product(x.Shape()) || slope.DType() != d {
		return nil, c.badOperand(1, slope)
	}
	switch computeType(d) {
	case ir.Float32:
		return prelu[float32](c, x, slope)
	case ir.Float64:
		return prelu[float64](c, x, slope)
	case ir.Int32:
		return prelu[int32](c, x, slope)
	case ir.Int64:
		return prelu[int64](c, x, slope)
	case ir.Uint32:
		return prelu[uint32](c, x, slope)
	case ir.Uint64:
		return prelu[uint64](c, x, slope)
	}
	return nil, c.badType(d)
}

func prelu[T ordered](c *Call, x, slope *ir.Tensor) ([]ir.Datum, error) {
	a, err := load[T](x)
	if err != nil {
		return nil, err
	}
	b, err := load[T](slope)
	if err != nil {
		return nil, err
	}
	r, err := zip(c, a, b, x.Shape(), slope.Shape(), x.Shape(), func(v, s T) T {
		if v < 0 {
			return v * s
		}
		return v
	})
	return one(pack(x.DType(), x.Shape(), r), err)
}
