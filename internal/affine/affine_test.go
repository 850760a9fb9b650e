package affine_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/weights"
)

func TestPerChannel(t *testing.T) {
	for _, c := range []struct {
		shape    []int64
		channels int64
		rank     int
		want     bool
	}{
		{nil, 3, -1, true},
		{nil, 0, 4, false},
		{[]int64{1}, 3, -1, false},
		{[]int64{1}, 3, 4, true},
		{[]int64{3, 1, 1}, 3, 4, true},
		{[]int64{3}, 3, 2, true},
		{[]int64{3}, 3, 4, false},             // along the last axis
		{[]int64{2, 3, 1, 1}, 3, 4, false},    // for each image, too
		{[]int64{1, 1, 3, 1, 1}, 3, 4, false}, // adds an axis
		{[]int64{3, 1, 2}, 3, 4, false},
		{[]int64{1, 0, 1, 1}, 3, 4, false},
	} {
		require.Equal(t, c.want, affine.PerChannel(c.shape, c.channels, c.rank), "%v of %d channels, rank %d", c.shape, c.channels, c.rank)
	}
}

// TestAffine compares the scale and shift with the definition of batch normalization.
func TestAffine(t *testing.T) {
	p := &affine.Norm{Scale: []float64{2, -1}, Bias: []float64{0.5, 3}, Mean: []float64{1, -4}, Var: []float64{4, 0.25}}
	scale, shift := p.Affine()
	for i := range scale {
		for _, x := range []float64{0, 1, -7.5} {
			want := (x-p.Mean[i])*p.Scale[i]/math.Sqrt(p.Var[i]) + p.Bias[i]
			require.InDelta(t, want, x*scale[i]+shift[i], 1e-12)
		}
	}
}

func TestIsRefusal(t *testing.T) {
	require.True(t, affine.IsRefusal(affine.Refuse("no constant")))
	require.True(t, affine.IsRefusal(fmt.Errorf("scale: %w", &weights.Unfit{Why: "too large"})))
	require.False(t, affine.IsRefusal(errors.New("the file ends early")))
}
