package linalg

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/par"
)

// ofRank is a tensor of a CP rank, with factors of independent normal numbers.
func ofRank(dims []int, rank int) []float32 {
	r := random(2)
	c := &CP{}
	for _, d := range dims {
		c.Factors = append(c.Factors, Gaussian[float32](r, d, rank))
	}
	return c.Tensor()
}

func relative(x, y []float32) float64 {
	d := make([]float64, len(x))
	for i := range x {
		d[i] = float64(x[i]) - float64(y[i])
	}
	return Norm(d) / Norm(x)
}

func TestCPRecovers(t *testing.T) {
	for _, dims := range [][]int{{20, 15, 10}, {12, 10, 3, 3}, {6, 30, 20}, {3, 3, 20, 12}, {9, 8}} {
		x := ofRank(dims, 5)
		c, err := CPALS(x, dims, 5, CPOptions{Sweeps: 500, Tolerance: 1e-7, Starts: 5, Pool: par.New(2)})
		require.NoError(t, err)
		require.Less(t, relative(x, c.Tensor()), 1e-2, "%v", dims)
		require.InDelta(t, c.RelError, relative(x, c.Tensor()), 2e-3)
		require.Len(t, c.Factors, len(dims))
		for k, d := range dims {
			require.Equal(t, d, c.Factors[k].Rows)
		}
	}
}

// TestCPDegenerate: the sum a⊗a⊗b + a⊗b⊗a + b⊗a⊗a has rank 3 and is the limit of tensors of rank 2 whose components grow without
// bound (de Silva, Lim, 2008).
func TestCPDegenerate(t *testing.T) {
	const n = 6
	r := random(9)
	q := Gaussian[float64](r, n, 2)
	require.NoError(t, Orthonormalize(q, nil))
	a, b := func(i int) float64 { return q.Data[2*i] }, func(i int) float64 { return q.Data[2*i+1] }
	x := make([]float32, n*n*n)
	for i := range n {
		for j := range n {
			for k := range n {
				x[(i*n+j)*n+k] = float32(a(i)*a(j)*b(k) + a(i)*b(j)*a(k) + b(i)*a(j)*a(k))
			}
		}
	}
	c, err := CPALS(x, []int{n, n, n}, 2, CPOptions{Sweeps: 2000, Tolerance: -1})
	require.NoError(t, err)
	require.LessOrEqual(t, c.Intensity, 10.0)
	for _, f := range c.Factors {
		require.Less(t, Norm(f.Data), 10.0)
	}
	free, err := CPALS(x, []int{n, n, n}, 2, CPOptions{Sweeps: 2000, Tolerance: -1, Intensity: 1e9})
	require.NoError(t, err)
	require.Greater(t, free.Intensity, 20.0, "the case is no longer degenerate")
	require.Less(t, c.RelError, 0.6)
}

func TestCPEdges(t *testing.T) {
	c, err := CPALS(make([]float32, 60), []int{5, 4, 3}, 2, CPOptions{})
	require.NoError(t, err)
	require.Equal(t, make([]float32, 60), c.Tensor())
	_, err = CPALS(make([]float32, 60), []int{5, 4, 3}, 13, CPOptions{})
	require.EqualError(t, err, "rank 13 is not between 1 and 12")
	x := ofRank([]int{5, 4, 3}, 2)
	x[7] = float32(math.NaN())
	_, err = CPALS(x, []int{5, 4, 3}, 2, CPOptions{})
	require.ErrorIs(t, err, ErrNotFinite)
	// More components than the tensor has: the normal equations are singular.
	y := ofRank([]int{8, 7, 3}, 1)
	c, err = CPALS(y, []int{8, 7, 3}, 6, CPOptions{Sweeps: 500, Tolerance: 1e-7})
	require.NoError(t, err)
	require.Less(t, relative(y, c.Tensor()), 1e-2)
	// Sizes far from 1.
	for i := range y {
		y[i] *= 1e12
	}
	c, err = CPALS(y, []int{8, 7, 3}, 1, CPOptions{})
	require.NoError(t, err)
	require.Less(t, relative(y, c.Tensor()), 1e-3)
}

func TestCPSameForAnyWorkers(t *testing.T) {
	x := Gaussian[float32](random(5), 40*30, 9).Data
	dims := []int{40, 30, 3, 3}
	one, err := CPALS(x, dims, 16, CPOptions{Seed: 4, Sweeps: 20})
	require.NoError(t, err)
	four, err := CPALS(x, dims, 16, CPOptions{Seed: 4, Sweeps: 20, Pool: par.New(4)})
	require.NoError(t, err)
	require.Equal(t, one, four)
}

func BenchmarkCP(b *testing.B) {
	x := Gaussian[float32](random(1), 256*256, 9).Data
	for b.Loop() {
		if _, err := CPALS(x, []int{256, 256, 3, 3}, 64, CPOptions{Sweeps: 10, Tolerance: -1, Starts: 1}); err != nil {
			b.Fatal(err)
		}
	}
}
