package refit

import (
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
)

// Columns of masks are solved together by conjugate gradients (Hestenes and Stiefel 1952) with the diagonal as preconditioner: an iteration is one
// product with the normal matrix, while a factorization for each result would cost the cube of the weights left.
const (
	directCost = 2e8 // multiply-accumulates below which each result is factored
	iterations = 40
	tolerance  = 1e-9 // of the squared residual
)

// SolveMasked solves eq for the weights that mask, n by m in row-major order, allows.
func SolveMasked(eq *linalg.LeastSquares, ridge linalg.Ridge, mask []bool, pool *par.Pool) (linalg.Matrix[float64], error) {
	n, m := eq.G.Rows, eq.G.Cols
	set := 0
	for _, b := range mask {
		if b {
			set++
		}
	}
	if k := float64(set) / float64(m); k*k*k/3*float64(m) < directCost {
		return eq.SolveMasked(ridge, mask)
	}
	h := eq.Normal()
	if !linalg.Finite(h.Data) || !linalg.Finite(eq.G.Data) {
		return linalg.Matrix[float64]{}, linalg.ErrNotFinite
	}
	mean := 0.0
	for i := range n - ridge.Free {
		mean += h.Data[i*n+i] / float64(n-ridge.Free)
	}
	pull, scale := make([]float64, n), make([]float64, n)
	for i := range n {
		if pull[i] = ridge.Lambda*mean + 1e-12*mean + 1e-30; i >= n-ridge.Free {
			pull[i] = 1e-12*h.Data[i*n+i] + 1e-30
		}
		scale[i] = 1 / (h.Data[i*n+i] + pull[i])
	}
	apply := func(x linalg.Matrix[float64]) linalg.Matrix[float64] {
		y := linalg.New[float64](n, m)
		gemm.Gemm(y.View(), h.View(), x.View(), gemm.Options[float64]{Pool: pool})
		for k, v := range x.Data {
			if y.Data[k] += pull[k/m] * v; !mask[k] {
				y.Data[k] = 0
			}
		}
		return y
	}
	x, r := linalg.New[float64](n, m), linalg.New[float64](n, m)
	for k := range x.Data {
		if mask[k] && ridge.Prior.Data != nil {
			x.Data[k] = ridge.Prior.Data[k]
		}
	}
	ax := apply(x)
	for k := range r.Data {
		if mask[k] {
			r.Data[k] = eq.G.Data[k] - ax.Data[k]
			if ridge.Prior.Data != nil {
				r.Data[k] += pull[k/m] * ridge.Prior.Data[k]
			}
		}
	}
	p, rz, first := linalg.New[float64](n, m), make([]float64, m), make([]float64, m)
	for k, v := range r.Data {
		p.Data[k] = v * scale[k/m]
		rz[k%m] += v * p.Data[k]
	}
	copy(first, rz)
	step, next := make([]float64, m), make([]float64, m)
	for range iterations {
		ap := apply(p)
		clear(step)
		for k, v := range p.Data {
			step[k%m] += v * ap.Data[k]
		}
		done := true
		for j := range step {
			if step[j] > 0 && rz[j] > tolerance*first[j] {
				step[j], done = rz[j]/step[j], false
			} else {
				step[j] = 0
			}
		}
		if done {
			break
		}
		clear(next)
		for k, v := range p.Data {
			a := step[k%m]
			x.Data[k] += a * v
			r.Data[k] -= a * ap.Data[k]
			next[k%m] += r.Data[k] * r.Data[k] * scale[k/m]
		}
		for k := range p.Data {
			j := k % m
			if step[j] != 0 && rz[j] > 0 {
				p.Data[k] = r.Data[k]*scale[k/m] + next[j]/rz[j]*p.Data[k]
			}
		}
		for j := range rz {
			if step[j] != 0 {
				rz[j] = next[j]
			}
		}
	}
	if !linalg.Finite(x.Data) {
		return x, linalg.ErrNotFinite
	}
	return x, nil
}
