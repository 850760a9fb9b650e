package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// array is a list of elements of some type that is moved about without looking at it. Operators that only move data are
// written against it once for all element types, strings among them. Offsets and lengths count elements.
type array interface {
	size() int
	// copy moves n elements of src from at on to dst on. src is of the same kind.
	copy(dst int, src array, at, n int)
	// gather moves n elements of src at at, at+step, ... to dst, dst+dstep, ...
	gather(dst, dstep int, src array, at, step, n int)
	// pick moves the elements of src at at+idx[0], at+idx[1], ... to dst on.
	pick(dst int, src array, at int, idx []int)
	// choose sets n elements from dst on: from x where cond is set, else from y.
	choose(dst int, cond []uint8, cat, cstep int, x array, xat, xstep int, y array, yat, ystep, n int)
	// make allocates an array of the same kind for a shape.
	make(c *Call, shape []int64) (array, error)
	// tensor ends the use of the array: a tensor over its elements.
	tensor(shape []int64) *ir.Tensor
}

// elems is the array for elements of Go type T; narrow elements are unpacked to a byte each.
type elems[T any] struct {
	dtype ir.DType
	v     []T
}

// open views the elements of t, which must not be written to.
func open(t *ir.Tensor) (array, error) {
	d := t.DType()
	if d == ir.String {
		s, err := t.Strings()
		return &elems[string]{d, s}, err
	}
	switch bits := d.Bits(); bits {
	case 2, 4, 8:
		v, err := unpackBits(t)
		return &elems[uint8]{d, v}, err
	case 16:
		return openAs[uint16](t)
	case 32:
		return openAs[uint32](t)
	case 64:
		return openAs[uint64](t)
	case 128:
		return openAs[complex128](t)
	}
	return nil, fmt.Errorf("elements of type %s cannot be moved", d)
}

func openAs[T ir.Scalar](t *ir.Tensor) (array, error) {
	v, err := ir.Elements[T](t)
	return &elems[T]{t.DType(), v}, err
}

func (e *elems[T]) size() int { return len(e.v) }

func (e *elems[T]) copy(dst int, src array, at, n int) {
	copy(e.v[dst:dst+n], src.(*elems[T]).v[at:at+n])
}

func (e *elems[T]) gather(dst, dstep int, src array, at, step, n int) {
	s := src.(*elems[T]).v
	switch {
	case n <= 0:
	case step == 1 && dstep == 1:
		copy(e.v[dst:dst+n], s[at:at+n])
	case step == 0 && dstep == 1:
		x := s[at]
		for i := range e.v[dst : dst+n] {
			e.v[dst+i] = x
		}
	default:
		for range n {
			e.v[dst] = s[at]
			dst += dstep
			at += step
		}
	}
}

func (e *elems[T]) pick(dst int, src array, at int, idx []int) {
	s, d := src.(*elems[T]).v[at:], e.v[dst:dst+len(idx)]
	for i, j := range idx {
		d[i] = s[j]
	}
}

func (e *elems[T]) choose(dst int, cond []uint8, cat, cstep int, x array, xat, xstep int, y array, yat, ystep, n int) {
	xv, yv := x.(*elems[T]).v, y.(*elems[T]).v
	for i := range n {
		if cond[cat+i*cstep] != 0 {
			e.v[dst+i] = xv[xat+i*xstep]
		} else {
			e.v[dst+i] = yv[yat+i*ystep]
		}
	}
}

func (e *elems[T]) make(c *Call, shape []int64) (array, error) {
	v, err := result[T](c, shape)
	return &elems[T]{e.dtype, v}, err
}

func (e *elems[T]) tensor(shape []int64) *ir.Tensor {
	switch v := any(e.v).(type) {
	case []string:
		return ir.NewStringTensor(shape, v)
	case []uint8:
		return ir.NewTensor(e.dtype, shape, packBits(v, e.dtype.Bits()))
	case []uint16:
		return ir.NewTensor(e.dtype, shape, ir.AsBytes(v))
	case []uint32:
		return ir.NewTensor(e.dtype, shape, ir.AsBytes(v))
	case []uint64:
		return ir.NewTensor(e.dtype, shape, ir.AsBytes(v))
	case []complex128:
		return ir.NewTensor(e.dtype, shape, ir.AsBytes(v))
	}
	panic("kernel: array of an unknown type")
}

// strided copies src, read with the given steps for each axis of shape from offset at on, into a new tensor of that shape.
// It is what Transpose, Expand and Slice have in common.
func strided(c *Call, src array, shape []int64, at int, steps []int) (*ir.Tensor, error) {
	dst, err := src.make(c, shape)
	if err != nil {
		return nil, err
	}
	n := newNest(shape, steps)
	if planes := n.planes(); planes != nil {
		err := transposePlanes(c, dst, src, at, planes, n)
		return dst.tensor(shape), err
	}
	step, out := n.inner(0), 0
	err = n.rows(func(o []int, length int) error {
		dst.gather(out, 1, src, at+o[0], step, length)
		out += length
		return c.tick(length)
	})
	return dst.tensor(shape), err
}

// planes is the nest around the two innermost axes if they transpose a matrix that is not small, whose rows lie along the second to last;
// else nil.
func (n *nest) planes() *nest {
	last := len(n.dims) - 1
	if last < 1 || n.steps[0][last-1] != 1 || n.steps[0][last] < 2 || min(n.dims[last-1], n.dims[last]) < 16 {
		return nil
	}
	// A last axis of one: rows calls once for each plane.
	return &nest{dims: append(slices.Clone(n.dims[:last-1]), 1), steps: [][]int{append(slices.Clone(n.steps[0][:last-1]), 0)}}
}

// transposePlanes copies the matrices of src that planes walks, each transposed, in strips of a few cache lines, so that both sides are
// used whole while they are near.
func transposePlanes(c *Call, dst, src array, at int, planes, n *nest) error {
	const strip = 64
	last := len(n.dims) - 1
	rows, cols, step, out := n.dims[last-1], n.dims[last], n.steps[0][last], 0
	return planes.rows(func(o []int, _ int) error {
		for i := 0; i < rows; i += strip {
			k, from := min(strip, rows-i), at+o[0]+i
			for j := range cols {
				dst.gather(out+i*cols+j, cols, src, from+j*step, 1, k)
			}
			if err := c.tick(k * cols); err != nil {
				return err
			}
		}
		out += rows * cols
		return nil
	})
}

// noValue is a tensor of one zero of type d: the empty string for strings.
func noValue(d ir.DType) *ir.Tensor {
	if d == ir.String {
		return ir.NewStringTensor([]int64{}, []string{""})
	}
	return ir.NewTensor(d, []int64{}, make([]byte, d.ByteLen(1)))
}
