package sparse_test

import (
	"testing"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/internal/sparse"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/require"
)

func TestDenseForm(t *testing.T) {
	want := []float32{0, 5, 0, 0, 0, 7}
	for _, indices := range []*ir.Tensor{
		ir.TensorOf([]int64{1, 5}),
		ir.TensorOf([]int64{0, 1, 1, 2}, 2, 2),
	} {
		s := &ir.SparseTensor{Values: ir.TensorOf([]float32{5, 7}), Indices: indices, Dims: []int64{2, 3}}
		d, err := sparse.Tensor(s)
		require.NoError(t, err)
		got, err := ir.Elements[float32](d)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Same(t, s, d.Payload().(keep.Sparse).Sparse())
	}
}

func TestStrings(t *testing.T) {
	s := &ir.SparseTensor{Values: ir.NewStringTensor([]int64{1}, []string{"x"}), Indices: ir.TensorOf([]int64{1}), Dims: []int64{3}}
	d, err := sparse.Tensor(s)
	require.NoError(t, err)
	got, err := d.Strings()
	require.NoError(t, err)
	require.Equal(t, []string{"", "x", ""}, got)
}

func TestContradictions(t *testing.T) {
	two, at := ir.TensorOf([]float32{5, 7}), ir.TensorOf([]int64{1, 5})
	for name, s := range map[string]*ir.SparseTensor{
		"no dimensions":    {Values: two, Indices: at},
		"values of rank 2": {Values: ir.TensorOf([]float32{1}, 1, 1), Indices: ir.TensorOf([]int64{1}), Dims: []int64{4}},
		"index type":       {Values: two, Indices: ir.TensorOf([]int32{1, 2}), Dims: []int64{4}},
		"count":            {Values: two, Indices: ir.TensorOf([]int64{1}), Dims: []int64{4}},
		"columns":          {Values: two, Indices: ir.TensorOf([]int64{1, 2}, 2, 1), Dims: []int64{4, 4}},
		"overflow":         {Values: two, Indices: at, Dims: []int64{1 << 40, 1 << 40}},
		"index outside":    {Values: two, Indices: at, Dims: []int64{5}},
		"negative index":   {Values: two, Indices: ir.TensorOf([]int64{-1, 0}), Dims: []int64{5}},
	} {
		_, err := sparse.Tensor(s)
		require.Error(t, err, name)
	}
	for name, s := range map[string]*ir.SparseTensor{
		"too large":          {Values: two, Indices: at, Dims: []int64{1 << 30}},
		"many, one outside":  {Values: ir.TensorOf(make([]float32, 5000)), Indices: ir.TensorOf(append(make([]int64, 4999), 9)), Dims: []int64{9}},
		"many, one negative": {Values: ir.TensorOf(make([]float32, 5000)), Indices: ir.TensorOf(append(make([]int64, 4999), -1)), Dims: []int64{9}},
	} {
		d, err := sparse.Tensor(s)
		require.NoError(t, err, name)
		_, err = d.Bytes()
		require.Error(t, err, name)
	}
}
