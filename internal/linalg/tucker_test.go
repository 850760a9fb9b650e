package linalg

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/par"
)

func TestTuckerRecovers(t *testing.T) {
	r := random(6)
	for _, d := range [][5]int{{40, 30, 9, 7, 5}, {5, 60, 9, 3, 10}, {16, 16, 1, 4, 4}, {8, 8, 9, 8, 8}} {
		m, n, k, p, q := d[0], d[1], d[2], d[3], d[4]
		x := (&Tucker2{U: Gaussian[float32](r, m, p), V: Gaussian[float32](r, n, q), Core: Gaussian[float32](r, p*q, k).Data}).Tensor()
		c, err := TuckerHOOI(x, m, n, k, p, q, TuckerOptions{Pool: par.New(2)})
		require.NoError(t, err)
		require.Less(t, relative(x, c.Tensor()), 1e-4, "%v", d)
		require.Less(t, c.RelError, 2e-3)
		orthonormal(t, c.U, 1e-5)
		orthonormal(t, c.V, 1e-5)
	}
}

// TestTuckerIsNoWorseThanHOSVD: what the truncated higher-order decomposition keeps is a lower bound.
func TestTuckerIsNoWorseThanHOSVD(t *testing.T) {
	x := Gaussian[float32](random(8), 48*40, 9).Data
	for i := range x { // a decaying spectrum
		x[i] *= float32(math.Exp(-float64(i/(40*9)) / 10))
	}
	c, err := TuckerHOOI(x, 48, 40, 9, 12, 12, TuckerOptions{})
	require.NoError(t, err)
	u, err := TruncatedSVD(Of(48, 360, x), 12, SVDOptions{})
	require.NoError(t, err)
	h := &hooi{m: 48, n: 40, k: 9, x: New[float32](9*48, 40)}
	side := New[float32](40, 48*9)
	for i := range 48 {
		for j := range 40 {
			for k := range 9 {
				side.Data[j*48*9+i*9+k] = x[(i*40+j)*9+k]
				h.x.Data[(k*48+i)*40+j] = x[(i*40+j)*9+k]
			}
		}
	}
	v, err := TruncatedSVD(side, 12, SVDOptions{})
	require.NoError(t, err)
	hosvd := Norm(h.core(u.U, v.U)) / Norm(x)
	require.LessOrEqual(t, c.RelError, math.Sqrt(1-hosvd*hosvd)+1e-4)
	require.InDelta(t, c.RelError, relative(x, c.Tensor()), 1e-5)
}

func TestTuckerEdges(t *testing.T) {
	c, err := TuckerHOOI(make([]float32, 60), 5, 4, 3, 2, 2, TuckerOptions{})
	require.NoError(t, err)
	require.Equal(t, make([]float32, 60), c.Tensor())
	_, err = TuckerHOOI(make([]float32, 60), 5, 4, 3, 6, 2, TuckerOptions{})
	require.EqualError(t, err, "rank 6 is not between 1 and 5")
	_, err = TuckerHOOI(make([]float32, 60), 5, 4, 3, 2, 5, TuckerOptions{})
	require.EqualError(t, err, "rank 5 is not between 1 and 4")
	x := make([]float32, 60)
	x[3] = float32(math.NaN())
	_, err = TuckerHOOI(x, 5, 4, 3, 2, 2, TuckerOptions{})
	require.ErrorIs(t, err, ErrNotFinite)
}

// TestVBMF: the rank of a matrix behind noise, and none of noise alone.
func TestVBMF(t *testing.T) {
	r := random(12)
	for _, d := range [][3]int{{80, 200, 6}, {200, 80, 10}, {100, 100, 3}, {60, 400, 0}} {
		a := New[float64](d[0], d[1])
		if d[2] > 0 {
			a = Mul(Gaussian[float64](r, d[0], d[2]).View(), Gaussian[float64](r, d[2], d[1]).View(), nil)
		}
		for i := range a.Data {
			a.Data[i] += 0.3 * r.NormFloat64()
		}
		s, err := SingularValues(a, nil)
		require.NoError(t, err)
		require.Equal(t, d[2], VBMFRank(s, d[0], d[1]), "%v", d)
	}
	require.Zero(t, VBMFRank(nil, 0, 0))
	require.Zero(t, VBMFRank(make([]float64, 5), 5, 9))
	require.Zero(t, VBMFRank([]float64{math.NaN(), 1}, 2, 2))
}

func BenchmarkTucker(b *testing.B) {
	x := Gaussian[float32](random(1), 256*256, 9).Data
	for b.Loop() {
		if _, err := TuckerHOOI(x, 256, 256, 9, 64, 64, TuckerOptions{Sweeps: 10, Tolerance: -1}); err != nil {
			b.Fatal(err)
		}
	}
}
