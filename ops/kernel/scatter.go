package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// scatterElementsOp writes updates to the places that indices name along an axis. Reductions (opset 16, 18): none, add, mul,
// min, max; updates are combined in row-major order.
func scatterElementsOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	t, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	u, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", 0), x.Rank())
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.Shape(), u.Shape()) {
		return nil, c.badOperand(2, u)
	}
	pos, err := elementPositions(c, x.Shape(), t.Shape(), idx, axis)
	if err != nil {
		return nil, err
	}
	return one(scatter(c, x, u, pos, 1, c.str("reduction", "none")))
}

// scatterOp is the former name of ScatterElements.
func scatterOp(c *Call) ([]ir.Datum, error) { return scatterElementsOp(c) }

// scatterNDOp writes slices of updates to the places that rows of indices name.
func scatterNDOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	t, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	u, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	pos, err := slicePositions(x.Shape(), t.Shape(), idx, 0)
	if err != nil {
		return nil, err
	}
	last := t.Rank() - 1
	tail := x.Shape()[t.Shape()[last]:]
	if !slices.Equal(u.Shape(), slices.Concat(t.Shape()[:last], tail)) {
		return nil, c.badOperand(2, u)
	}
	return one(scatter(c, x, u, pos, product(tail), c.str("reduction", "none")))
}

// scatter returns x with blocks of n elements of u written or combined at the places given.
func scatter(c *Call, x, u *ir.Tensor, pos []int, n int, reduction string) (*ir.Tensor, error) {
	if x.DType() != u.DType() {
		return nil, c.badOperand(2, u)
	}
	if reduction != "none" {
		return scatterReduce(c, x, u, pos, n, reduction)
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	up, err := open(u)
	if err != nil {
		return nil, err
	}
	dst, err := src.make(c, x.Shape())
	if err != nil {
		return nil, err
	}
	dst.copy(0, src, 0, src.size())
	for i, p := range pos {
		dst.copy(p, up, i*n, n)
		if err := c.tick(n + 4); err != nil {
			return nil, err
		}
	}
	return dst.tensor(x.Shape()), nil
}

func scatterReduce(c *Call, x, u *ir.Tensor, pos []int, n int, reduction string) (*ir.Tensor, error) {
	k, ok := map[string]binaryKind{"add": kindAdd, "mul": kindMul, "min": kindMin, "max": kindMax}[reduction]
	if !ok {
		return nil, fmt.Errorf("unknown reduction %q", reduction)
	}
	switch computeType(x.DType()) {
	case ir.Float32:
		return scatterAs[float32](c, x, u, pos, n, k)
	case ir.Float64:
		return scatterAs[float64](c, x, u, pos, n, k)
	case ir.Int8:
		return scatterAs[int8](c, x, u, pos, n, k)
	case ir.Int16:
		return scatterAs[int16](c, x, u, pos, n, k)
	case ir.Int32:
		return scatterAs[int32](c, x, u, pos, n, k)
	case ir.Int64:
		return scatterAs[int64](c, x, u, pos, n, k)
	case ir.Uint8:
		return scatterAs[uint8](c, x, u, pos, n, k)
	case ir.Uint16:
		return scatterAs[uint16](c, x, u, pos, n, k)
	case ir.Uint32:
		return scatterAs[uint32](c, x, u, pos, n, k)
	case ir.Uint64:
		return scatterAs[uint64](c, x, u, pos, n, k)
	}
	return nil, c.badType(x.DType())
}

func scatterAs[T ordered](c *Call, x, u *ir.Tensor, pos []int, n int, k binaryKind) (*ir.Tensor, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	up, err := load[T](u)
	if err != nil {
		return nil, err
	}
	r, err := alloc[T](c, x.Shape())
	if err != nil {
		return nil, err
	}
	copy(r, v)
	f := binaryFunc[T](k, x.DType(), nil)
	for i, p := range pos {
		for j := range n {
			r[p+j] = f(r[p+j], up[i*n+j])
		}
		if err := c.tick(4*n + 4); err != nil {
			return nil, err
		}
	}
	if x.DType() == ir.Bool {
		for i := range r {
			r[i] = min(r[i], 1)
		}
	}
	return pack(x.DType(), x.Shape(), r), nil
}

// tensorScatterOp writes update [B, .., L, ..] into the cache [B, .., M, ..] along an axis, for each batch entry from its
// write index on; mode circular wraps around the end.
func tensorScatterOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	u, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", -2), x.Rank())
	if err != nil {
		return nil, err
	}
	if axis == 0 || u.Rank() != x.Rank() || !slices.Equal(withAxis(u.Shape(), axis, 0), withAxis(x.Shape(), axis, 0)) {
		return nil, c.badOperand(1, u)
	}
	start, given, err := c.intsOperand(2)
	if err != nil {
		return nil, err
	}
	batch, size, n := x.Shape()[0], x.Shape()[axis], u.Shape()[axis]
	if !given {
		start = make([]int64, batch)
	}
	if int64(len(start)) != batch {
		return nil, fmt.Errorf("%d write indices for a batch of %d", len(start), batch)
	}
	outer, inner := product(x.Shape()[1:axis]), product(x.Shape()[axis+1:])
	circular := c.str("mode", "linear") == "circular"
	pos := make([]int, 0, int(batch)*outer*int(n))
	for b, s := range start {
		if s < 0 || s > size || !circular && s+n > size || n > size {
			return nil, fmt.Errorf("write index %d for %d entries of %d", s, n, size)
		}
		for o := range outer {
			for i := range n {
				pos = append(pos, ((b*outer+o)*int(size)+int((s+i)%size))*inner)
			}
		}
	}
	return one(scatter(c, x, u, pos, inner, "none"))
}
