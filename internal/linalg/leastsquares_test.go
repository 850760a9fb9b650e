package linalg

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/par"
)

func residual(a Matrix[float64], b Matrix[float64]) float64 {
	d := 0.0
	for i := range a.Data {
		d = max(d, math.Abs(a.Data[i]-b.Data[i]))
	}
	return d
}

func TestCholesky(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 200} {
		r := random(uint64(n))
		x := Gaussian[float64](r, n+5, n)
		a := Gram(x, nil)
		c, err := NewCholesky(a, par.New(2))
		require.NoError(t, err)
		require.Less(t, residual(Mul(c.L.View(), c.L.View().T(), nil), a), 1e-11*float64(n)*Norm(a.Data))
		want := Gaussian[float64](r, n, 3)
		b := Mul(a.View(), want.View(), nil)
		c.Solve(b)
		require.Less(t, residual(b, want), 1e-5, "%d", n)
	}
}

func TestCholeskyRefuses(t *testing.T) {
	_, err := NewCholesky(New[float64](3, 3), nil)
	require.ErrorIs(t, err, ErrNotPositive)
	a := New[float64](2, 2)
	a.Data[0], a.Data[3] = math.NaN(), 1
	_, err = NewCholesky(a, nil)
	require.ErrorIs(t, err, ErrNotFinite)
	a.Data[0] = math.Inf(1)
	_, err = NewCholesky(a, nil)
	require.ErrorIs(t, err, ErrNotFinite)
	c, err := NewCholesky(New[float64](0, 0), nil)
	require.NoError(t, err)
	c.Solve(New[float64](0, 2))
}

// problem is rows of X with a column of ones at the end, and T = X w without noise.
func problem(rows, n, m int) (x, w, target Matrix[float64]) {
	r := random(7)
	x = Gaussian[float64](r, rows, n)
	for i := range rows {
		x.Row(i)[n-1] = 1
	}
	w = Gaussian[float64](r, n, m)
	return x, w, Mul(x.View(), w.View(), nil)
}

func TestLeastSquaresRecovers(t *testing.T) {
	x, w, target := problem(400, 150, 5)
	s := NewLeastSquares(150, 5, par.New(2))
	s.Add(x.block(0, 0, 250, 150), target.block(0, 0, 250, 5))
	s.Add(x.block(250, 0, 150, 150), target.block(250, 0, 150, 5))
	got, err := s.Solve(Ridge{Free: 1})
	require.NoError(t, err)
	require.Less(t, residual(got, w), 1e-8)
	require.Less(t, s.Error(got), 1e-9)
	require.EqualValues(t, 400, s.Rows)

	zero := s.Error(New[float64](150, 5))
	require.InEpsilon(t, Norm(target.Data)*Norm(target.Data), zero, 1e-12)

	two := NewLeastSquares(150, 5, nil)
	two.Add(x.View(), target.View())
	two.Join(s)
	require.EqualValues(t, 800, two.Rows)
	require.InEpsilon(t, 2*zero, two.Error(New[float64](150, 5)), 1e-12)
	again, err := two.Solve(Ridge{Free: 1})
	require.NoError(t, err)
	require.Less(t, residual(again, w), 1e-8)
}

func TestRidgeDrawsToThePrior(t *testing.T) {
	x, w, target := problem(300, 40, 2)
	s := NewLeastSquares(40, 2, nil)
	s.Add(x.View(), target.View())
	prior := New[float64](40, 2)
	for i := range prior.Data {
		prior.Data[i] = w.Data[i] + 1
	}
	got, err := s.Solve(Ridge{Lambda: 1e6, Prior: prior, Free: 1})
	require.NoError(t, err)
	for i := range 39 {
		require.InDelta(t, prior.Data[i*2], got.Data[i*2], 1e-3)
	}
	// The bias bears no penalty: it takes the mean of what is left.
	require.Greater(t, math.Abs(prior.Data[39*2]-got.Data[39*2]), 1e-2)
}

// TestSingular: two equal columns, and one that is always zero, whose weight stays where the prior has it.
func TestSingular(t *testing.T) {
	x, _, _ := problem(100, 10, 1)
	for i := range 100 {
		x.Row(i)[1] = x.Row(i)[0]
		x.Row(i)[2] = 0
	}
	w := New[float64](10, 1)
	for i := range w.Data {
		w.Data[i] = float64(i + 1)
	}
	s := NewLeastSquares(10, 1, nil)
	s.Add(x.View(), Mul(x.View(), w.View(), nil).View())
	got, err := s.Solve(Ridge{Prior: w, Free: 1})
	require.NoError(t, err)
	require.InDelta(t, 3, got.Data[2], 1e-6)
	require.InDelta(t, 3, got.Data[0]+got.Data[1], 1e-5)
	for i := 3; i < 10; i++ {
		require.InDelta(t, w.Data[i], got.Data[i], 1e-5)
	}
	empty := NewLeastSquares(10, 1, nil)
	got, err = empty.Solve(Ridge{Prior: w, Free: 1})
	require.NoError(t, err)
	require.InDelta(t, 4, got.Data[3], 1e-6)
}

func TestMasked(t *testing.T) {
	x, w, _ := problem(300, 90, 6)
	mask := make([]bool, len(w.Data))
	for i := range mask {
		mask[i] = i%2 == i/12%2
		if !mask[i] {
			w.Data[i] = 0
		}
	}
	s := NewLeastSquares(90, 6, par.New(2))
	s.Add(x.View(), Mul(x.View(), w.View(), nil).View())
	got, err := s.SolveMasked(Ridge{Free: 1}, mask, Matrix[float64]{})
	require.NoError(t, err)
	require.Less(t, residual(got, w), 1e-8)
	for i, ok := range mask {
		if !ok {
			require.Zero(t, got.Data[i])
		}
	}
}

// TestConjugate holds iterations against factorizations, with a prior, a ridge and a start.
func TestConjugate(t *testing.T) {
	x, w, target := problem(400, 90, 6)
	mask := make([]bool, len(w.Data))
	for i := range mask {
		mask[i] = i%3 != 1
	}
	s := NewLeastSquares(90, 6, par.New(2))
	s.Add(x.View(), target.View())
	for _, r := range []Ridge{{Free: 1}, {Lambda: 0.1, Free: 1}, {Lambda: 0.1, Prior: Gaussian[float64](random(3), 90, 6), Free: 1}} {
		want, err := s.solveMasked(r, mask)
		require.NoError(t, err)
		for _, start := range []Matrix[float64]{{}, want, Gaussian[float64](random(4), 90, 6)} {
			got, err := s.Conjugate(r, mask, start, ConjugateOptions{Iterations: 200, Tolerance: 1e-16})
			require.NoError(t, err)
			require.Less(t, residual(got, want), 1e-6)
			for i, ok := range mask {
				if !ok {
					require.Zero(t, got.Data[i])
				}
			}
		}
	}
	s.G.Data[3] = math.Inf(1)
	_, err := s.Conjugate(Ridge{}, mask, Matrix[float64]{}, ConjugateOptions{})
	require.ErrorIs(t, err, ErrNotFinite)
}

func TestInverse(t *testing.T) {
	a := Gram(Gaussian[float64](random(1), 300, 150), nil)
	c, err := NewCholesky(a, nil)
	require.NoError(t, err)
	inv := c.Inverse()
	require.Less(t, residual(Mul(a.View(), inv.View(), nil), identity(150)), 1e-9)
	for i, v := range c.InverseDiagonal() {
		require.InEpsilon(t, inv.Data[i*150+i], v, 1e-9)
	}
}

func TestNaN(t *testing.T) {
	x, _, target := problem(50, 10, 1)
	x.Data[13] = math.NaN()
	s := NewLeastSquares(10, 1, nil)
	s.Add(x.View(), target.View())
	_, err := s.Solve(Ridge{})
	require.ErrorIs(t, err, ErrNotFinite)
	_, err = s.SolveMasked(Ridge{}, make([]bool, 10), Matrix[float64]{})
	require.ErrorIs(t, err, ErrNotFinite)
}

func TestSameForAnyWorkers(t *testing.T) {
	x, _, target := problem(700, 300, 9)
	var first Matrix[float64]
	for i, workers := range []int{1, 2, 5} {
		s := NewLeastSquares(300, 9, par.New(workers))
		s.Add(x.View(), target.View())
		got, err := s.Solve(Ridge{Lambda: 1e-3, Free: 1})
		require.NoError(t, err)
		if i == 0 {
			first = got
		}
		require.Equal(t, first.Data, got.Data)
	}
}

func BenchmarkCholesky(b *testing.B) {
	a := Gram(Gaussian[float64](random(1), 600, 577), nil)
	for b.Loop() {
		if _, err := NewCholesky(a, nil); err != nil {
			b.Fatal(err)
		}
	}
}
