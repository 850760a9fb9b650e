package weights

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

func TestScale(t *testing.T) {
	w := ir.TensorOf([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	r, err := Scale(w, []float64{1, 0, -0.5})
	require.NoError(t, err)
	v, err := ir.Elements[float32](r)
	require.NoError(t, err)
	assert.Equal(t, []float32{1, 2, 0, 0, -2.5, -3}, v)
	assert.Equal(t, w.Shape(), r.Shape())
	same, err := Scale(w, []float64{1, 1, 1})
	require.NoError(t, err)
	assert.Same(t, w, same)
	_, err = Scale(w, []float64{1, 2, 3, 4})
	assert.ErrorContains(t, err, "4 factors for a tensor of shape [3 2]")
	empty, err := Scale(ir.TensorOf([]float32{}, 2, 0), []float64{2, 3})
	require.NoError(t, err)
	assert.Zero(t, empty.Len())
}

func TestScaleAxis(t *testing.T) {
	w := ir.TensorOf([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2)
	for _, c := range []struct {
		axis int
		s    []float64
		want []float32
	}{
		{0, []float64{1, 2}, []float32{1, 2, 3, 4, 10, 12, 14, 16}},
		{1, []float64{1, 2}, []float32{1, 2, 6, 8, 5, 6, 14, 16}},
		{2, []float64{1, 2}, []float32{1, 4, 3, 8, 5, 12, 7, 16}},
		{2, []float64{3}, []float32{3, 6, 9, 12, 15, 18, 21, 24}},
	} {
		r, err := ScaleAxis(w, c.axis, c.s)
		require.NoError(t, err)
		v, err := ir.Elements[float32](r)
		require.NoError(t, err)
		assert.Equal(t, c.want, v, "axis %d", c.axis)
	}
	_, err := ScaleAxis(w, 0, []float64{1, 2, 3})
	assert.ErrorContains(t, err, "3 factors along axis 0 of a tensor of shape [2 2 2]")
	large := make([]float32, 3*(1<<15))
	for i := range large {
		large[i] = 1
	}
	r, err := ScaleAxis(ir.TensorOf(large, 1<<15, 3), 1, []float64{1, 2, 3}) // chunks end inside a round of factors
	require.NoError(t, err)
	v, err := ir.Elements[float32](r)
	require.NoError(t, err)
	for i, x := range v {
		require.Equal(t, float32(1+i%3), x, i)
	}
}

func TestScaleOfLargeTensorsIsNotHeld(t *testing.T) {
	v := make([]float32, 1<<19)
	for i := range v {
		v[i] = float32(i)
	}
	r, err := Scale(ir.TensorOf(v), []float64{2, 3})
	require.NoError(t, err)
	for range 2 {
		got, err := ir.Elements[float32](r)
		require.NoError(t, err)
		assert.Equal(t, float32(2*7), got[7])
		assert.Equal(t, float32(3*(1<<18+5)), got[1<<18+5])
	}
}

func TestUnfit(t *testing.T) {
	var unfit *Unfit
	half := ir.NewTensor(ir.Float16, []int64{2}, ir.AsBytes([]uint16{0x7800, 0x0001})) // 32768 and the least subnormal
	_, err := Scale(half, []float64{4, 1})
	assert.True(t, errors.As(err, &unfit), "%v", err)
	_, err = Scale(half, []float64{1, 0.3})
	assert.NoError(t, err, "what one small element loses does not count")
	_, err = Scale(ir.NewTensor(ir.Float16, []int64{1}, ir.AsBytes([]uint16{0x1403})), []float64{1.0 / 1024})
	assert.True(t, errors.As(err, &unfit), "all is lost to underflow: %v", err)
	_, err = Scale(ir.TensorOf([]float32{1, float32(math.NaN())}), []float64{2})
	assert.True(t, errors.As(err, &unfit))
	_, err = Round(ir.Float32, []int64{1}, []float64{1e39})
	assert.True(t, errors.As(err, &unfit))
	_, err = Scale(ir.TensorOf([]int32{1}), []float64{2})
	assert.ErrorContains(t, err, "where floats are needed")
	assert.False(t, errors.As(err, &unfit))
}

func TestRoundTrip(t *testing.T) {
	v := []float64{0, 1, -2.5, 0.125, math.Copysign(0, -1)}
	for _, d := range []ir.DType{ir.Float16, ir.BFloat16, ir.Float32, ir.Float64} {
		require.True(t, Supported(d))
		r, err := Round(d, []int64{5}, v)
		require.NoError(t, err)
		got, err := Floats(r)
		require.NoError(t, err)
		assert.Equal(t, v, got)
		assert.True(t, math.Signbit(got[4]))
	}
	assert.False(t, Supported(ir.Int8))
}
