package linalg

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
)

// A Cholesky is the factor L of a symmetric positive definite matrix L Lᵀ.
type Cholesky struct {
	// L is lower triangular; what is above the diagonal is zero.
	L Matrix[float64]
	// inverse holds the inverse of each block on the diagonal, so that solving is products only.
	inverse []Matrix[float64]
	pool    *par.Pool
}

// NewCholesky factors a, of which it reads the lower triangle: blocks of columns from left to right, each update a product
// (Golub and Van Loan, Matrix Computations, 4.2.6). The error is ErrNotFinite or ErrNotPositive.
func NewCholesky(a Matrix[float64], pool *par.Pool) (*Cholesky, error) {
	n := a.Rows
	if !Finite(a.Data) {
		return nil, ErrNotFinite
	}
	c := &Cholesky{L: New[float64](n, n), pool: pool}
	l := c.L
	for i := range n {
		copy(l.Data[i*n:i*n+i+1], a.Data[i*n:])
	}
	negative := make([]float64, n*panel)
	for k := 0; k < n; k += panel {
		b := min(panel, n-k)
		if !factorBlock(l, k, b) {
			return nil, ErrNotPositive
		}
		inv := invertBlock(l, k, b)
		c.inverse = append(c.inverse, inv)
		rest := n - k - b
		if rest == 0 {
			break
		}
		// The columns below the block: A21 L11⁻ᵀ.
		below := l.block(k+b, k, rest, b)
		x := Mul(below, inv.View().T(), pool)
		for i := range rest {
			copy(l.Data[(k+b+i)*n+k:][:b], x.Row(i))
		}
		for i, v := range x.Data {
			negative[i] = -v
		}
		minus := Of(rest, b, negative[:rest*b])
		for j := 0; j < rest; j += 2 * panel {
			m := min(2*panel, rest-j)
			gemm.Gemm(l.block(k+b+j, k+b+j, rest-j, m), minus.block(j, 0, rest-j, b), x.block(j, 0, m, b).T(),
				gemm.Options[float64]{Accumulate: true, Pool: pool})
		}
	}
	for i := range n { // what the products left above the diagonal
		clear(l.Data[i*n+i+1 : (i+1)*n])
	}
	return c, nil
}

// factorBlock factors the block of b rows on the diagonal at k.
func factorBlock(l Matrix[float64], k, b int) bool {
	for j := range b {
		rj := l.Data[(k+j)*l.Cols+k:][:b]
		d := rj[j]
		for _, v := range rj[:j] {
			d -= v * v
		}
		if !(d > 0) || math.IsInf(d, 1) {
			return false
		}
		d = math.Sqrt(d)
		rj[j] = d
		for i := j + 1; i < b; i++ {
			ri := l.Data[(k+i)*l.Cols+k:][:b]
			s := ri[j]
			for p, v := range rj[:j] {
				s -= ri[p] * v
			}
			ri[j] = s / d
		}
	}
	return true
}

// invertBlock is the inverse of the lower triangular block of b rows on the diagonal at k.
func invertBlock(l Matrix[float64], k, b int) Matrix[float64] {
	inv := New[float64](b, b)
	for i := range b {
		row := l.Data[(k+i)*l.Cols+k:][:b]
		out := inv.Row(i)
		out[i] = 1
		for p := range i {
			f := row[p]
			for j, v := range inv.Row(p)[:p+1] {
				out[j] -= f * v
			}
		}
		for j := range out[:i+1] {
			out[j] /= row[i]
		}
	}
	return inv
}

// SolveLower replaces b, n by any, with L⁻¹ b.
func (c *Cholesky) SolveLower(b Matrix[float64]) {
	for k := 0; k < b.Rows; k += panel {
		c.eliminate(b, k, c.L.block(k, 0, min(panel, b.Rows-k), k), 0, k, c.inverse[k/panel].View())
	}
}

// SolveUpper replaces b, n by any, with L⁻ᵀ b.
func (c *Cholesky) SolveUpper(b Matrix[float64]) {
	for k := (len(c.inverse) - 1) * panel; k >= 0; k -= panel {
		m := min(panel, b.Rows-k)
		c.eliminate(b, k, c.L.block(k+m, k, b.Rows-k-m, m).T(), k+m, b.Rows-k-m, c.inverse[k/panel].View().T())
	}
}

// eliminate replaces the rows of b from k on with inverse * (those rows - f * the n rows from at on).
func (c *Cholesky) eliminate(b Matrix[float64], k int, f gemm.View[float64], at, n int, inverse gemm.View[float64]) {
	m := inverse.Rows
	if b.Cols == 0 {
		return
	}
	if n > 0 {
		t := Mul(f, b.block(at, 0, n, b.Cols), c.pool)
		for i, v := range t.Data {
			b.Data[k*b.Cols+i] -= v
		}
	}
	copy(b.Data[k*b.Cols:], Mul(inverse, b.block(k, 0, m, b.Cols), c.pool).Data)
}

// Solve replaces b with the solution of L Lᵀ x = b.
func (c *Cholesky) Solve(b Matrix[float64]) {
	c.SolveLower(b)
	c.SolveUpper(b)
}

// Inverse is (L Lᵀ)⁻¹.
func (c *Cholesky) Inverse() Matrix[float64] {
	r := identity(c.L.Rows)
	c.Solve(r)
	return r
}

// InverseDiagonal is the diagonal of (L Lᵀ)⁻¹.
func (c *Cholesky) InverseDiagonal() []float64 {
	inv := identity(c.L.Rows)
	c.SolveLower(inv)
	r := make([]float64, inv.Cols)
	for i := range inv.Rows {
		for j, v := range inv.Row(i) {
			r[j] += v * v
		}
	}
	return r
}

func identity(n int) Matrix[float64] {
	r := New[float64](n, n)
	for i := range n {
		r.Data[i*n+i] = 1
	}
	return r
}
