package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// indexOperand reads operand i, whose elements are int32 or int64.
func (c *Call) indexOperand(i int) (t *ir.Tensor, v []int64, err error) {
	if t, err = c.Need(i); err != nil {
		return
	}
	if d := t.DType(); d != ir.Int32 && d != ir.Int64 {
		return nil, nil, fmt.Errorf("operand %d holds indices and has type %s", i, d)
	}
	v, err = ints(t)
	return
}

// position normalises an index into a dimension of size d; negative ones count from the back.
func position(i int64, d int64) (int, error) {
	if i < -d || i >= d {
		return 0, fmt.Errorf("index %d is out of range for a dimension of %d", i, d)
	}
	if i < 0 {
		i += d
	}
	return int(i), nil
}

// gatherOp replaces a dimension by the shape of the indices.
func gatherOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	t, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", 0), x.Rank())
	if err != nil {
		return nil, err
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	shape := slices.Concat(x.Shape()[:axis], t.Shape(), x.Shape()[axis+1:])
	dst, err := src.make(c, shape)
	if err != nil {
		return nil, err
	}
	d := x.Shape()[axis]
	outer, inner, out := product(x.Shape()[:axis]), product(x.Shape()[axis+1:]), 0
	at := make([]int, len(idx))
	for i, v := range idx {
		if at[i], err = position(v, d); err != nil {
			return nil, err
		}
	}
	for o := range outer {
		if inner == 0 {
			break
		}
		for _, i := range at {
			dst.copy(out, src, (o*int(d)+i)*inner, inner)
			out += inner
		}
		if err := c.tick(len(at) * inner); err != nil {
			return nil, err
		}
	}
	return one(dst.tensor(shape), nil)
}

// elementPositions are the places in a tensor of shape that indices of the given shape name along an axis, for GatherElements
// and ScatterElements: place (i0, .., idx, .., in).
func elementPositions(c *Call, shape, ishape []int64, idx []int64, axis int) ([]int, error) {
	if len(shape) != len(ishape) {
		return nil, fmt.Errorf("indices of rank %d for data of rank %d", len(ishape), len(shape))
	}
	steps := strides(shape)
	along := steps[axis]
	steps[axis] = 0
	for i, d := range ishape {
		if i != axis && d > shape[i] {
			return nil, fmt.Errorf("indices of shape %v for data of shape %v", ishape, shape)
		}
	}
	pos, err := alloc[int](c, ishape)
	if err != nil {
		return nil, err
	}
	n, out := newNest(ishape, steps), 0
	return pos, n.rows(func(at []int, length int) error {
		for i := range length {
			p, err := position(idx[out], shape[axis])
			if err != nil {
				return err
			}
			pos[out] = at[0] + i*n.inner(0) + p*along
			out++
		}
		return c.tick(4 * length)
	})
}

func gatherElementsOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	t, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", 0), x.Rank())
	if err != nil {
		return nil, err
	}
	pos, err := elementPositions(c, x.Shape(), t.Shape(), idx, axis)
	if err != nil {
		return nil, err
	}
	return one(gatherBlocks(c, x, t.Shape(), pos, 1))
}

// gatherBlocks joins blocks of n elements of x that start at the places given.
func gatherBlocks(c *Call, x *ir.Tensor, shape []int64, pos []int, n int) (*ir.Tensor, error) {
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	dst, err := src.make(c, shape)
	if err != nil {
		return nil, err
	}
	for i, p := range pos {
		dst.copy(i*n, src, p, n)
		if err := c.tick(n + 4); err != nil {
			return nil, err
		}
	}
	return dst.tensor(shape), nil
}

// slicePositions are the starts of the slices that rows of indices [.., depth] name in data, after batch shared dimensions,
// for GatherND and ScatterND.
func slicePositions(shape, ishape []int64, idx []int64, batch int) ([]int, error) {
	if len(ishape) == 0 || batch >= len(ishape) || batch > len(shape) {
		return nil, fmt.Errorf("indices of shape %v for data of shape %v and %d batch dimensions", ishape, shape, batch)
	}
	depth := int(ishape[len(ishape)-1])
	if batch+depth > len(shape) || !slices.Equal(shape[:batch], ishape[:batch]) {
		return nil, fmt.Errorf("indices of shape %v for data of shape %v and %d batch dimensions", ishape, shape, batch)
	}
	steps := strides(shape)
	rows := product(ishape[:len(ishape)-1])
	per := max(1, product(ishape[batch:len(ishape)-1]))
	block := product(shape[batch:])
	pos := make([]int, rows)
	for r := range pos {
		pos[r] = r / per * block
		for k := range depth {
			p, err := position(idx[r*depth+k], shape[batch+k])
			if err != nil {
				return nil, err
			}
			pos[r] += p * steps[batch+k]
		}
	}
	return pos, nil
}

func gatherNDOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	t, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	batch := int(c.int("batch_dims", 0))
	if batch < 0 {
		return nil, fmt.Errorf("batch_dims is %d", batch)
	}
	pos, err := slicePositions(x.Shape(), t.Shape(), idx, batch)
	if err != nil {
		return nil, err
	}
	last := t.Rank() - 1
	tail := x.Shape()[batch+int(t.Shape()[last]):]
	return one(gatherBlocks(c, x, slices.Concat(t.Shape()[:last], tail), pos, product(tail)))
}

// compressOp keeps the slices along an axis (of the flattened tensor without one) where the condition is true.
func compressOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	t, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if t.DType() != ir.Bool || t.Rank() != 1 {
		return nil, c.badOperand(1, t)
	}
	axis := 0
	if a := c.Attr("axis"); a == nil {
		x = x.Reshape([]int64{x.Len()})
	} else if axis, err = axisOf(a.Int(), x.Rank()); err != nil {
		return nil, err
	}
	cond, err := load[uint8](t)
	if err != nil {
		return nil, err
	}
	idx := make([][]int, x.Rank())
	for i, d := range x.Shape() {
		for j := range int(d) {
			if i != axis || j < len(cond) && cond[j] != 0 {
				idx[i] = append(idx[i], j)
			}
		}
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	return one(gatherAxes(c, src, x.Shape(), idx, nil))
}

// nonZeroOp lists the coordinates of elements that are not zero, one column an element, in row-major order. A scalar counts
// as a vector of one element.
func nonZeroOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	v, err := floats(x) // no conversion to float64 makes a number zero that was not
	if err != nil {
		return nil, err
	}
	var at []int
	for i, e := range v {
		if e != 0 {
			at = append(at, i)
		}
	}
	dims := x.Shape()
	if len(dims) == 0 {
		dims = []int64{1}
	}
	shape := []int64{int64(len(dims)), int64(len(at))}
	r, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	steps := strides(dims)
	for k, d := range dims {
		for i, p := range at {
			r[k*len(at)+i] = int64(p/steps[k]) % d
		}
	}
	return one(ir.TensorOf(r, shape...), nil)
}
