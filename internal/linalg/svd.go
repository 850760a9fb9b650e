package linalg

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/par"
)

// SVDOptions say how a truncated decomposition is computed. The zero value is usable.
type SVDOptions struct {
	Oversample int // columns beyond the rank; 0: 10
	Power      int // power iterations; 0: 3, or 5 for a rank below a tenth of the smaller side; negative: none
	Seed       uint64
	Pool       *par.Pool // nil: one worker
}

// An SVD is U diag(S) Vᵀ with orthonormal columns in U (m by k) and V (n by k), the largest singular values first.
type SVD[T Float] struct {
	U, V Matrix[T]
	S    []float64
}

// exactLimit is the smaller side up to which the decomposition is computed from the eigenvalues of the whole Gram matrix: there
// sampling saves nothing.
const exactLimit = 96

// TruncatedSVD is the leading k singular triplets of a, 1 <= k <= min(rows, columns): by a randomized range finder with power
// iterations (Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 53(2), 2011, algorithms 4.4 and 5.1),
// bases kept orthonormal by CholeskyQR, and the small factor's Gram matrix in float64. Singular values below about 1e-8 of the
// largest are inexact. The error is *RankError or ErrNotFinite.
func TruncatedSVD[T Float](a Matrix[T], k int, o SVDOptions) (*SVD[T], error) {
	small := min(a.Rows, a.Cols)
	if k < 1 || k > small {
		return nil, &RankError{k, small}
	}
	if !Finite(a.Data) {
		return nil, ErrNotFinite
	}
	over := o.Oversample
	if over == 0 {
		over = 10
	}
	if small <= exactLimit || k+over >= small*3/4 {
		return gramSVD(a, k, o.Pool)
	}
	power := o.Power
	if power == 0 {
		power = 3
		if k*10 < small {
			power = 5
		}
	}
	l := min(k+over, small)
	q := Mul(a.View(), Gaussian[T](random(o.Seed), a.Cols, l).View(), o.Pool)
	z := New[T](a.Cols, l)
	if err := iterate(a, q, z, power, o.Pool); err != nil {
		return nil, err
	}
	if err := Orthonormalize(q, o.Pool); err != nil {
		return nil, err
	}
	mulInto(z, a.View().T(), q.View(), o.Pool) // a is about q zᵀ
	return project(q, z, k, o.Pool)
}

// wellConditioned is the condition up to which a basis can be multiplied again before it is made orthonormal: rounding then costs
// three of seven digits, in the directions that matter least, and the next iteration sets them right.
const wellConditioned = 1000

// iterate multiplies q by (a aᵀ - shift)^power and leaves it nearly orthonormal. The shift, half of the smallest eigenvalue that q
// holds, makes the others stand out more; it follows Feng, Yu, Xie, "Fast randomized SVD with dynamic shifts" (dashSVD, 2024).
// Where the singular values decay fast there is no need of it, and the basis is made orthonormal after each multiplication.
func iterate[T Float](a, q, z Matrix[T], power int, pool *par.Pool) error {
	c, err := orthonormalizeRoughly(q, pool)
	if err != nil {
		return err
	}
	size := Norm(a.Data)
	fast := math.Pow(c.spread(), 2) > wellConditioned || size < 1e-6 || size > 1e6
	shift := 0.0
	next := New[T](q.Rows, q.Cols)
	for range power {
		mulInto(z, a.View().T(), q.View(), pool)
		if fast {
			if _, err := orthonormalizeRoughly(z, pool); err != nil {
				return err
			}
			shift = 0
		}
		mulInto(next, a.View(), z.View(), pool)
		for i, v := range q.Data {
			next.Data[i] -= T(shift) * v
		}
		copy(q.Data, next.Data)
		if c, err = orthonormalizeRoughly(q, pool); err != nil {
			return err
		}
		if c.spread() > wellConditioned {
			fast = true
		}
		if !fast {
			if s := 0.9 * c.smallest(); s > shift {
				shift = (s + shift) / 2
			}
		}
	}
	return nil
}

// project is the leading k triplets of q zᵀ, where q has orthonormal columns.
func project[T Float](q, z Matrix[T], k int, pool *par.Pool) (*SVD[T], error) {
	values, vectors, err := SymEigen(Gram(z, pool))
	if err != nil {
		return nil, err
	}
	w := Convert[T](vectors.Head(k))
	r := &SVD[T]{U: Mul(q.View(), w.View(), pool), V: Mul(z.View(), w.View(), pool), S: make([]float64, k)}
	return r, r.normalizeV(values, pool)
}

// normalizeV takes the singular values out of V, whose columns are orthogonal.
func (r *SVD[T]) normalizeV(values []float64, pool *par.Pool) error {
	inverse := make([]float64, len(r.S))
	for i := range r.S {
		r.S[i] = math.Sqrt(max(values[i], 0))
		inverse[i] = 1
		if r.S[i] > 0 {
			inverse[i] = 1 / r.S[i]
		}
	}
	scaleColumns(r.V, inverse)
	if r.S[len(r.S)-1] > 1e-4*r.S[0] {
		return nil
	}
	// Short columns carry the rounding of the Gram matrix, and some have no direction of their own.
	return Orthonormalize(r.V, pool)
}

// gramSVD is the decomposition from the eigenvectors of the smaller Gram matrix.
func gramSVD[T Float](a Matrix[T], k int, pool *par.Pool) (*SVD[T], error) {
	if a.Rows > a.Cols {
		t, err := gramSVD(a.T(), k, pool)
		if err != nil {
			return nil, err
		}
		t.U, t.V = t.V, t.U
		return t, nil
	}
	values, vectors, err := SymEigen(OuterGram(a, pool))
	if err != nil {
		return nil, err
	}
	u := Convert[T](vectors.Head(k))
	r := &SVD[T]{U: u, V: Mul(a.View().T(), u.View(), pool), S: make([]float64, k)}
	return r, r.normalizeV(values, pool)
}

// SingularValues is all singular values of a, the largest first, as square roots of the eigenvalues of the smaller Gram matrix.
func SingularValues[T Float](a Matrix[T], pool *par.Pool) ([]float64, error) {
	if !Finite(a.Data) {
		return nil, ErrNotFinite
	}
	var g Matrix[float64]
	if a.Rows <= a.Cols {
		g = OuterGram(a, pool)
	} else {
		g = Gram(a, pool)
	}
	values, _, err := SymEigen(g)
	for i, v := range values {
		values[i] = math.Sqrt(max(v, 0))
	}
	return values, err
}
