package same_test

import (
	"math"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/same"
	"github.com/stretchr/testify/require"
)

func TestTensors(t *testing.T) {
	zero, minus := ir.ScalarOf[float32](0), ir.ScalarOf(float32(math.Copysign(0, -1)))
	nan := ir.ScalarOf(float32(math.NaN()))
	large := make([]float32, 10_000)
	other := append([]float32(nil), large...)
	other[5001] = 1
	for _, k := range []struct {
		name string
		a, b *ir.Tensor
		want bool
	}{
		{"equal", ir.TensorOf([]int64{1, 2}), ir.TensorOf([]int64{1, 2}), true},
		{"another shape", ir.TensorOf([]int64{1, 2}), ir.TensorOf([]int64{1, 2}, 1, 2), false},
		{"a scalar and a vector", ir.ScalarOf[int64](1), ir.TensorOf([]int64{1}), false},
		{"another type", ir.TensorOf([]int32{1, 2}), ir.TensorOf([]uint32{1, 2}), false},
		{"zeros of both signs", zero, minus, false},
		{"NaN", nan, ir.ScalarOf(float32(math.NaN())), true},
		{"large", ir.TensorOf(large), ir.TensorOf(append([]float32(nil), large...)), true},
		{"large, one element differs", ir.TensorOf(large), ir.TensorOf(other), false},
		{"strings", ir.NewStringTensor([]int64{2}, []string{"ab", "c"}), ir.NewStringTensor([]int64{2}, []string{"ab", "c"}), true},
		{"strings cut elsewhere", ir.NewStringTensor([]int64{2}, []string{"ab", "c"}), ir.NewStringTensor([]int64{2}, []string{"a", "bc"}), false},
		{"empty", ir.TensorOf([]float32{}, 0, 3), ir.TensorOf([]float32{}, 0, 3), true},
		{"empty in another way", ir.TensorOf([]float32{}, 0, 3), ir.TensorOf([]float32{}, 3, 0), false},
	} {
		t.Run(k.name, func(t *testing.T) {
			require.Equal(t, k.want, same.Tensors(k.a, k.b))
			da, err := same.Digest(k.a)
			require.NoError(t, err)
			db, err := same.Digest(k.b)
			require.NoError(t, err)
			require.Equal(t, k.want, da == db)
			sa, err := same.Sample(k.a)
			require.NoError(t, err)
			sb, err := same.Sample(k.b)
			require.NoError(t, err)
			if k.want {
				require.Equal(t, sa, sb)
			}
		})
	}
}

func TestTensorThatCannotBeReadIsAnError(t *testing.T) {
	short := ir.NewTensor(ir.Float32, []int64{3}, make([]byte, 8))
	_, err := same.Sample(short)
	require.Error(t, err)
	_, err = same.Digest(short)
	require.Error(t, err)
	require.False(t, same.Tensors(short, ir.TensorOf([]float32{0, 0, 0})))
}

func TestAttrs(t *testing.T) {
	require.True(t, same.Attrs(ir.IntsAttr("a", []int64{1}), ir.IntsAttr("a", []int64{1})))
	require.False(t, same.Attrs(ir.IntsAttr("a", []int64{1}), ir.IntsAttr("b", []int64{1})))
	require.False(t, same.Attrs(ir.IntAttr("a", 1), ir.FloatAttr("a", 1)))
	require.False(t, same.Attrs(ir.FloatAttr("a", 0), ir.FloatAttr("a", float32(math.Copysign(0, -1)))))
	require.True(t, same.Attrs(ir.RefAttr("a", ir.AttrInt, "r"), ir.RefAttr("a", ir.AttrInt, "r")))
	require.False(t, same.Attrs(ir.RefAttr("a", ir.AttrInt, "r"), ir.RefAttr("a", ir.AttrInt, "s")))
	require.False(t, same.Attrs(ir.RefAttr("a", ir.AttrInt, "r"), ir.IntAttr("a", 0)))
	require.True(t, same.Attrs(ir.TensorAttr("a", ir.ScalarOf[int64](1)), ir.TensorAttr("a", ir.ScalarOf[int64](1))))
	s := &ir.SparseTensor{}
	require.False(t, same.Attrs(ir.SparseAttr("a", s), ir.SparseAttr("a", &ir.SparseTensor{})))
}
