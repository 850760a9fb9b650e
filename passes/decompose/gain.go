package decompose

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/linalg"
)

// normalize moves the scale of each inner channel so that its values are about as large as those of the layer's input: what lies between
// the nodes then fits float16 where the layer does, and a quantizer with one scale for all channels. The product stays the same.
func (f *factors) normalize(p *problem) {
	if p.identity || p.rows == 0 {
		return
	}
	aim := p.inputSize()
	if !(aim > 0) {
		return
	}
	first := p.gains(f.inner())
	switch f.kind {
	case svd, spatialSVD, tucker:
		shift(f.f[0], f.f[1], first, aim)
	case cp:
		for j := range f.rank.r {
			scale := 1.0
			for k, to := range []float64{aim / first[j], 1 / columnNorm(f.f[1], j), 1 / columnNorm(f.f[2], j)} {
				if !(to > 0) || math.IsInf(to, 0) {
					continue
				}
				multiplyColumn(f.f[k], j, to)
				scale /= to
			}
			multiplyColumn(f.f[3], j, scale)
		}
	}
	if f.kind == tucker {
		taps := f.size.h * f.size.w
		core := reshape(f.f[1], f.rank.r*taps) // (q, taps) by p
		shift(core, f.f[2], p.gains(f.before()), aim)
	}
}

// shift multiplies column j of a with aim/gain[j] and divides row j of b by it.
func shift(a, b matrix, gain []float64, aim float64) {
	for j, g := range gain {
		to := aim / g
		if !(to > 0) || math.IsInf(to, 0) {
			continue
		}
		multiplyColumn(a, j, to)
		for i := range b.Row(j) {
			b.Row(j)[i] /= to
		}
	}
}

func multiplyColumn(m matrix, j int, by float64) {
	for i := range m.Rows {
		m.Data[i*m.Cols+j] *= by
	}
}

func columnNorm(m matrix, j int) float64 {
	s := 0.0
	for i := range m.Rows {
		s += m.Data[i*m.Cols+j] * m.Data[i*m.Cols+j]
	}
	return math.Sqrt(s)
}

// inner is the first inner value at one position as a product of the layer's columns and a matrix.
func (f *factors) inner() matrix {
	s := f.size
	if f.kind == svd {
		return f.f[0]
	}
	m := linalg.New[float64](s.columns(), f.f[0].Cols)
	for c := range s.c {
		for y := range s.h {
			from := c
			switch {
			case f.kind == spatialSVD:
				from = c*s.h + y
			case y != s.h/2:
				continue
			}
			copy(m.Row((c*s.h+y)*s.w+s.w/2), f.f[0].Row(from))
		}
	}
	return m
}

// gains is the root mean square of each column of X s.
func (p *problem) gains(s matrix) []float64 {
	hs := linalg.Mul(p.h.View(), s.View(), p.pool)
	r := make([]float64, s.Cols)
	mean := make([]float64, s.Cols)
	for i := range s.Rows {
		for j, v := range s.Row(i) {
			r[j] += v * hs.Data[i*s.Cols+j] / float64(p.rows)
			mean[j] += p.meanX[i] * v
		}
	}
	for j := range r {
		r[j] = math.Sqrt(math.Max(r[j], 0) + mean[j]*mean[j])
	}
	return r
}

// inputSize is the root mean square of the input.
func (p *problem) inputSize() float64 {
	s := 0.0
	for i, m := range p.meanX {
		s += p.h.Data[i*p.h.Cols+i]/float64(p.rows) + m*m
	}
	return math.Sqrt(s / float64(len(p.meanX)))
}
