package linalg

import "github.com/onnxopt/onnxopt/internal/gemm"

// ConjugateOptions bound the iterations of Conjugate.
type ConjugateOptions struct {
	Iterations int     // at most; 0: 40
	Tolerance  float64 // of the squared preconditioned residual, in units of that of the right-hand side; 0: 1e-10
}

// Conjugate is SolveMasked by conjugate gradients (Hestenes and Stiefel 1952) with the diagonal as preconditioner, for all right-hand sides at
// once: an iteration is one product with the normal matrix, while a factorization for each right-hand side would cost the cube of the unknowns
// that its mask allows. It begins at start, or at the prior if start is empty; what the mask does not allow counts as zero.
func (s *LeastSquares) Conjugate(ridge Ridge, mask []bool, start Matrix[float64], o ConjugateOptions) (Matrix[float64], error) {
	if o.Iterations == 0 {
		o.Iterations = 40
	}
	if o.Tolerance == 0 {
		o.Tolerance = 1e-10
	}
	n, m := s.G.Rows, s.G.Cols
	h := s.Normal()
	if !Finite(h.Data) || !Finite(s.G.Data) {
		return Matrix[float64]{}, ErrNotFinite
	}
	pull := s.penalty(ridge)
	scale := make([]float64, n)
	for i := range n {
		scale[i] = 1 / (h.Data[i*n+i] + pull[i])
	}
	apply := func(y, x Matrix[float64]) {
		gemm.Gemm(y.View(), h.View(), x.View(), gemm.Options[float64]{Pool: s.pool})
		for i, d := range pull {
			to, from, allowed := y.Row(i), x.Row(i), mask[i*m:][:m]
			for j, v := range from {
				if to[j] += d * v; !allowed[j] {
					to[j] = 0
				}
			}
		}
	}
	x, r, p, ap := New[float64](n, m), New[float64](n, m), New[float64](n, m), New[float64](n, m)
	if start.Data == nil {
		start = ridge.Prior
	}
	bound := make([]float64, m) // squared norms of the right-hand sides
	for i := range n {
		for j := range m {
			k := i*m + j
			if !mask[k] {
				continue
			}
			b := s.G.Data[k]
			if ridge.Prior.Data != nil {
				b += pull[i] * ridge.Prior.Data[k]
			}
			bound[j] += b * b * scale[i]
			r.Data[k] = b
			if start.Data != nil {
				x.Data[k] = start.Data[k]
			}
		}
	}
	apply(ap, x)
	rz, next, step := make([]float64, m), make([]float64, m), make([]float64, m)
	for i := range n {
		for j := range m {
			k := i*m + j
			r.Data[k] -= ap.Data[k]
			p.Data[k] = r.Data[k] * scale[i]
			rz[j] += r.Data[k] * p.Data[k]
		}
	}
	for range o.Iterations {
		apply(ap, p)
		clear(step)
		for i := range n {
			a, b := p.Row(i), ap.Row(i)
			for j, v := range a {
				step[j] += v * b[j]
			}
		}
		done := true
		for j := range step {
			if step[j] > 0 && rz[j] > o.Tolerance*bound[j] {
				step[j], done = rz[j]/step[j], false
			} else {
				step[j] = 0
			}
		}
		if done {
			break
		}
		clear(next)
		for i, d := range scale {
			px, rx, xx, ax := p.Row(i), r.Row(i), x.Row(i), ap.Row(i)
			for j, a := range step {
				xx[j] += a * px[j]
				rx[j] -= a * ax[j]
				next[j] += rx[j] * rx[j] * d
			}
		}
		for j := range step {
			if step[j] != 0 {
				step[j] = next[j] / rz[j]
				rz[j] = next[j]
			}
		}
		for i, d := range scale {
			px, rx := p.Row(i), r.Row(i)
			for j, b := range step {
				if b != 0 {
					px[j] = rx[j]*d + b*px[j]
				}
			}
		}
	}
	if !Finite(x.Data) {
		return x, ErrNotFinite
	}
	return x, nil
}
