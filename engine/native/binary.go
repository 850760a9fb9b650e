package native

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// binary makes executors of an arithmetic operator with multidirectional broadcasting. Each element is rounded once, so the
// bits are the kernel's.
func binary(f arithmetic) prepare {
	return func(*site) executor {
		return func(t *task) (*ir.Tensor, bool) {
			x, a, ok := t.float(0)
			y, b, okY := t.float(1)
			if !ok || !okY {
				return nil, false
			}
			shape, ok := broadcastShape(x.Shape(), y.Shape())
			if !ok {
				return nil, false
			}
			var dst []float32
			switch {
			case slices.Equal(shape, x.Shape()):
				dst, ok = t.over(0)
			case slices.Equal(shape, y.Shape()):
				dst, ok = t.over(1)
			default:
				dst, ok = t.alloc(shape)
			}
			if !ok {
				return nil, false
			}
			l := newLoops(shape, x.Shape(), y.Shape())
			if n := l.dims[len(l.dims)-1]; n < grain && len(dst) > grain {
				t.pool.For(len(dst)/n, max(1, grain/n), func(_, from, to int) {
					at := from * n
					l.rowsBetween(from, to, func(i, j, length, is, js int) {
						f.row(dst[at:][:length], a[i:], is, b[j:], js)
						at += length
					})
				})
				return result(dst, shape)
			}
			at := 0
			l.rows(func(i, j, length, is, js int) {
				row := dst[at:][:length]
				t.split(length, func(from, to int) { f.row(row[from:to], a[i+from*is:], is, b[j+from*js:], js) })
				at += length
			})
			return result(dst, shape)
		}
	}
}

// split runs f over ranges of n elements, in parallel if there are several.
func (t *task) split(n int, f func(from, to int)) {
	if n <= grain {
		f(0, n)
		return
	}
	t.pool.For(n, grain, func(_, from, to int) { f(from, to) })
}

// arithmetic is an operator as functions of whole rows, and of a row and a number.
type arithmetic struct {
	rows     func(dst, a, b []float32)
	scalar   func(dst, a []float32, b float32)
	commutes bool
	one      func(a, b float32) float32
}

// row combines rows whose steps are 0 or 1.
func (f arithmetic) row(dst, a []float32, as int, b []float32, bs int) {
	switch {
	case as == 1 && bs == 1:
		f.rows(dst, a, b)
	case as == 1:
		f.scalar(dst, a, b[0])
	case bs == 1 && f.commutes:
		f.scalar(dst, b, a[0])
	default:
		for k := range dst {
			dst[k] = f.one(a[k*as], b[k*bs])
		}
	}
}

func add() arithmetic {
	return arithmetic{gemm.Add, gemm.AddScalar, true, func(a, b float32) float32 { return a + b }}
}

func sub() arithmetic {
	return arithmetic{gemm.Sub, gemm.SubScalar, false, func(a, b float32) float32 { return a - b }}
}

func mul() arithmetic {
	return arithmetic{gemm.Mul, gemm.MulScalar, true, func(a, b float32) float32 { return a * b }}
}

func div() arithmetic {
	return arithmetic{gemm.Div, gemm.DivScalar, false, func(a, b float32) float32 { return a / b }}
}

// prepareSum adds operands of one shape from the left, as the kernel does.
func prepareSum(s *site) executor {
	if s.NumOperands() < 2 {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.float(0)
		if !ok {
			return nil, false
		}
		in := make([][]float32, len(t.in))
		for i := range in {
			y, e, ok := t.float(i)
			if !ok || !slices.Equal(y.Shape(), x.Shape()) {
				return nil, false
			}
			in[i] = e
		}
		dst, ok := t.over(0)
		if !ok {
			return nil, false
		}
		t.split(len(v), func(from, to int) {
			gemm.Add(dst[from:to], v[from:to], in[1][from:to])
			for _, e := range in[2:] {
				gemm.Add(dst[from:to], dst[from:to], e[from:to])
			}
		})
		return result(dst, x.Shape())
	}
}
