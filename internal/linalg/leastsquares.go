package linalg

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
)

// LeastSquares gathers the normal equations of min ‖X w − T‖², row by row, so that X and T need never be held: memory is that of
// an n by n and an n by m matrix for n columns of X and m of T.
type LeastSquares struct {
	// H is XᵀX, of which only the upper triangle is kept up to date; Normal completes it.
	H Matrix[float64]
	// G is XᵀT.
	G Matrix[float64]
	// Squares holds the sum of squares of each column of T.
	Squares []float64
	// Rows counts the rows added.
	Rows int64
	pool *par.Pool
}

// NewLeastSquares begins normal equations for n unknowns and m right-hand sides.
func NewLeastSquares(n, m int, pool *par.Pool) *LeastSquares {
	return &LeastSquares{H: New[float64](n, n), G: New[float64](n, m), Squares: make([]float64, m), pool: pool}
}

// Add adds rows: x has n columns, t has m. Columns of t must be contiguous.
func (s *LeastSquares) Add(x, t gemm.View[float64]) {
	addGram(s.H, x, s.pool)
	gemm.Gemm(s.G.View(), x.T(), t, gemm.Options[float64]{Accumulate: true, Pool: s.pool})
	for i := range t.Rows {
		for j, v := range t.Data[i*t.RowStride:][:t.Cols] {
			s.Squares[j] += v * v
		}
	}
	s.Rows += int64(x.Rows)
}

// Join adds the rows of o, which is left as it is.
func (s *LeastSquares) Join(o *LeastSquares) {
	for _, p := range [][2][]float64{{s.H.Data, o.H.Data}, {s.G.Data, o.G.Data}, {s.Squares, o.Squares}} {
		for i, v := range p[1] {
			p[0][i] += v
		}
	}
	s.Rows += o.Rows
}

// Normal is H as a whole symmetric matrix, shared.
func (s *LeastSquares) Normal() Matrix[float64] {
	mirror(s.H)
	return s.H
}

// A Ridge is a penalty on the distance from known weights.
type Ridge struct {
	// Lambda weighs the penalty, in units of the mean of H's diagonal over the penalised unknowns.
	Lambda float64
	// Prior is what the unknowns are drawn to, n by m; an empty one is zero.
	Prior Matrix[float64]
	// Free is the number of unknowns at the end that bear no penalty, such as a bias.
	Free int
}

// penalty is what the ridge adds to the diagonal of H.
func (s *LeastSquares) penalty(r Ridge) []float64 {
	n := s.H.Rows
	mean := 0.0
	for i := range n - r.Free {
		mean += s.H.Data[i*n+i]
	}
	if n > r.Free {
		mean /= float64(n - r.Free)
	}
	// A column that is always zero leaves its weight where it was. The free ones get a trace, so that the system stays regular.
	floor := 1e-12*mean + 1e-30
	d := make([]float64, n)
	for i := range d {
		d[i] = r.Lambda*mean + floor
		if i >= n-r.Free {
			d[i] = 1e-12*s.H.Data[i*n+i] + 1e-30
		}
	}
	return d
}

// A Factored is the normal matrix with a penalty, factored once for any right-hand sides.
type Factored struct {
	chol    *Cholesky
	penalty []float64
}

// Factor factors the normal matrix with the ridge's penalty. Where rounding makes it singular the penalty is raised until it is not. The
// error is ErrNotFinite.
func (s *LeastSquares) Factor(r Ridge) (*Factored, error) {
	h := s.Normal()
	n := h.Rows
	for d := s.penalty(r); ; raise(d, r) {
		a := h.Clone()
		for i, v := range d {
			a.Data[i*n+i] += v
		}
		c, err := NewCholesky(a, s.pool)
		if err == ErrNotPositive && n > 0 && d[0] < math.MaxFloat64/1e4 {
			continue
		}
		return &Factored{c, d}, err
	}
}

// Solve is the minimiser for the right-hand sides g = XᵀT and the weights that the ridge draws to, which may be empty.
func (f *Factored) Solve(g, prior Matrix[float64]) (Matrix[float64], error) {
	b := g.Clone()
	if prior.Data != nil {
		for i, v := range f.penalty {
			to := b.Row(i)
			for j, w := range prior.Row(i) {
				to[j] += v * w
			}
		}
	}
	if !Finite(b.Data) {
		return b, ErrNotFinite
	}
	f.chol.Solve(b)
	if !Finite(b.Data) {
		return b, ErrNotFinite
	}
	return b, nil
}

// Solve is the minimiser of ‖X w − T‖² + penalty, n by m. Where rounding makes the system singular the penalty is raised until
// it is not. The error is ErrNotFinite.
func (s *LeastSquares) Solve(r Ridge) (Matrix[float64], error) {
	f, err := s.Factor(r)
	if err != nil {
		return Matrix[float64]{}, err
	}
	return f.Solve(s.G, r.Prior)
}

// raise makes the penalty a hundred times larger.
func raise(d []float64, r Ridge) {
	top := 1e-300
	for _, v := range d[:len(d)-r.Free] {
		top = max(top, v)
	}
	for i := range d {
		if i < len(d)-r.Free {
			d[i] = 100 * max(d[i], top)
		} else {
			d[i] = max(100*d[i], 1e-30)
		}
	}
}

// directCost is the number of multiply-accumulates up to which masked right-hand sides are solved by factorizations of their own.
const directCost = 2e7

// SolveMasked is Solve where mask, n by m in row-major order, says which unknowns may differ from zero: small problems exactly, right-hand sides
// with the same mask together; large ones by Conjugate from start, which may be empty.
func (s *LeastSquares) SolveMasked(r Ridge, mask []bool, start Matrix[float64]) (Matrix[float64], error) {
	set := 0
	for _, b := range mask {
		if b {
			set++
		}
	}
	if k := float64(set) / float64(max(s.G.Cols, 1)); k*k*k/3*float64(s.G.Cols) > directCost {
		return s.Conjugate(r, mask, start, ConjugateOptions{})
	}
	return s.solveMasked(r, mask)
}

func (s *LeastSquares) solveMasked(r Ridge, mask []bool) (Matrix[float64], error) {
	n, m := s.G.Rows, s.G.Cols
	h := s.Normal()
	out := New[float64](n, m)
	if !Finite(h.Data) || !Finite(s.G.Data) {
		return out, ErrNotFinite
	}
	groups := map[string][]int{}
	var order []string
	key := make([]byte, (n+7)/8)
	for j := range m {
		clear(key)
		for i := range n {
			if mask[i*m+j] {
				key[i/8] |= 1 << (i % 8)
			}
		}
		if groups[string(key)] == nil {
			order = append(order, string(key))
		}
		groups[string(key)] = append(groups[string(key)], j)
	}
	pen := s.penalty(r)
	fail := make([]error, len(order))
	s.pool.For(len(order), 1, func(_, lo, hi int) {
		for k := lo; k < hi; k++ {
			fail[k] = s.solveSome(out, h, pen, r, []byte(order[k]), groups[order[k]])
		}
	})
	for _, err := range fail {
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// solveSome solves the right-hand sides cols for the unknowns in the bit set.
func (s *LeastSquares) solveSome(out, h Matrix[float64], pen []float64, r Ridge, set []byte, cols []int) error {
	n := h.Rows
	var rows []int
	free := 0
	for i := range n {
		if set[i/8]>>(i%8)&1 != 0 {
			rows = append(rows, i)
			if i >= n-r.Free {
				free++
			}
		}
	}
	d := make([]float64, len(rows))
	for i, p := range rows {
		d[i] = pen[p]
	}
	for ; ; raise(d, Ridge{Free: free}) {
		a, b := New[float64](len(rows), len(rows)), New[float64](len(rows), len(cols))
		for i, p := range rows {
			for j, q := range rows[:i+1] {
				a.Data[i*a.Cols+j] = h.Data[p*n+q]
			}
			a.Data[i*a.Cols+i] += d[i]
			for j, q := range cols {
				b.Data[i*b.Cols+j] = s.G.Data[p*s.G.Cols+q]
				if r.Prior.Data != nil {
					b.Data[i*b.Cols+j] += d[i] * r.Prior.Data[p*r.Prior.Cols+q]
				}
			}
		}
		c, err := NewCholesky(a, nil)
		if err == ErrNotPositive && len(d) > 0 && d[0] < math.MaxFloat64/1e4 {
			continue
		}
		if err != nil {
			return err
		}
		c.Solve(b)
		if !Finite(b.Data) {
			return ErrNotFinite
		}
		for i, p := range rows {
			for j, q := range cols {
				out.Data[p*out.Cols+q] = b.Data[i*b.Cols+j]
			}
		}
		return nil
	}
}

// Error is ‖X w − T‖², summed over all rows and right-hand sides, computed from the normal equations. It is never negative.
func (s *LeastSquares) Error(w Matrix[float64]) float64 {
	h := s.Normal()
	hw := Mul(h.View(), w.View(), s.pool)
	e := 0.0
	for i, v := range w.Data {
		e += v * (hw.Data[i] - 2*s.G.Data[i])
	}
	for _, v := range s.Squares {
		e += v
	}
	return max(e, 0)
}
