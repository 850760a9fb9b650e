package decompose

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
)

type matrix = linalg.Matrix[float64]

// problem is what a factored weight matrix W of one group, columns by outputs, is fit to: minimise tr(WᵀHW) − 2 tr(WᵀG), with H the
// second moments of the centred input rows plus a ridge, and G their products with the centred targets. Without data H is the identity
// and G the weights.
type problem struct {
	h, g matrix
	full matrix // the minimiser without any bound on the rank
	// meanX and meanT are what was centred away; the bias is meanT − meanX W.
	meanX, meanT []float64
	channels     int // of the input; taps of a channel lie one after another
	pool         *par.Pool
	chol         *linalg.Cholesky
	identity     bool
	rows         int64
	weighed      matrix // scratch of weigh
	// cache holds the leading triplets of the matrix that a kind begins with, and most how many of them will be asked for.
	cache map[kind]*linalg.SVD[float64]
	most  map[kind]int
}

// leading is at least the first r singular triplets of a matrix, computed once for all ranks.
func (p *problem) leading(k kind, r int, seed uint64, of func() matrix) (*linalg.SVD[float64], error) {
	if d := p.cache[k]; d != nil && len(d.S) >= r {
		return d, nil
	}
	m := of()
	d, err := linalg.TruncatedSVD(m, min(max(r, p.most[k]), m.Rows, m.Cols), linalg.SVDOptions{Seed: seed, Pool: p.pool})
	if err != nil {
		return nil, err
	}
	if p.cache == nil {
		p.cache = map[kind]*linalg.SVD[float64]{}
	}
	p.cache[k] = d
	return d, nil
}

// newProblem centres normal equations, in which the last column of X is one, and adds lambda (in units of the mean of the diagonal)
// times the distance from the weights prior. The last row of prior is the bias.
func newProblem(h, g matrix, rows int64, prior matrix, lambda float64, channels int, pool *par.Pool) (*problem, error) {
	n, m := h.Rows-1, prior.Cols
	p := &problem{h: linalg.New[float64](n, n), g: linalg.New[float64](n, m), channels: channels, pool: pool, rows: rows}
	p.meanX, p.meanT = make([]float64, n), make([]float64, m)
	count := math.Max(float64(rows), 1)
	for i := range n {
		p.meanX[i] = h.Data[n*h.Cols+i] / count
	}
	for j := range m {
		p.meanT[j] = g.Data[n*m+j] / count
	}
	mean := 0.0
	for i := range n {
		for j := range n {
			p.h.Data[i*n+j] = h.Data[i*h.Cols+j] - count*p.meanX[i]*p.meanX[j]
		}
		mean += p.h.Data[i*n+i] / float64(n)
	}
	ridge := lambda*mean + 1e-12*mean + 1e-30
	for i := range n {
		p.h.Data[i*n+i] += ridge
		for j := range m {
			p.g.Data[i*m+j] = g.Data[i*m+j] - count*p.meanX[i]*p.meanT[j] + ridge*prior.Data[i*m+j]
		}
	}
	return p, p.solve()
}

// plain is the problem without data: the weights as they are, and the bias.
func plain(w matrix, channels int, pool *par.Pool) *problem {
	n := w.Rows - 1
	p := &problem{full: linalg.Of(n, w.Cols, w.Data[:n*w.Cols]), channels: channels, pool: pool, identity: true}
	p.meanX, p.meanT = make([]float64, n), append([]float64(nil), w.Row(n)...)
	p.g = p.full
	return p
}

func (p *problem) solve() error {
	for raise := 0.0; ; raise = math.Max(raise*100, 1e-10) {
		a := p.h.Clone()
		for i := range a.Rows {
			a.Data[i*a.Cols+i] *= 1 + raise
		}
		c, err := linalg.NewCholesky(a, p.pool)
		if err == linalg.ErrNotPositive && raise < 1 {
			continue
		}
		if err != nil {
			return err
		}
		p.chol = c
		p.full = p.g.Clone()
		c.Solve(p.full)
		return nil
	}
}

// weigh is H w, valid until the next call.
func (p *problem) weigh(w matrix) matrix {
	if p.identity {
		return w
	}
	if len(p.weighed.Data) != len(w.Data) {
		p.weighed = linalg.New[float64](w.Rows, w.Cols)
	}
	gemm.Gemm(p.weighed.View(), p.h.View(), w.View(), gemm.Options[float64]{Pool: p.pool})
	return p.weighed
}

// excess is how much worse w is than the best without a bound on the rank: ‖(w − full) H^½‖².
func (p *problem) excess(w matrix) float64 {
	d := w.Clone()
	for i, v := range p.full.Data {
		d.Data[i] -= v
	}
	return math.Max(dot(d.Data, p.weigh(d).Data), 0)
}

// power is ‖full H^½‖², what excess is held against.
func (p *problem) power() float64 { return dot(p.full.Data, p.weigh(p.full).Data) }

// withBias is w with the bias that goes with it as the last row.
func (p *problem) withBias(w matrix) matrix {
	r := linalg.New[float64](w.Rows+1, w.Cols)
	copy(r.Data, w.Data)
	bias := r.Row(w.Rows)
	copy(bias, p.meanT)
	for i := range w.Rows {
		for j, v := range w.Row(i) {
			bias[j] -= p.meanX[i] * v
		}
	}
	return r
}

// channelRoot is the Cholesky factor of the second moments of the input channels, summed over the taps of a window; nil without data.
func (p *problem) channelRoot() *linalg.Cholesky {
	if p.identity {
		return nil
	}
	c, n := p.channels, p.h.Rows
	taps := n / c
	s := linalg.New[float64](c, c)
	trace := 0.0
	for i := range c {
		for j := range c {
			for t := range taps {
				s.Data[i*c+j] += p.h.Data[(i*taps+t)*n+j*taps+t]
			}
		}
		trace += s.Data[i*c+i] / float64(c)
	}
	for i := range c {
		s.Data[i*c+i] += 1e-6*trace + 1e-30
	}
	r, err := linalg.NewCholesky(s, p.pool)
	if err != nil {
		return nil
	}
	return r
}

// scaled is the full solution with its input channels multiplied by the transposed root: a plain approximation of it weighs errors about
// as H does.
func (p *problem) scaled(root *linalg.Cholesky) matrix {
	if root == nil {
		return p.full.Clone()
	}
	wide := linalg.Of(p.channels, len(p.full.Data)/p.channels, p.full.Data)
	r := linalg.Mul(root.L.View().T(), wide.View(), p.pool)
	return linalg.Of(p.full.Rows, p.full.Cols, r.Data)
}

// unscale undoes scaled for a factor whose rows are channels times any number of taps.
func (p *problem) unscale(root *linalg.Cholesky, f matrix) {
	if root == nil {
		return
	}
	root.SolveUpper(linalg.Of(p.channels, len(f.Data)/p.channels, f.Data))
}

// fit improves the factors, block after block: the last one is the exact least-squares solution for the others, the others take steps
// of conjugate gradients. It never makes the error larger but for rounding.
func (p *problem) fit(f *factors, sweeps, steps int) error {
	if p.identity {
		return nil
	}
	if f.closed(p) { // the best there is
		return nil
	}
	for s := range sweeps {
		if err := p.last(f); err != nil {
			return err
		}
		for k := len(f.f) - 2; k >= 0; k-- {
			p.conjugate(f, k, steps)
		}
		_ = s
	}
	return p.last(f)
}

// last sets the last factor to the least-squares solution.
func (p *problem) last(f *factors) error {
	s := f.before()
	hs := linalg.Mul(p.h.View(), s.View(), p.pool)
	m := linalg.Mul(s.View().T(), hs.View(), p.pool)
	trace := 0.0
	for i := range m.Rows {
		trace += m.Data[i*m.Cols+i] / float64(m.Rows)
	}
	rhs := linalg.Mul(s.View().T(), p.g.View(), p.pool)
	for ridge := 1e-10; ; ridge *= 100 {
		a := m.Clone()
		for i := range a.Rows {
			a.Data[i*a.Cols+i] += ridge*trace + 1e-30
		}
		c, err := linalg.NewCholesky(a, p.pool)
		if err == linalg.ErrNotPositive && ridge < 1 {
			continue
		}
		if err != nil {
			return err
		}
		c.Solve(rhs)
		f.setLast(rhs)
		return nil
	}
}

// conjugate takes steps for factor k.
func (p *problem) conjugate(f *factors, k, steps int) {
	x := f.f[k]
	r := p.g.Clone()
	for i, v := range p.weigh(f.expand()).Data {
		r.Data[i] -= v
	}
	g := f.adjoint(k, r)
	d := g.Clone()
	rr := dot(g.Data, g.Data)
	first := rr
	for range steps {
		if rr <= 1e-12*first || rr == 0 {
			break
		}
		f.f[k] = d
		wide := f.expand()
		q := f.adjoint(k, p.weigh(wide))
		dq := dot(d.Data, q.Data)
		if !(dq > 0) {
			break
		}
		a := rr / dq
		for i := range x.Data {
			x.Data[i] += a * d.Data[i]
			g.Data[i] -= a * q.Data[i]
		}
		next := dot(g.Data, g.Data)
		b := next / rr
		rr = next
		for i, v := range g.Data {
			d.Data[i] = v + b*d.Data[i]
		}
	}
	f.f[k] = x
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// mulT is aᵀ b.
func mulT(a, b matrix, pool *par.Pool) matrix { return linalg.Mul(a.View().T(), b.View(), pool) }

// mulBy is a bᵀ.
func mulBy(a, b matrix, pool *par.Pool) matrix { return linalg.Mul(a.View(), b.View().T(), pool) }

func mul(a, b matrix, pool *par.Pool) matrix { return linalg.Mul(a.View(), b.View(), pool) }

// reshape sees the elements of m as another number of rows.
func reshape(m matrix, rows int) matrix { return linalg.Of(rows, len(m.Data)/rows, m.Data) }
