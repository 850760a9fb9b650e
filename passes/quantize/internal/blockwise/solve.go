package blockwise

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// Stats is what calibration data say of the input of products.
type Stats struct {
	K    int
	Rows int64
	H    []float32 // [K, K]: the sum over rows x of the outer product of x with itself
	Abs  []float64 // [K]: the sum of |x|
}

// NewStats makes empty statistics of inputs of k elements.
func NewStats(k int) *Stats {
	return &Stats{K: k, H: make([]float32, k*k), Abs: make([]float64, k)}
}

// Add adds rows of K elements.
func (s *Stats) Add(x []float32, pool *par.Pool) error {
	if len(x)%s.K != 0 {
		return fmt.Errorf("%d elements are no rows of %d", len(x), s.K)
	}
	rows := len(x) / s.K
	if rows == 0 {
		return nil
	}
	for i, v := range x {
		if v-v != 0 {
			return fmt.Errorf("an input of a product is infinite or not a number")
		}
		s.Abs[i%s.K] += math.Abs(float64(v))
	}
	v := gemm.RowMajor(x, rows, s.K)
	gemm.Gemm(gemm.RowMajor(s.H, s.K, s.K), v.T(), v, gemm.Options[float32]{Accumulate: true, Pool: pool})
	s.Rows += int64(rows)
	return nil
}

// solution is a quantized weight in the order of outputs.
type solution struct {
	steps []uint8 // [n, k]
	grids []grid  // [n, blocks]
}

// gptq rounds the inputs of a weight one after the other and lets the later ones make up for the error (Frantar et al. 2022): with U
// the upper Cholesky factor of the inverse of H, the error of input i spreads over the inputs j > i as U[i,j] / U[i,i].
func gptq(m *matrix, spec Spec, s *Stats, pool *par.Pool) (*solution, error) {
	v, err := m.open()
	if err != nil {
		return nil, err
	}
	n, k := m.n, m.k
	u := inverseFactor(s, pool)
	w := make([]float32, n*k)
	pool.For(n, 8, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			v.read(r, 0, w[r*k:(r+1)*k])
		}
	})
	blocks := (k + spec.Block - 1) / spec.Block
	r := &solution{make([]uint8, n*k), make([]grid, n*blocks)}
	e := make([]float32, n*spec.Block)
	round := m.scaleRounding()
	weigh := make([]float32, k)
	for i := range weigh {
		weigh[i] = 1 / (u[i*k+i] * u[i*k+i])
	}
	for b := range blocks {
		from := b * spec.Block
		to := min(from+spec.Block, k)
		width := to - from
		pool.For(n, 8, func(_, lo, hi int) {
			for o := lo; o < hi; o++ {
				x := w[o*k+from : o*k+to]
				g := spec.choose(x, weigh[from:to], round)
				r.grids[o*blocks+b] = g
				spec.spread(x, g, r.steps[o*k+from:o*k+to], e[o*width:(o+1)*width], u[from*k+from:], k)
			}
		})
		if to < k {
			rest := gemm.View[float32]{Data: w[to:], Rows: n, Cols: k - to, RowStride: k, ColStride: 1}
			gemm.Gemm(rest, gemm.RowMajor(e, n, width), gemm.View[float32]{Data: u[from*k+to:], Rows: width, Cols: k - to, RowStride: k, ColStride: 1},
				gemm.Options[float32]{Accumulate: true, Pool: pool})
		}
	}
	return r, nil
}

// spread rounds the elements of a block in order. u is the block's square of the factor, with rows of stride elements. It leaves the
// negative errors in e.
func (s Spec) spread(x []float32, g grid, q []uint8, e, u []float32, stride int) {
	for i := range x {
		s.steps(x[i:i+1], g, q[i:i+1])
		d := (float32(int(q[i])-g.zero)*g.scale - x[i]) / u[i*stride+i]
		e[i] = d
		for j := i + 1; j < len(x); j++ {
			x[j] += d * u[i*stride+j]
		}
	}
}

// damping is the share of the mean of H's diagonal that is added to it, for what the samples do not span.
const damping = 0.01

// inverseFactor is the upper triangular U with U'U = inverse of (H + damping).
func inverseFactor(s *Stats, pool *par.Pool) []float32 {
	k := s.K
	mean := 0.0
	for i := range k {
		mean += float64(s.H[i*k+i])
	}
	mean /= float64(max(k, 1))
	if mean == 0 {
		mean = 1
	}
	// H = R R' with R upper triangular, from the last row up; U is the inverse of R.
	r := make([]float64, k*k)
	for j := k - 1; j >= 0; j-- {
		d := float64(s.H[j*k+j]) + damping*mean
		row := r[j*k : (j+1)*k]
		for _, x := range row[j+1:] {
			d -= x * x
		}
		d = math.Sqrt(math.Max(d, 1e-9*mean)) // not below zero for rounding
		row[j] = d
		pool.For(j, 64, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				t := float64(s.H[i*k+j])
				other := r[i*k : (i+1)*k]
				for p := j + 1; p < k; p++ {
					t -= other[p] * row[p]
				}
				other[j] = t / d
			}
		})
	}
	u := make([]float64, k*k)
	for i := k - 1; i >= 0; i-- {
		row := u[i*k : (i+1)*k]
		row[i] = 1
		pool.For(k-i, 256, func(_, lo, hi int) {
			lo, hi = i+lo, i+hi
			for p := i + 1; p < hi; p++ {
				f := r[i*k+p]
				for c := max(lo, p); c < hi; c++ {
					row[c] -= f * u[p*k+c]
				}
			}
			for c := lo; c < hi; c++ {
				row[c] /= r[i*k+i]
			}
		})
	}
	f := make([]float32, k*k)
	for i, x := range u {
		f[i] = float32(x)
	}
	return f
}

// loss is the sum over samples of the squared error of the outputs, for a solution of m.
func (s *Stats) loss(m *matrix, spec Spec, sol *solution, pool *par.Pool) (float64, error) {
	v, err := m.open()
	if err != nil {
		return 0, err
	}
	n, k := m.n, m.k
	blocks := (k + spec.Block - 1) / spec.Block
	d := make([]float32, n*k)
	pool.For(n, 8, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			x := d[r*k : (r+1)*k]
			v.read(r, 0, x)
			for i := range x {
				g := sol.grids[r*blocks+i/spec.Block]
				x[i] -= float32(int(sol.steps[r*k+i])-g.zero) * g.scale
				if m.factor != nil {
					x[i] /= m.factor[i] // the inputs are divided by it
				}
			}
		}
	})
	y := make([]float32, n*k)
	gemm.Gemm(gemm.RowMajor(y, n, k), gemm.RowMajor(d, n, k), gemm.RowMajor(s.H, k, k), gemm.Options[float32]{Pool: pool})
	sum := 0.0
	for i := range y {
		sum += float64(y[i]) * float64(d[i])
	}
	return sum, nil
}

// nearest rounds each block by itself.
func nearest(m *matrix, spec Spec, weigh []float32, pool *par.Pool) (*solution, error) {
	v, err := m.open()
	if err != nil {
		return nil, err
	}
	n, k := m.n, m.k
	blocks := (k + spec.Block - 1) / spec.Block
	r := &solution{make([]uint8, n*k), make([]grid, n*blocks)}
	round := m.scaleRounding()
	pool.For(n, 8, func(_, lo, hi int) {
		x := make([]float32, k)
		for o := lo; o < hi; o++ {
			v.read(o, 0, x)
			for b := range blocks {
				from, to := b*spec.Block, min((b+1)*spec.Block, k)
				var by []float32
				if weigh != nil {
					by = weigh[from:to]
				}
				g := spec.choose(x[from:to], by, round)
				r.grids[o*blocks+b] = g
				spec.steps(x[from:to], g, r.steps[o*k+from:o*k+to])
			}
		}
	})
	return r, nil
}

// input is what the products of t multiply, if all multiply the same; nil if t is a table, too, or they do not.
func (t *target) input() *ir.Value {
	var x *ir.Value
	for _, u := range t.uses {
		if u.gathers() || x != nil && u.node.Operand(0) != x || u.node.Int("transA", 0) != 0 {
			return nil
		}
		x = u.node.Operand(0)
	}
	if x == nil || x.Const() != nil || x.Graph() != x.Graph().Model().Main {
		return nil
	}
	return x
}
