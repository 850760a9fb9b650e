package linalg

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
)

// CPOptions say how a CP decomposition is computed. The zero value is usable.
type CPOptions struct {
	Sweeps    int     // at most so many; 0: 100
	Tolerance float64 // ends where a sweep lowers the relative error by less; 0: 1e-5; negative: never
	Starts    int     // random starts, of which the best goes on; 0: 3
	// Intensity bounds the sum of the squared norms of the components, in units of ‖x‖²; 0: 10. Components that grow without bound
	// and cancel each other (degeneracy) fit slightly better and are useless in float32 and quantized.
	Intensity float64
	Seed      uint64
	Pool      *par.Pool // nil: one worker
}

// A CP is a sum of rank-one tensors: x[i,j,...] = Σ_r Factors[0][i,r] Factors[1][j,r] ... . The norm of each component is
// spread evenly over its factors.
type CP struct {
	Factors []Matrix[float32]
	// RelError is ‖x − CP‖ / ‖x‖.
	RelError float64
	// Intensity is the sum of the squared norms of the components over ‖x‖².
	Intensity float64
	Sweeps    int
}

// CPALS decomposes x, of shape dims in row-major order with 2 to 5 dimensions, into rank components by alternating least
// squares (Kolda, Bader, "Tensor Decompositions and Applications", SIAM Review 51(3), 2009). The products of factors' Gram
// matrices are cached. The dimensions are split in two halves, so that a sweep multiplies x twice whatever the order (the dimension
// tree of Phan, Tichavský, Cichocki, "Fast Alternating LS Algorithms for High Order CANDECOMP/PARAFAC", 2013).
//
// It is kept from degenerating by a proximal term that draws each factor to its last value, and where the components still
// grow past the bound, by a penalty on the factors, whose minimum always exists (Lim, Comon, "Nonnegative approximations of
// nonnegative tensors", 2009), raised until they do not; compare Phan et al., "Stable Low-Rank Tensor Decomposition for
// Compression of Convolutional Neural Network", ECCV 2020. Errors are *RankError, for a rank above the number of elements over
// the largest dimension, and ErrNotFinite.
func CPALS(x []float32, dims []int, rank int, o CPOptions) (*CP, error) {
	size, largest := 1, 1
	for _, d := range dims {
		size *= d
		largest = max(largest, d)
	}
	if len(x) != size || len(dims) < 2 || size == 0 {
		panic(fmt.Sprintf("linalg: CP of %d elements with dimensions %v", len(x), dims))
	}
	if rank < 1 || rank > size/largest {
		return nil, &RankError{rank, size / largest}
	}
	if !Finite(x) {
		return nil, ErrNotFinite
	}
	o = o.withDefaults()
	norm := Norm(x)
	if norm == 0 {
		r := &CP{}
		for _, d := range dims {
			r.Factors = append(r.Factors, New[float32](d, rank))
		}
		return r, nil
	}
	if math.IsInf(norm, 1) {
		return nil, ErrNotFinite
	}
	a := newALS(x, dims, rank, norm, o)
	// The starts run for a few sweeps; the best of them goes on.
	warm := min(o.Sweeps, 8)
	var best *als
	for s := range o.Starts {
		b := a.start(o.Seed + uint64(s))
		if err := b.run(warm, o.Tolerance); err != nil {
			return nil, err
		}
		if best == nil || b.err < best.err {
			best = b
		}
	}
	if err := best.run(o.Sweeps-best.sweeps, o.Tolerance); err != nil {
		return nil, err
	}
	if err := best.correct(o); err != nil {
		return nil, err
	}
	return best.result(), nil
}

func (o CPOptions) withDefaults() CPOptions {
	if o.Sweeps == 0 {
		o.Sweeps = 100
	}
	if o.Tolerance == 0 {
		o.Tolerance = 1e-5
	}
	if o.Starts == 0 {
		o.Starts = 3
	}
	if o.Intensity == 0 {
		o.Intensity = 10
	}
	return o
}

// als is a decomposition in progress, of x scaled to norm 1.
type als struct {
	dims   []int
	rank   int
	split  int             // dimensions before it are the left half
	x, xt  Matrix[float32] // left by right, and transposed
	scale  float64
	pool   *par.Pool
	f      []Matrix[float32]
	gram   []Matrix[float64]
	mu     float64 // weight of the penalty on the factors
	err    float64
	sweeps int
	// Scratch of one sweep.
	part, tree [2]Matrix[float32]
}

func newALS(x []float32, dims []int, rank int, norm float64, o CPOptions) *als {
	a := &als{dims: dims, rank: rank, scale: norm, pool: o.Pool}
	best := math.MaxInt
	for s := 1; s < len(dims); s++ {
		if c := product(dims[:s]) + product(dims[s:]); c < best {
			best, a.split = c, s
		}
	}
	m, n := product(dims[:a.split]), product(dims[a.split:])
	scaled := make([]float32, len(x))
	for i, v := range x {
		scaled[i] = float32(float64(v) / norm)
	}
	a.x = Of(m, n, scaled)
	a.xt = New[float32](n, m)
	gemm.Transpose(a.xt.Data, scaled, m, n, m, n)
	a.part[0], a.part[1] = New[float32](m, rank), New[float32](n, rank)
	a.tree[0], a.tree[1] = New[float32](m, rank), New[float32](n, rank)
	return a
}

func product(d []int) int {
	p := 1
	for _, v := range d {
		p *= v
	}
	return p
}

// start is a copy with random factors.
func (a *als) start(seed uint64) *als {
	b := *a
	r := random(seed)
	b.f, b.gram = nil, nil
	for _, d := range a.dims {
		f := Gaussian[float32](r, d, a.rank)
		for i := range f.Data {
			f.Data[i] /= float32(math.Sqrt(float64(d)))
		}
		b.f, b.gram = append(b.f, f), append(b.gram, Gram(f, a.pool))
	}
	b.err = math.Inf(1)
	return &b
}

// run makes at most n sweeps.
func (a *als) run(n int, tolerance float64) error {
	for range n {
		before := a.err
		if err := a.sweep(); err != nil {
			return err
		}
		if before-a.err < tolerance && tolerance > 0 && !math.IsInf(before, 1) {
			break
		}
	}
	return nil
}

// sweep updates every factor once.
func (a *als) sweep() error {
	a.sweeps++
	for half := range 2 {
		lo, hi, x := 0, a.split, a.x
		if half == 1 {
			lo, hi, x = a.split, len(a.dims), a.xt
		}
		// x times the Khatri-Rao product of the other half: what every factor of this half needs.
		other := a.khatriRao(1-half, len(a.dims)-(hi-lo))
		mulInto(a.part[half], x.View(), other.View(), a.pool)
		for mode := lo; mode < hi; mode++ {
			m := a.contract(a.part[half], lo, hi, mode)
			if err := a.update(mode, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// khatriRao is the column-wise Kronecker product of the factors of a half: rows are those of the half's matrix.
func (a *als) khatriRao(half, n int) Matrix[float32] {
	lo := 0
	if half == 1 {
		lo = a.split
	}
	out := a.f[lo]
	for k := 1; k < n; k++ {
		g := a.f[lo+k]
		next := Of(out.Rows*g.Rows, a.rank, a.tree[half].Data[:out.Rows*g.Rows*a.rank])
		if k < n-1 {
			next = New[float32](out.Rows*g.Rows, a.rank)
		}
		for i := range out.Rows {
			for j := range g.Rows {
				gemm.Mul(next.Row(i*g.Rows+j), out.Row(i), g.Row(j))
			}
		}
		out = next
	}
	return out
}

// contract sums p, whose rows are the indices of dimensions lo..hi, over all of them but mode, weighted with their factors.
func (a *als) contract(p Matrix[float32], lo, hi, mode int) Matrix[float32] {
	if hi-lo == 1 {
		return p
	}
	rows := a.dims[lo:hi]
	for k := hi - 1; k > mode; k-- { // the last dimensions first: they are contiguous
		p = a.fold(p, product(rows[:k-lo]), a.f[k], 1)
	}
	for k := lo; k < mode; k++ {
		p = a.fold(p, 1, a.f[k], product(a.dims[k+1:mode+1]))
	}
	return p
}

// fold sums p, of rows [outer, f.Rows, inner], over the middle with the weights f.
func (a *als) fold(p Matrix[float32], outer int, f Matrix[float32], inner int) Matrix[float32] {
	out := New[float32](outer*inner, a.rank)
	t := make([]float32, a.rank)
	for i := range outer {
		for k := range f.Rows {
			w := f.Row(k)
			for j := range inner {
				o := out.Row(i*inner + j)
				gemm.Mul(t, p.Row((i*f.Rows+k)*inner+j), w)
				gemm.Add(o, o, t)
			}
		}
	}
	return out
}

// proximal weighs the pull of a factor to its last value.
const proximal = 1e-6

// update sets a factor to the minimiser with all others fixed: F (G + p) = M + p F, G the product of the others' Gram matrices.
func (a *als) update(mode int, m Matrix[float32]) error {
	r := a.rank
	g := New[float64](r, r)
	for i := range g.Data {
		g.Data[i] = 1
	}
	for k, o := range a.gram {
		if k != mode {
			for i, v := range o.Data {
				g.Data[i] *= v
			}
		}
	}
	mean := 0.0
	for i := range r {
		mean += g.Data[i*r+i] / float64(r)
	}
	f := a.f[mode]
	pull := proximal*mean + 1e-30
	var c *Cholesky
	for {
		h := g.Clone()
		for i := range r {
			h.Data[i*r+i] += pull + a.mu
		}
		var err error
		if c, err = NewCholesky(h, a.pool); err == nil {
			break
		} else if err == ErrNotFinite || pull > 1e30 {
			return ErrNotFinite
		}
		pull *= 100
	}
	// The step is solved for, not the factor: the rounding of M then counts in proportion to what is left to do.
	wide := Convert[float64](f)
	step := Mul(wide.View(), g.View(), a.pool)
	for i, v := range m.Data {
		step.Data[i] = float64(v) - step.Data[i] - a.mu*wide.Data[i]
	}
	st := step.T()
	c.Solve(st)
	step = st.T()
	next := New[float32](f.Rows, r)
	for i, v := range step.Data {
		next.Data[i] = float32(wide.Data[i] + v)
	}
	if !Finite(next.Data) {
		return ErrNotFinite
	}
	a.f[mode] = next
	a.gram[mode] = Gram(next, a.pool)
	if mode == len(a.dims)-1 {
		a.measure(m)
		a.balance()
	}
	return nil
}

// measure is the relative error: 1 − 2⟨x, y⟩ + ⟨y, y⟩ for the decomposition y, with ⟨x, y⟩ from the product that the last
// factor was made of.
func (a *als) measure(m Matrix[float32]) {
	inner := 0.0
	for i, v := range a.f[len(a.f)-1].Data {
		inner += float64(v) * float64(m.Data[i])
	}
	own := 0.0
	for i := range a.rank * a.rank {
		p := 1.0
		for _, g := range a.gram {
			p *= g.Data[i]
		}
		own += p
	}
	a.err = math.Sqrt(max(0, 1-2*inner+own))
}

// norms is the norm of each component.
func (a *als) norms() []float64 {
	n := make([]float64, a.rank)
	for i := range n {
		n[i] = 1
		for _, g := range a.gram {
			n[i] *= math.Sqrt(max(g.Data[i*a.rank+i], 0))
		}
	}
	return n
}

func (a *als) intensity() float64 {
	s := 0.0
	for _, v := range a.norms() {
		s += v * v
	}
	return s
}

// balance gives the factors of a component equal norms.
func (a *als) balance() {
	norms := a.norms()
	for k, f := range a.f {
		scale := make([]float64, a.rank)
		for i := range scale {
			scale[i] = 1
			if own := math.Sqrt(a.gram[k].Data[i*a.rank+i]); own > 0 {
				scale[i] = math.Pow(norms[i], 1/float64(len(a.f))) / own
			}
		}
		scaleColumns(f, scale)
		for i := range a.rank {
			for j := range a.rank {
				a.gram[k].Data[i*a.rank+j] *= scale[i] * scale[j]
			}
		}
	}
}

// correct brings the components back below the bound where they have grown past it.
func (a *als) correct(o CPOptions) error {
	for a.mu = 1e-6; a.intensity() > o.Intensity && a.mu < 1; a.mu *= 4 {
		a.err = math.Inf(1)
		if err := a.run(10, o.Tolerance); err != nil {
			return err
		}
	}
	a.mu = 0
	return nil
}

func (a *als) result() *CP {
	r := &CP{RelError: a.err, Intensity: a.intensity(), Sweeps: a.sweeps}
	each := make([]float64, a.rank)
	for i := range each {
		each[i] = math.Pow(a.scale, 1/float64(len(a.f)))
	}
	for _, f := range a.f {
		scaleColumns(f, each)
		r.Factors = append(r.Factors, f)
	}
	return r
}

// Tensor is the tensor that the decomposition stands for.
func (c *CP) Tensor() []float32 {
	n := len(c.Factors) - 1
	k := c.Factors[0]
	for _, g := range c.Factors[1:n] {
		next := New[float32](k.Rows*g.Rows, k.Cols)
		for i := range k.Rows {
			for j := range g.Rows {
				gemm.Mul(next.Row(i*g.Rows+j), k.Row(i), g.Row(j))
			}
		}
		k = next
	}
	return Mul(k.View(), c.Factors[n].View().T(), nil).Data
}
