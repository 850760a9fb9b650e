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

// rowFunc combines len(dst) elements of a, from i on with step as, with elements of b.
type rowFunc[T, R ir.Scalar] func(dst []R, a []T, i, as int, b []T, j, bs int)

// zip applies f to the elements of a and b, broadcast to shape. The elements are given in their compute type.
func zip[T, R ir.Scalar](c *Call, a, b []T, ashape, bshape, shape []int64, f func(x, y T) R) ([]R, error) {
	return zipRows(c, a, b, ashape, bshape, shape, func(dst []R, a []T, i, as int, b []T, j, bs int) {
		for k := range dst {
			dst[k] = f(a[i], b[j])
			i += as
			j += bs
		}
	})
}

// zipRows is zip with a function on rows.
func zipRows[T, R ir.Scalar](c *Call, a, b []T, ashape, bshape, shape []int64, f rowFunc[T, R]) ([]R, error) {
	r, err := result[R](c, shape)
	if err != nil {
		return nil, err
	}
	n := newNest(shape, broadcastStrides(ashape, shape), broadcastStrides(bshape, shape))
	as, bs, out := n.inner(0), n.inner(1), 0
	err = n.rows(func(at []int, length int) error {
		for i, j := at[0], at[1]; length > 0; {
			part := min(length, 1<<16)
			f(r[out:out+part], a, i, as, b, j, bs)
			i, j, out, length = i+part*as, j+part*bs, out+part, length-part
			if err := c.tick(8 * part); err != nil {
				return err
			}
		}
		return nil
	})
	return r, err
}

// addRow and mulRow are the sums and products of rows, with loops of their own for the steps that models use most.
func addRow[T ordered](dst, a []T, i, as int, b []T, j, bs int) {
	switch {
	case as == 1 && bs == 1:
		x, y := a[i:][:len(dst)], b[j:][:len(dst)]
		for k := range dst {
			dst[k] = x[k] + y[k]
		}
	case as == 1 && bs == 0:
		x, y := a[i:][:len(dst)], b[j]
		for k := range dst {
			dst[k] = x[k] + y
		}
	default:
		for k := range dst {
			dst[k] = a[i+k*as] + b[j+k*bs]
		}
	}
}

func mulRow[T ordered](dst, a []T, i, as int, b []T, j, bs int) {
	switch {
	case as == 1 && bs == 1:
		x, y := a[i:][:len(dst)], b[j:][:len(dst)]
		for k := range dst {
			dst[k] = x[k] * y[k]
		}
	case as == 1 && bs == 0:
		x, y := a[i:][:len(dst)], b[j]
		for k := range dst {
			dst[k] = x[k] * y
		}
	default:
		for k := range dst {
			dst[k] = a[i+k*as] * b[j+k*bs]
		}
	}
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
	var r []T
	switch k {
	case kindAdd:
		r, err = zipRows(c, x, y, a.Shape(), b.Shape(), shape, addRow[T])
	case kindMul:
		r, err = zipRows(c, x, y, a.Shape(), b.Shape(), shape, mulRow[T])
	default:
		r, err = zip(c, x, y, a.Shape(), b.Shape(), shape, binaryFunc[T](k, a.DType(), &fail))
	}
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
