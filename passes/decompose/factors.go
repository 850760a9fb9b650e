package decompose

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
)

// kind is a way to write the weights of a layer, W[c, y, x, o] over input channels, window and outputs, as a product.
type kind uint8

const (
	// svd: W[(c,y,x), o] = A[(c,y,x), r] B[r, o].
	svd kind = iota
	// spatialSVD: W[(c,y), (x,o)] = A[(c,y), r] B[r, (x,o)].
	spatialSVD
	// tucker: W[c, (y,x), o] = V[c, q] K[q, (y,x), p] U[p, o].
	tucker
	// cp: W[c, y, x, o] = Σ A[c,r] B[y,r] D[x,r] E[o,r].
	cp
)

var kindNames = [...]string{svd: "svd", spatialSVD: "spatial-svd", tucker: "tucker", cp: "cp"}

func (k kind) String() string { return kindNames[k] }

// size is a layer's sizes: input channels of a group, height and width of the window, outputs of a group.
type size struct{ c, h, w, o int }

func (s size) columns() int { return s.c * s.h * s.w }

// rank is one rank, or two for tucker: of the input and of the output.
type rank struct{ r, p int }

// factors is a factored weight matrix of one group.
type factors struct {
	kind kind
	size size
	rank rank
	f    []matrix
	pool *par.Pool
}

// expand is the weights that the factors stand for, columns by outputs.
func (f *factors) expand() matrix {
	switch f.kind {
	case svd, spatialSVD:
		return reshape(mul(f.f[0], f.f[1], f.pool), f.size.columns())
	case tucker:
		return mul(f.before(), f.f[2], f.pool)
	}
	return mulBy(f.before(), f.f[3], f.pool)
}

// before is all factors but the last as a matrix of columns by the rows that the last one takes (see setLast).
func (f *factors) before() matrix {
	s := f.size
	switch f.kind {
	case svd:
		return f.f[0]
	case spatialSVD: // (c,y,x) by (r,x')
		r := f.rank.r
		m := linalg.New[float64](s.columns(), r*s.w)
		for i := range s.c * s.h {
			for x := range s.w {
				row := m.Row(i*s.w + x)
				for k, v := range f.f[0].Row(i) {
					row[k*s.w+x] = v
				}
			}
		}
		return m
	case tucker:
		return reshape(mul(f.f[0], f.f[1], f.pool), s.columns())
	}
	return khatriRao(khatriRao(f.f[0], f.f[1]), f.f[2])
}

// setLast takes the last factor as a matrix of the columns of before by outputs.
func (f *factors) setLast(m matrix) {
	switch f.kind {
	case spatialSVD:
		f.f[1] = reshape(m, f.rank.r)
	case cp:
		f.f[3] = m.T()
	default:
		f.f[len(f.f)-1] = m
	}
}

// adjoint is the derivative of ⟨expand, r⟩ with respect to factor k.
func (f *factors) adjoint(k int, r matrix) matrix {
	s := f.size
	switch f.kind {
	case svd, spatialSVD:
		r = reshape(r, f.f[0].Rows)
		if k == 0 {
			return mulBy(r, f.f[1], f.pool)
		}
		return mulT(f.f[0], r, f.pool)
	case tucker:
		if k == 2 {
			return mulT(f.before(), r, f.pool)
		}
		inner := reshape(mulBy(r, f.f[2], f.pool), s.c) // c by (y,x,p)
		if k == 1 {
			return mulT(f.f[0], inner, f.pool)
		}
		return mulBy(inner, f.f[1], f.pool)
	}
	if k == 3 {
		return mulT(r, f.before(), f.pool)
	}
	m := mul(r, f.f[3], f.pool) // (c,y,x) by r
	out := linalg.New[float64](f.f[k].Rows, f.f[k].Cols)
	for c := range s.c {
		for y := range s.h {
			for x := range s.w {
				at := [3]int{c, y, x}
				a, b := f.f[(k+1)%3].Row(at[(k+1)%3]), f.f[(k+2)%3].Row(at[(k+2)%3])
				to := out.Row(at[k])
				for i, v := range m.Row((c*s.h+y)*s.w + x) {
					to[i] += v * a[i] * b[i]
				}
			}
		}
	}
	return out
}

// khatriRao is the column-wise Kronecker product.
func khatriRao(a, b matrix) matrix {
	r := linalg.New[float64](a.Rows*b.Rows, a.Cols)
	for i := range a.Rows {
		for j := range b.Rows {
			to := r.Row(i*b.Rows + j)
			for k, v := range a.Row(i) {
				to[k] = v * b.Row(j)[k]
			}
		}
	}
	return r
}

// closed sets the factors to the optimum where there is a formula: reduced-rank regression (Izenman, 1975) for svd. The full solution is
// projected on the leading right singular vectors of L⁻¹G, H = L Lᵀ.
func (f *factors) closed(p *problem) bool {
	if f.kind != svd || p.identity {
		return false
	}
	d, err := p.leading(svd, f.rank.r, 1, func() matrix {
		b := p.g.Clone()
		p.chol.SolveLower(b)
		return b
	})
	if err != nil {
		return false
	}
	v := d.V.Head(f.rank.r)
	f.f = []matrix{mul(p.full, v, p.pool), v.T()}
	return true
}

// begin makes factors of the given rank that approximate the problem's full solution with its input channels weighed by their second
// moments. Seed is that of the random starts. In haste, what is iterated without data takes few sweeps; with data, which fit it further, it does not.
func begin(k kind, s size, r rank, p *problem, seed uint64, haste bool) (*factors, error) {
	f := &factors{kind: k, size: s, rank: r, pool: p.pool}
	if k == svd && f.closed(p) {
		return f, nil
	}
	root := p.channelRoot()
	var err error
	switch k {
	case svd, spatialSVD:
		rows := s.columns()
		if k == spatialSVD {
			rows = s.c * s.h
		}
		d, e := p.leading(k, r.r, seed, func() matrix { return reshape(p.scaled(root), rows) })
		if e != nil {
			return nil, e
		}
		scale := make([]float64, r.r)
		for j := range scale {
			scale[j] = math.Sqrt(d.S[j])
		}
		f.f = []matrix{times(d.U.Head(r.r), scale), times(d.V.Head(r.r), scale).T()}
	case tucker:
		o := linalg.TuckerOptions{Seed: seed, Tolerance: 1e-4, Pool: f.pool}
		if haste && p.identity {
			o.Sweeps = 3
		}
		err = f.beginTucker(p.scaled(root), o)
	case cp:
		o := linalg.CPOptions{Seed: seed, Sweeps: 40, Tolerance: 1e-4, Starts: 2, Pool: f.pool}
		if haste && p.identity {
			o.Sweeps, o.Starts = 12, 1
		}
		err = f.beginCP(p.scaled(root), o)
	}
	if err != nil {
		return nil, err
	}
	p.unscale(root, f.f[0])
	return f, nil
}

// times multiplies the columns of m.
func times(m matrix, f []float64) matrix {
	for i := range m.Rows {
		row := m.Row(i)
		for j := range row {
			row[j] *= f[j]
		}
	}
	return m
}

// beginTucker: the tensor [c, o, (y,x)] by higher-order orthogonal iteration.
func (f *factors) beginTucker(w matrix, o linalg.TuckerOptions) error {
	s, taps := f.size, f.size.h*f.size.w
	x := make([]float32, len(w.Data))
	for c := range s.c {
		for t := range taps {
			for o, v := range w.Row(c*taps + t) {
				x[(c*s.o+o)*taps+t] = float32(v)
			}
		}
	}
	d, err := linalg.TuckerHOOI(x, s.c, s.o, taps, f.rank.r, f.rank.p, o)
	if err != nil {
		return err
	}
	core := linalg.New[float64](f.rank.r, taps*f.rank.p)
	for q := range f.rank.r {
		for p := range f.rank.p {
			for t := range taps {
				core.Data[(q*taps+t)*f.rank.p+p] = float64(d.Core[(q*f.rank.p+p)*taps+t])
			}
		}
	}
	f.f = []matrix{linalg.Convert[float64](d.U), core, linalg.Convert[float64](d.V).T()}
	return nil
}

func (f *factors) beginCP(w matrix, o linalg.CPOptions) error {
	s := f.size
	d, err := linalg.CPALS(linalg.Convert[float32](w).Data, []int{s.c, s.h, s.w, s.o}, f.rank.r, o)
	if err != nil {
		return err
	}
	for _, m := range d.Factors {
		f.f = append(f.f, linalg.Convert[float64](m))
	}
	return nil
}
