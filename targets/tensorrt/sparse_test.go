package tensorrt

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// TestZeros tells weights that sparse tensor cores take from those that are as sparse in other places, along either axis.
func TestZeros(t *testing.T) {
	for _, c := range []struct {
		name  string
		t     *ir.Tensor
		axis  int
		share float64
		legal bool
	}{
		{"rows", ir.TensorOf([]float32{1, 0, 2, 0, 0, 0, 3, 4}, 2, 4), 1, 0.5, true},
		{"three in a row", ir.TensorOf([]float32{1, 5, 2, 0, 0, 0, 0, 0}, 2, 4), 1, 0.625, false},
		{"columns of that", ir.TensorOf([]float32{1, 0, 5, 0, 2, 0, 0, 0}, 4, 2), 0, 0.625, false},
		{"columns", ir.TensorOf([]float32{1, 0, 5, 0, 0, 0, 0, 7}, 4, 2), 0, 0.625, true},
		{"minus zero", ir.TensorOf([]float32{1, float32(math.Copysign(0, -1)), 2, 0}, 1, 4), 1, 0.5, true},
		{"a rest", ir.TensorOf([]float32{1, 0, 2, 0, 3, 4}, 1, 6), 1, 1.0 / 3, true},
		{"a rest of three", ir.TensorOf([]float32{1, 0, 2, 0, 3, 4, 5}, 1, 7), 1, 2.0 / 7, false},
		{"int8", ir.TensorOf([]int8{-128, 0, 2, 0}, 1, 4), 1, 0.5, true},
		{"windows", ir.TensorOf([]float32{1, 2, 0, 3, 4, 0, 0, 0}, 1, 4, 2), 1, 0.5, true},
	} {
		share, legal, err := zeros(c.t, c.axis)
		require.NoError(t, err)
		assert.InDelta(t, c.share, share, 1e-9, c.name)
		assert.Equal(t, c.legal, legal, c.name)
	}
}
