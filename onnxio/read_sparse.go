package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// maxDense is the size up to which a sparse tensor is expanded.
const maxDense = 256 << 20

// sparse reads a SparseTensorProto. name is that of its values.
func (rd *reader) sparse(b []byte) (s *ir.SparseTensor, name string, err error) {
	s = &ir.SparseTensor{}
	for f, err := range wire.Fields(b) {
		if err == nil && f.Num == sparseDims {
			s.Dims, err = wire.Ints(s.Dims, f)
		}
		if err != nil {
			return nil, "", err
		}
	}
	parts := []struct {
		num wire.Num
		t   **ir.Tensor
	}{{sparseValues, &s.Values}, {sparseIndices, &s.Indices}}
	for _, p := range parts {
		body, ok := wire.Get(b, p.num)
		if !ok {
			return nil, "", wire.Errorf(b, "sparse tensor without values or indices")
		}
		if *p.t, err = rd.tensor(body); err != nil {
			return nil, "", err
		}
	}
	return s, s.Values.Name(), checkSparse(s)
}

// checkSparse compares the parts of s with each other, and the indices with the bounds if there are not too many.
func checkSparse(s *ir.SparseTensor) error {
	v, x := s.Values, s.Indices
	rank := int64(len(s.Dims))
	switch {
	case ir.NumElements(s.Dims) < 0 || rank == 0:
		return fmt.Errorf("sparse tensor %q has shape %v", v.Name(), brief(s.Dims))
	case v.Rank() != 1:
		return fmt.Errorf("the values of sparse tensor %q have rank %d, not 1", v.Name(), v.Rank())
	case x.DType() != ir.Int64:
		return fmt.Errorf("the indices of sparse tensor %q have type %s, not int64", v.Name(), x.DType())
	case x.Rank() == 1 && x.Shape()[0] == v.Len():
	case x.Rank() == 2 && x.Shape()[0] == v.Len() && x.Shape()[1] == rank:
	default:
		return fmt.Errorf("the indices of sparse tensor %q have shape %v", v.Name(), brief(x.Shape()))
	}
	if x.ByteLen() <= eagerCount {
		_, err := linear(s)
		return err
	}
	return nil
}

// linear is the place of each value in the dense tensor, in row-major order.
func linear(s *ir.SparseTensor) ([]int64, error) {
	x, err := ir.Elements[int64](s.Indices)
	if err != nil {
		return nil, err
	}
	n := ir.NumElements(s.Dims)
	bad := func(i int64) error {
		return fmt.Errorf("index %d of sparse tensor %q is outside its shape %v", i, s.Values.Name(), brief(s.Dims))
	}
	if s.Indices.Rank() == 1 {
		for _, i := range x {
			if i < 0 || i >= n {
				return nil, bad(i)
			}
		}
		return x, nil
	}
	r := make([]int64, s.Values.Len())
	for i := range r {
		for j, d := range s.Dims {
			k := x[i*len(s.Dims)+j]
			if k < 0 || k >= d {
				return nil, bad(k)
			}
			r[i] = r[i]*d + k
		}
	}
	return r, nil
}

// sparsePayload expands a sparse tensor.
type sparsePayload struct {
	*record
	s *ir.SparseTensor
}

// Uncached keeps the dense form from staying in memory.
func (sparsePayload) Uncached() {}

// Bytes is the dense form.
func (p sparsePayload) Bytes() ([]byte, error) {
	d := p.s.Values.DType()
	size := d.ByteLen(ir.NumElements(p.s.Dims))
	if d.Bits() < 8 {
		return nil, fmt.Errorf("sparse tensors of type %s are not expanded", d)
	}
	if size < 0 || size > maxDense {
		return nil, fmt.Errorf("sparse tensor %q of shape %v is too large to expand", p.s.Values.Name(), brief(p.s.Dims))
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

// Strings is the dense form of a tensor of strings.
func (p sparsePayload) Strings() ([]string, error) {
	n := ir.NumElements(p.s.Dims)
	if n > maxDense/16 {
		return nil, fmt.Errorf("sparse tensor %q of shape %v is too large to expand", p.s.Values.Name(), brief(p.s.Dims))
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

// sparseConst is the dense tensor that a sparse initializer stands for.
func (rd *reader) sparseConst(b []byte, s *ir.SparseTensor) *ir.Tensor {
	r := &record{src: rd.src, body: b, dtype: s.Values.DType(), count: ir.NumElements(s.Dims), form: formSparse}
	return ir.NewLazyTensor(r.dtype, s.Dims, sparsePayload{r, s})
}
