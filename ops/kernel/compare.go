package kernel

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// compareKind names an ordering test.
type compareKind uint8

const (
	isEqual compareKind = iota
	isLess
	isLessEqual
	isGreater
	isGreaterEqual
)

func equalOp(c *Call) ([]ir.Datum, error)          { return compare(c, isEqual) }
func lessOp(c *Call) ([]ir.Datum, error)           { return compare(c, isLess) }
func lessOrEqualOp(c *Call) ([]ir.Datum, error)    { return compare(c, isLessEqual) }
func greaterOp(c *Call) ([]ir.Datum, error)        { return compare(c, isGreater) }
func greaterOrEqualOp(c *Call) ([]ir.Datum, error) { return compare(c, isGreaterEqual) }

func compare(c *Call, k compareKind) ([]ir.Datum, error) {
	a, b, shape, err := operands2(c)
	if err != nil {
		return nil, err
	}
	d := a.DType()
	if d != b.DType() {
		return nil, fmt.Errorf("operands have types %s and %s", d, b.DType())
	}
	if d == ir.String && k == isEqual {
		return equalStrings(c, a, b, shape)
	}
	if d == ir.Bool && k != isEqual {
		return nil, c.badType(d)
	}
	switch computeType(d) {
	case ir.Float32:
		return compareAs[float32](c, a, b, shape, k)
	case ir.Float64:
		return compareAs[float64](c, a, b, shape, k)
	case ir.Int8:
		return compareAs[int8](c, a, b, shape, k)
	case ir.Int16:
		return compareAs[int16](c, a, b, shape, k)
	case ir.Int32:
		return compareAs[int32](c, a, b, shape, k)
	case ir.Int64:
		return compareAs[int64](c, a, b, shape, k)
	case ir.Uint8:
		return compareAs[uint8](c, a, b, shape, k)
	case ir.Uint16:
		return compareAs[uint16](c, a, b, shape, k)
	case ir.Uint32:
		return compareAs[uint32](c, a, b, shape, k)
	case ir.Uint64:
		return compareAs[uint64](c, a, b, shape, k)
	}
	return nil, c.badType(d)
}

func compareAs[T ordered](c *Call, a, b *ir.Tensor, shape []int64, k compareKind) ([]ir.Datum, error) {
	x, err := load[T](a)
	if err != nil {
		return nil, err
	}
	y, err := load[T](b)
	if err != nil {
		return nil, err
	}
	var r []uint8
	if k == isEqual && a.DType() != ir.Bool {
		r, err = zipRows(c, x, y, a.Shape(), b.Shape(), shape, equalRow[T])
	} else {
		r, err = zip(c, x, y, a.Shape(), b.Shape(), shape, compareFunc[T](k, a.DType() == ir.Bool))
	}
	return one(boolTensor(shape, r), err)
}

// equalRow compares rows, with loops of their own for what one-hot encodings do.
func equalRow[T ordered](dst []uint8, a []T, i, as int, b []T, j, bs int) {
	if as == 0 {
		a, i, as, b, j, bs = b, j, bs, a, i, as
	}
	switch {
	case as == 1 && bs == 1:
		x, y := a[i:][:len(dst)], b[j:][:len(dst)]
		for k := range dst {
			dst[k] = truth(x[k] == y[k])
		}
	case as == 1 && bs == 0:
		x, y := a[i:][:len(dst)], b[j]
		for k := range dst {
			dst[k] = truth(x[k] == y)
		}
	default:
		for k := range dst {
			dst[k] = truth(a[i+k*as] == b[j+k*bs])
		}
	}
}

func compareFunc[T ordered](k compareKind, bools bool) func(x, y T) uint8 {
	switch k {
	case isLess:
		return func(x, y T) uint8 { return truth(x < y) }
	case isLessEqual:
		return func(x, y T) uint8 { return truth(x <= y) }
	case isGreater:
		return func(x, y T) uint8 { return truth(x > y) }
	case isGreaterEqual:
		return func(x, y T) uint8 { return truth(x >= y) }
	}
	if bools {
		return func(x, y T) uint8 { return truth((x != 0) == (y != 0)) }
	}
	return func(x, y T) uint8 { return truth(x == y) }
}

func equalStrings(c *Call, a, b *ir.Tensor, shape []int64) ([]ir.Datum, error) {
	r, err := alloc[uint8](c, shape)
	if err != nil {
		return nil, err
	}
	x, err := a.Strings()
	if err != nil {
		return nil, err
	}
	y, err := b.Strings()
	if err != nil {
		return nil, err
	}
	n, out := newNest(shape, broadcastStrides(a.Shape(), shape), broadcastStrides(b.Shape(), shape)), 0
	err = n.rows(func(at []int, length int) error {
		for i := range length {
			r[out] = truth(x[at[0]+i*n.inner(0)] == y[at[1]+i*n.inner(1)])
			out++
		}
		return c.tick(8 * length)
	})
	return one(boolTensor(shape, r), err)
}

// whereOp picks elements of the second operand where the first is true, else of the third, with broadcasting.
func whereOp(c *Call) ([]ir.Datum, error) {
	var in [3]*ir.Tensor
	for i := range in {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		in[i] = t
	}
	if in[0].DType() != ir.Bool || in[1].DType() != in[2].DType() {
		return nil, fmt.Errorf("Where of %s, %s and %s", in[0].DType(), in[1].DType(), in[2].DType())
	}
	shape, err := broadcast(in[0].Shape(), in[1].Shape(), in[2].Shape())
	if err != nil {
		return nil, err
	}
	cond, err := load[uint8](in[0])
	if err != nil {
		return nil, err
	}
	x, err := open(in[1])
	if err != nil {
		return nil, err
	}
	y, err := open(in[2])
	if err != nil {
		return nil, err
	}
	dst, err := x.make(c, shape)
	if err != nil {
		return nil, err
	}
	n := newNest(shape, broadcastStrides(in[0].Shape(), shape), broadcastStrides(in[1].Shape(), shape), broadcastStrides(in[2].Shape(), shape))
	out := 0
	err = n.rows(func(at []int, length int) error {
		dst.choose(out, cond, at[0], n.inner(0), x, at[1], n.inner(1), y, at[2], n.inner(2), length)
		out += length
		return c.tick(length)
	})
	return one(dst.tensor(shape), err)
}
