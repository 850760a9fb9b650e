package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// matMulOp is the product of stacks of matrices as numpy.matmul: leading dimensions broadcast; a vector is a row on the left
// and a column on the right.
func matMulOp(c *Call) ([]ir.Datum, error) {
	a, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	b, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if a.DType() != b.DType() {
		return nil, c.badOperand(1, b)
	}
	switch d := a.DType(); d {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return matMulAs[float32](c, a, b)
	case ir.Float64:
		return matMulAs[float64](c, a, b)
	case ir.Int32:
		return matMulAs[int32](c, a, b)
	case ir.Int64:
		return matMulAs[int64](c, a, b)
	case ir.Uint32:
		return matMulAs[uint32](c, a, b)
	case ir.Uint64:
		return matMulAs[uint64](c, a, b)
	default:
		return nil, c.badType(d)
	}
}

func matMulAs[T number](c *Call, a, b *ir.Tensor) ([]ir.Datum, error) {
	r, shape, err := multiplied[T](c, a, b)
	if err != nil {
		return nil, err
	}
	return one(pack(a.DType(), shape, r), nil)
}

// multiplied is [matMul] of the elements of tensors.
func multiplied[T number](c *Call, a, b *ir.Tensor) ([]T, []int64, error) {
	x, err := load[T](a)
	if err != nil {
		return nil, nil, err
	}
	y, err := load[T](b)
	if err != nil {
		return nil, nil, err
	}
	return matMul(c, x, y, a.Shape(), b.Shape())
}

// matMul multiplies stacks of matrices and gives the shape of the result.
func matMul[T number](c *Call, x, y []T, as, bs []int64) ([]T, []int64, error) {
	if len(as) == 0 || len(bs) == 0 {
		return nil, nil, fmt.Errorf("matrix product of shapes %v and %v", as, bs)
	}
	row, column := len(as) == 1, len(bs) == 1
	if row {
		as = []int64{1, as[0]}
	}
	if column {
		bs = []int64{bs[0], 1}
	}
	abatch, bbatch := as[:len(as)-2], bs[:len(bs)-2]
	m, k, n := as[len(as)-2], as[len(as)-1], bs[len(bs)-1]
	if bs[len(bs)-2] != k {
		return nil, nil, fmt.Errorf("matrix product of shapes %v and %v", as, bs)
	}
	batch, err := broadcast(abatch, bbatch)
	if err != nil {
		return nil, nil, err
	}
	r, err := alloc[T](c, append(slices.Clone(batch), m, n))
	if err != nil {
		return nil, nil, err
	}
	shape := batch
	if !row {
		shape = append(shape, m)
	}
	if !column {
		shape = append(shape, n)
	}
	if len(r) == 0 {
		return r, shape, nil
	}
	mm, kk, nn := int(m), int(k), int(n)
	loops, out := newNest(batch, broadcastStrides(abatch, batch), broadcastStrides(bbatch, batch)), 0
	err = loops.rows(func(at []int, length int) error {
		for i := range length {
			p, q := (at[0]+i*loops.inner(0))*mm*kk, (at[1]+i*loops.inner(1))*kk*nn
			if err := gemm(c, r[out:out+mm*nn], x[p:p+mm*kk], y[q:q+kk*nn], mm, kk, nn); err != nil {
				return err
			}
			out += mm * nn
		}
		return nil
	})
	return r, shape, err
}

// gemmOp is alpha*A'*B' + beta*C, where ' transposes if asked and C broadcasts to the product in one direction.
func gemmOp(c *Call) ([]ir.Datum, error) {
	a, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	b, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if a.DType() != b.DType() || a.Rank() != 2 || b.Rank() != 2 {
		return nil, c.badOperand(1, b)
	}
	switch d := a.DType(); d {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return gemmAs[float32](c, a, b)
	case ir.Float64:
		return gemmAs[float64](c, a, b)
	case ir.Int32:
		return gemmAs[int32](c, a, b)
	case ir.Int64:
		return gemmAs[int64](c, a, b)
	case ir.Uint32:
		return gemmAs[uint32](c, a, b)
	case ir.Uint64:
		return gemmAs[uint64](c, a, b)
	default:
		return nil, c.badType(d)
	}
}

func gemmAs[T number](c *Call, a, b *ir.Tensor) ([]ir.Datum, error) {
	var err error
	if c.int("transA", 0) != 0 {
		if a, err = transpose(c, a, []int64{1, 0}); err != nil {
			return nil, err
		}
	}
	if c.int("transB", 0) != 0 {
		if b, err = transpose(c, b, []int64{1, 0}); err != nil {
			return nil, err
		}
	}
	x, err := load[T](a)
	if err != nil {
		return nil, err
	}
	y, err := load[T](b)
	if err != nil {
		return nil, err
	}
	r, shape, err := matMul(c, x, y, a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	if alpha := c.float("alpha", 1); alpha != 1 {
		for i, v := range r {
			r[i] = T(T(alpha) * v)
		}
	}
	bias, err := c.Tensor(2)
	if err != nil {
		return nil, err
	}
	if bias == nil {
		return one(pack(a.DType(), shape, r), nil)
	}
	if to, err := broadcast(shape, bias.Shape()); err != nil || !slices.Equal(to, shape) || bias.DType() != a.DType() {
		return nil, c.badOperand(2, bias)
	}
	v, err := load[T](bias)
	if err != nil {
		return nil, err
	}
	beta := T(c.float("beta", 1))
	r, err = zip(c, r, v, shape, bias.Shape(), shape, func(x, y T) T { return x + T(beta*y) })
	return one(pack(a.DType(), shape, r), err)
}
