package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/sparse"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

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
	if err := sparse.Check(s); err != nil {
		return nil, "", fmt.Errorf("sparse tensor %q: %w", s.Values.Name(), err)
	}
	return s, s.Values.Name(), nil
}

// sparseConst is the dense tensor that a sparse initializer stands for; b is its message.
func sparseConst(b []byte, s *ir.SparseTensor) *ir.Tensor {
	t, err := sparse.Tensor(s)
	if err != nil {
		panic(err) // it was checked when s was read
	}
	return ir.NewLazyTensor(t.DType(), t.Shape(), sparsePayload{t.Payload(), s, b})
}

// sparsePayload is the dense form of a sparse initializer, and its source.
type sparsePayload struct {
	ir.Payload
	s    *ir.SparseTensor
	body []byte
}

// Sparse makes the payload a keep.Sparse.
func (p sparsePayload) Sparse() *ir.SparseTensor { return p.s }

// Uncached keeps the dense form from staying in memory.
func (sparsePayload) Uncached() {}
