package weights

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

func TestCast(t *testing.T) {
	r, err := Cast(ir.TensorOf([]float32{1, -2, 65504, float32(math.Inf(1)), 1e-9}, 5), ir.Float16)
	require.NoError(t, err)
	v, err := Floats(r)
	require.NoError(t, err)
	assert.Equal(t, []float64{1, -2, 65504, math.Inf(1), 0}, v)
	back, err := Cast(r, ir.Float32)
	require.NoError(t, err)
	assert.Equal(t, ir.Float32, back.DType())
	same, err := Cast(r, ir.Float16)
	require.NoError(t, err)
	assert.Same(t, r, same)
	var unfit *Unfit
	for _, x := range []float32{70000, 1e-9} {
		_, err = Cast(ir.TensorOf([]float32{x}), ir.Float16)
		assert.True(t, errors.As(err, &unfit), "%v: %v", x, err)
	}
	_, err = Cast(ir.TensorOf([]float32{1e-30, 1e30}), ir.BFloat16)
	assert.NoError(t, err)
	large := make([]float32, 1<<20)
	large[1<<19] = 3
	r, err = Cast(ir.TensorOf(large, 1<<10, 1<<10), ir.Float16)
	require.NoError(t, err)
	assert.IsType(t, &cast{}, r.Payload())
	h, err := ir.Elements[uint16](r)
	require.NoError(t, err)
	assert.Equal(t, uint16(0x4200), h[1<<19])
	_, err = Cast(ir.TensorOf([]int32{1}), ir.Float16)
	assert.Error(t, err)
}
