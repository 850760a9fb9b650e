package linalg

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/par"
)

func orthonormal[T Float](t *testing.T, q Matrix[T], tol float64) {
	t.Helper()
	g := Gram(q, nil)
	for i := range g.Rows {
		for j := range g.Cols {
			want := 0.0
			if i == j {
				want = 1
			}
			require.InDelta(t, want, g.Data[i*g.Cols+j], tol)
		}
	}
}

func TestOrthonormalize(t *testing.T) {
	r := random(3)
	for name, a := range map[string]Matrix[float64]{
		"random":    Gaussian[float64](r, 120, 40),
		"zero":      New[float64](30, 5),
		"square":    Gaussian[float64](r, 20, 20),
		"dependent": Mul(Gaussian[float64](r, 50, 3).View(), Gaussian[float64](r, 3, 10).View(), nil),
		"empty":     New[float64](5, 0),
	} {
		t.Run(name, func(t *testing.T) {
			q, rr, err := QR(a, nil)
			require.NoError(t, err)
			orthonormal(t, q, 1e-10)
			require.Less(t, residual(Mul(q.View(), rr.View(), nil), a), 1e-10)
			f, fr, err := QR(Convert[float32](a), par.New(2))
			require.NoError(t, err)
			orthonormal(t, f, 1e-5)
			require.Less(t, residual(Convert[float64](Mul(f.View(), fr.View(), nil)), a), 1e-4)
		})
	}
	// Columns of sizes from 1 down to 1e-9.
	a := Gaussian[float64](r, 100, 30)
	scale := make([]float64, 30)
	for i := range scale {
		scale[i] = math.Pow(10, -float64(i)*0.3)
	}
	scaleColumns(a, scale)
	q, _, err := QR(a, nil)
	require.NoError(t, err)
	orthonormal(t, q, 1e-10)
	a.Data[0] = math.NaN()
	_, _, err = QR(a, nil)
	require.ErrorIs(t, err, ErrNotFinite)
}

// withSpectrum is an m by n matrix with the singular values s.
func withSpectrum(t *testing.T, m, n int, s []float64) Matrix[float64] {
	r := random(11)
	u, v := Gaussian[float64](r, m, len(s)), Gaussian[float64](r, n, len(s))
	require.NoError(t, Orthonormalize(u, nil))
	require.NoError(t, Orthonormalize(v, nil))
	scaleColumns(u, s)
	return Mul(u.View(), v.View().T(), nil)
}

func (r *SVD[T]) product() Matrix[T] {
	u := r.U.Clone()
	scaleColumns(u, r.S)
	return Mul(u.View(), r.V.View().T(), nil)
}

func TestTruncatedSVDRecovers(t *testing.T) {
	s := make([]float64, 20)
	for i := range s {
		s[i] = 100 / float64(i+1)
	}
	for _, size := range [][2]int{{300, 200}, {200, 300}, {60, 500}, {40, 30}, {20, 20}, {500, 130}} {
		a := withSpectrum(t, size[0], size[1], s)
		d, err := TruncatedSVD(a, 20, SVDOptions{Pool: par.New(2)})
		require.NoError(t, err)
		for i, v := range s {
			require.InEpsilon(t, v, d.S[i], 1e-8, "%v %d", size, i)
		}
		orthonormal(t, d.U, 1e-8)
		orthonormal(t, d.V, 1e-6)
		require.Less(t, residual(d.product(), a), 1e-8)
		f, err := TruncatedSVD(Convert[float32](a), 20, SVDOptions{})
		require.NoError(t, err)
		orthonormal(t, f.U, 1e-4)
		orthonormal(t, f.V, 1e-4)
		require.Less(t, residual(Convert[float64](f.product()), a), 1e-3)
	}
}

func TestTruncatedSVDIllConditioned(t *testing.T) {
	s := make([]float64, 60)
	for i := range s {
		s[i] = math.Pow(10, -float64(i)*0.2)
	}
	a := withSpectrum(t, 300, 250, s)
	d, err := TruncatedSVD(a, 40, SVDOptions{})
	require.NoError(t, err)
	orthonormal(t, d.U, 1e-8)
	orthonormal(t, d.V, 1e-3)
	for i := range 30 {
		require.InEpsilon(t, s[i], d.S[i], 1e-3, "%d", i)
	}
	// The error is that of the best approximation.
	d, err = TruncatedSVD(a, 30, SVDOptions{})
	require.NoError(t, err)
	p := d.product()
	for i := range p.Data {
		p.Data[i] -= a.Data[i]
	}
	require.Less(t, Norm(p.Data), 1.05*Norm(s[30:]))
}

func TestTruncatedSVDEdges(t *testing.T) {
	z, err := TruncatedSVD(New[float32](200, 150), 5, SVDOptions{})
	require.NoError(t, err)
	require.Equal(t, make([]float64, 5), z.S)
	require.True(t, Finite(z.U.Data) && Finite(z.V.Data))
	orthonormal(t, z.V, 1e-5)
	var rank *RankError
	_, err = TruncatedSVD(New[float32](20, 15), 16, SVDOptions{})
	require.ErrorAs(t, err, &rank)
	require.EqualError(t, err, "rank 16 is not between 1 and 15")
	_, err = TruncatedSVD(New[float32](20, 15), 0, SVDOptions{})
	require.ErrorAs(t, err, &rank)
	bad := New[float32](200, 150)
	bad.Data[77] = float32(math.Inf(-1))
	_, err = TruncatedSVD(bad, 3, SVDOptions{})
	require.ErrorIs(t, err, ErrNotFinite)
	_, err = SingularValues(bad, nil)
	require.ErrorIs(t, err, ErrNotFinite)
}

func TestTruncatedSVDSameForAnyWorkers(t *testing.T) {
	a := Gaussian[float32](random(5), 400, 350)
	one, err := TruncatedSVD(a, 30, SVDOptions{Seed: 4})
	require.NoError(t, err)
	four, err := TruncatedSVD(a, 30, SVDOptions{Seed: 4, Pool: par.New(4)})
	require.NoError(t, err)
	require.Equal(t, one, four)
}

func BenchmarkTruncatedSVD(b *testing.B) {
	for _, m := range []int{1024, 4096} {
		a := Gaussian[float32](random(1), m, 1024)
		b.Run(map[int]string{1024: "1024", 4096: "4096"}[m], func(b *testing.B) {
			for b.Loop() {
				if _, err := TruncatedSVD(a, 128, SVDOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSymEigen(b *testing.B) {
	a := Gram(Gaussian[float64](random(1), 200, 138), nil)
	for b.Loop() {
		SymEigen(a)
	}
}

func BenchmarkOrthonormalizeOnce(b *testing.B) {
	a := Gaussian[float32](random(1), 1024, 138)
	for b.Loop() {
		_, _ = orthonormalizeOnce(a, nil)
	}
}
