package linalg

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
)

// TuckerOptions say how a Tucker-2 decomposition is computed. The zero value is usable.
type TuckerOptions struct {
	Sweeps    int     // at most so many; 0: 20
	Tolerance float64 // ends where a sweep lowers the relative error by less; 0: 1e-5; negative: never
	Seed      uint64
	Pool      *par.Pool // nil: one worker
}

// A Tucker2 is a decomposition in the first two of three dimensions: x[i,j,k] = Σ_ab U[i,a] V[j,b] Core[a,b,k], where U and V
// have orthonormal columns and Core is in row-major order.
type Tucker2 struct {
	U, V     Matrix[float32]
	Core     []float32
	RelError float64 // ‖x − decomposition‖ / ‖x‖
	Sweeps   int
}

// TuckerHOOI decomposes x of shape [m, n, k] in row-major order with ranks p <= m and q <= n by higher-order orthogonal
// iteration (De Lathauwer, De Moor, Vandewalle, SIAM J. Matrix Anal. Appl. 21(4), 2000). Instead of a singular value
// decomposition of an unfolding, a sweep does one step of subspace iteration from the last factor, which products alone compute;
// both converge together. x is laid out once as k matrices of m by n: no unfolding is copied. Errors are *RankError and
// ErrNotFinite.
func TuckerHOOI(x []float32, m, n, k, p, q int, o TuckerOptions) (*Tucker2, error) {
	if len(x) != m*n*k {
		panic(fmt.Sprintf("linalg: Tucker-2 of %d elements with dimensions %d, %d, %d", len(x), m, n, k))
	}
	if limit := min(m, n*k); p < 1 || p > limit {
		return nil, &RankError{p, limit}
	}
	if limit := min(n, m*k); q < 1 || q > limit {
		return nil, &RankError{q, limit}
	}
	norm := Norm(x)
	if !Finite(x) || math.IsInf(norm, 1) {
		return nil, ErrNotFinite
	}
	if o.Sweeps == 0 {
		o.Sweeps = 20
	}
	if o.Tolerance == 0 {
		o.Tolerance = 1e-5
	}
	h := &hooi{m: m, n: n, k: k, x: New[float32](k*m, n), pool: o.Pool}
	gemm.Transpose(h.x.Data, x, m*n, k, m*n, k)
	r := random(o.Seed)
	// Ranges of both unfoldings, sampled (Halko et al.): the other side is not reduced yet.
	v := Gaussian[float32](r, n, q)
	u := Gaussian[float32](r, m, p)
	if err := Orthonormalize(v, o.Pool); err != nil {
		return nil, err
	}
	if err := Orthonormalize(u, o.Pool); err != nil {
		return nil, err
	}
	t := &Tucker2{RelError: math.Inf(1)}
	for t.Sweeps < o.Sweeps {
		before := t.RelError
		var kept float64
		var err error
		if u, _, err = h.left(u, v); err != nil {
			return nil, err
		}
		if v, kept, err = h.right(u, v); err != nil {
			return nil, err
		}
		t.Sweeps++
		t.RelError = 0
		if norm > 0 {
			t.RelError = math.Sqrt(max(0, 1-kept/(norm*norm)))
		}
		if before-t.RelError < o.Tolerance && o.Tolerance > 0 && t.Sweeps > 2 {
			break
		}
	}
	t.U, t.V = u, v
	t.Core = h.core(u, v)
	if norm > 0 { // what the factors hold after the last step
		c := Norm(t.Core)
		t.RelError = math.Sqrt(max(0, 1-c*c/(norm*norm)))
	}
	return t, nil
}

// hooi holds the tensor as k matrices, one below the other.
type hooi struct {
	m, n, k int
	x       Matrix[float32]
	pool    *par.Pool
}

// slice is matrix i of the tensor.
func (h *hooi) slice(i int) gemm.View[float32] { return h.x.block(i*h.m, 0, h.m, h.n) }

// left is the next U: one step of subspace iteration with the Gram matrix of the first unfolding of the tensor reduced by V.
func (h *hooi) left(u, v Matrix[float32]) (Matrix[float32], float64, error) {
	y := Mul(h.x.View(), v.View(), h.pool) // x_k V, one below the other
	next := New[float32](u.Rows, u.Cols)
	kept := 0.0
	for range 2 { // two steps: they are cheap beside the product with x
		clear(next.Data)
		kept = 0
		for i := range h.k {
			s := y.block(i*h.m, 0, h.m, v.Cols)
			w := Mul(s.T(), u.View(), h.pool)
			kept += math.Pow(Norm(w.Data), 2)
			gemm.Gemm(next.View(), s, w.View(), gemm.Options[float32]{Accumulate: true, Pool: h.pool})
		}
		if err := Orthonormalize(next, h.pool); err != nil {
			return u, 0, err
		}
		u, next = next, New[float32](u.Rows, u.Cols)
	}
	return u, kept, nil
}

// right is the next V, and the squared norm that U and the V before keep.
func (h *hooi) right(u, v Matrix[float32]) (Matrix[float32], float64, error) {
	y := New[float32](h.k*u.Cols, h.n) // Uᵀ x_k, one below the other
	for i := range h.k {
		gemm.Gemm(Of(u.Cols, h.n, y.Data[i*u.Cols*h.n:(i+1)*u.Cols*h.n]).View(), u.View().T(), h.slice(i), gemm.Options[float32]{Pool: h.pool})
	}
	kept := 0.0
	for range 2 {
		w := Mul(y.View(), v.View(), h.pool)
		kept = math.Pow(Norm(w.Data), 2)
		next := Mul(y.View().T(), w.View(), h.pool)
		if err := Orthonormalize(next, h.pool); err != nil {
			return v, 0, err
		}
		v = next
	}
	return v, kept, nil
}

// core is the tensor reduced by U and V, in row-major order [p, q, k].
func (h *hooi) core(u, v Matrix[float32]) []float32 {
	y := Mul(h.x.View(), v.View(), h.pool)
	out := make([]float32, u.Cols*v.Cols*h.k)
	for i := range h.k {
		c := Mul(u.View().T(), y.block(i*h.m, 0, h.m, v.Cols), h.pool)
		for j, s := range c.Data {
			out[j*h.k+i] = s
		}
	}
	return out
}

// Tensor is the tensor that the decomposition stands for, [m, n, k] in row-major order.
func (t *Tucker2) Tensor() []float32 {
	p, q := t.U.Cols, t.V.Cols
	k := len(t.Core) / (p * q)
	left := Mul(t.U.View(), Of(p, q*k, t.Core).View(), nil) // m by q*k
	out := make([]float32, t.U.Rows*t.V.Rows*k)
	for i := range t.U.Rows {
		gemm.Gemm(gemm.RowMajor(out[i*t.V.Rows*k:(i+1)*t.V.Rows*k], t.V.Rows, k), t.V.View(), gemm.RowMajor(left.Row(i), q, k), gemm.Options[float32]{})
	}
	return out
}
