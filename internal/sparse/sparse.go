// Package sparse gives sparse constants in coordinate form the dense form that the rest of the program works with.
package sparse

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// maxDense is the size in bytes up to which a sparse constant is expanded.
const maxDense = 256 << 20

// Tensor is the dense tensor that s stands for, expanded each time its elements are asked for. Its payload is a keep.Sparse.
// Parts of s that contradict each other are an error; many indices are checked when the elements are asked for.
func Tensor(s *ir.SparseTensor) (*ir.Tensor, error) {
	if err := Check(s); err != nil {
		return nil, err
	}
	return ir.NewLazyTensor(s.Values.DType(), s.Dims, payload{s}), nil
}

// eagerCount is up to how many indices Check looks at each.
const eagerCount = 512

// Check compares the parts of s with each other, and the indices with the bounds if there are not too many.
func Check(s *ir.SparseTensor) error {
	v, x, rank := s.Values, s.Indices, int64(len(s.Dims))
	switch {
	case ir.NumElements(s.Dims) < 0 || rank == 0:
		return fmt.Errorf("a sparse tensor cannot have the shape %v", s.Dims[:min(rank, 16)])
	case v.Rank() != 1:
		return fmt.Errorf("the values of a sparse tensor have rank %d, not 1", v.Rank())
	case x.DType() != ir.Int64:
		return fmt.Errorf("the indices of a sparse tensor have type %s, not int64", x.DType())
	case x.Rank() == 1 && x.Shape()[0] == v.Len():
	case x.Rank() == 2 && x.Shape()[0] == v.Len() && x.Shape()[1] == rank:
	default:
		return fmt.Errorf("the indices of a sparse tensor of rank %d with %d values have shape %s", rank, v.Len(), ir.StaticShape(x.Shape()...))
	}
	if _, beside := x.Payload().(keep.External); x.Len() <= eagerCount && !beside {
		_, err := linear(s)
		return err
	}
	return nil
}

type payload struct{ s *ir.SparseTensor }

// Sparse makes the payload a keep.Sparse.
func (p payload) Sparse() *ir.SparseTensor { return p.s }

// Uncached keeps the dense form from staying in memory.
func (payload) Uncached() {}

// Bytes is the dense form.
func (p payload) Bytes() ([]byte, error) {
	d := p.s.Values.DType()
	size := d.ByteLen(ir.NumElements(p.s.Dims))
	switch {
	case d.Bits() < 8:
		return nil, fmt.Errorf("sparse tensors of type %s are not expanded", d)
	case size < 0 || size > maxDense:
		return nil, fmt.Errorf("a sparse tensor of %d bytes is too large to expand", size)
	}
	at, err := linear(p.s)
	if err != nil {
		return nil, err
	}
	v, err := p.s.Values.Bytes()
	if err != nil {
		return nil, err
	}
	r := make([]byte, size)
	w := int64(d.Bits() / 8)
	for i, k := range at {
		copy(r[k*w:(k+1)*w], v[int64(i)*w:])
	}
	return r, nil
}

// Strings is the dense form of strings.
func (p payload) Strings() ([]string, error) {
	n := ir.NumElements(p.s.Dims)
	if n > maxDense/16 {
		return nil, fmt.Errorf("a sparse tensor of %d strings is too large to expand", n)
	}
	at, err := linear(p.s)
	if err != nil {
		return nil, err
	}
	v, err := p.s.Values.Strings()
	if err != nil {
		return nil, err
	}
	r := make([]string, n)
	for i, k := range at {
		r[k] = v[i]
	}
	return r, nil
}

// linear is the place of each value in the dense tensor, in row-major order.
func linear(s *ir.SparseTensor) ([]int64, error) {
	x, err := ir.Elements[int64](s.Indices)
	if err != nil {
		return nil, err
	}
	dims := s.Dims
	if s.Indices.Rank() == 1 {
		dims = []int64{ir.NumElements(s.Dims)}
	}
	r := make([]int64, s.Values.Len())
	for i := range r {
		for j, d := range dims {
			k := x[i*len(dims)+j]
			if k < 0 || k >= d {
				return nil, fmt.Errorf("an index of a sparse tensor is %d where the dimension is %d", k, d)
			}
			r[i] = r[i]*d + k
		}
	}
	return r, nil
}
