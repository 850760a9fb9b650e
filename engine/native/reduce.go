package native

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// folding reduces: a row to one element, and rows to one row, element by element.
type folding struct {
	row  func(row []float32) float32
	rows func(dst, rows []float32, n, stride int) // row i begins at i*stride
}

func foldSum() folding {
	return folding{row: func(row []float32) float32 { return float32(total(row)) }, rows: func(dst, rows []float32, n, stride int) { totals(dst, rows, n, stride, 1) }}
}

func foldMean() folding {
	return folding{row: func(row []float32) float32 { return float32(total(row) / float64(len(row))) }, rows: func(dst, rows []float32, n, stride int) { totals(dst, rows, n, stride, float64(n)) }}
}

// foldMax lets NaN win.
func foldMax() folding {
	return folding{row: greatest, rows: func(dst, rows []float32, n, stride int) {
		copy(dst, rows)
		for i := 1; i < n; i++ {
			gemm.Maximum(dst, dst, rows[i*stride:])
		}
	}}
}

// total is the sum, of float32 within stretches and of float64 between them, so that its error does not grow with the length.
func total(x []float32) float64 {
	const stretch = 1024
	sum := 0.0
	for len(x) > stretch {
		sum += float64(gemm.Sum(x[:stretch]))
		x = x[stretch:]
	}
	return sum + float64(gemm.Sum(x))
}

// totals sets dst to the sums of n rows over divisor, summed like total.
func totals(dst, rows []float32, n, stride int, divisor float64) {
	const stretch = 32
	sums, part := make([]float64, len(dst)), make([]float32, len(dst))
	for from := 0; from < n; from += stretch {
		copy(part, rows[from*stride:])
		for i := from + 1; i < min(n, from+stretch); i++ {
			gemm.Add(part, part, rows[i*stride:])
		}
		for j, v := range part {
			sums[j] += float64(v)
		}
	}
	for j, v := range sums {
		dst[j] = float32(v / divisor)
	}
}

// greatest is the greatest element of a row that has one, NaN if there is one.
func greatest(x []float32) float32 {
	var buffer [64]float32
	best := buffer[:min(len(x), len(buffer))]
	copy(best, x)
	for i := len(best); i < len(x); i += len(best) {
		gemm.Maximum(best[:min(len(best), len(x)-i)], best, x[i:])
	}
	return slices.Max(best)
}

// prepareReduce covers all sets of axes. Those that follow one another are reduced together, the last first; where several such stretches
// are, what is between two of them is rounded to float32.
func prepareReduce(f folding, axesOperandSince int64) prepare {
	return func(s *site) executor {
		attribute, keep, operand := s.Ints("axes"), s.Int("keepdims", 1) != 0, s.opset >= axesOperandSince
		return func(t *task) (*ir.Tensor, bool) {
			axes := attribute
			if operand {
				axes = t.ints(1)
			}
			x, v, ok := t.float(0)
			if !ok || len(v) == 0 {
				return nil, false
			}
			stretches, ok := stretches(axes, x.Rank())
			if !ok {
				return nil, false
			}
			from, shape := x.Shape(), slices.Clone(x.Shape()) // with axes of size one
			var held []float32
			for i, r := range stretches {
				for a := r[0]; a < r[1]; a++ {
					shape[a] = 1
				}
				lend := t.alloc
				if i < len(stretches)-1 {
					lend = func(s []int64) ([]float32, bool) { return t.scratch(int(ir.NumElements(s))) }
				}
				dst, ok := lend(shape)
				if ok {
					t.reduce(f, dst, v, int(ir.NumElements(from[r[0]:r[1]])), int(ir.NumElements(from[r[1]:])))
				}
				if held != nil {
					t.done(held)
				}
				if !ok {
					return nil, false
				}
				held, v, from = dst, dst, slices.Clone(shape)
			}
			if !keep {
				for _, r := range stretches { // from the last
					shape = slices.Delete(shape, r[0], r[1])
				}
			}
			return result(v, shape)
		}
	}
}

// reduce folds the middle one of three axes, which has n elements, as the last has inner.
func (t *task) reduce(f folding, dst, v []float32, n, inner int) {
	if inner == 1 {
		t.pool.For(len(dst), max(1, grain/n), func(_, from, to int) {
			for i := from; i < to; i++ {
				dst[i] = f.row(v[i*n:][:n])
			}
		})
		return
	}
	const wide = 512 // columns at a time
	across := (inner + wide - 1) / wide
	t.pool.For(len(dst)/inner*across, max(1, grain/(n*min(inner, wide))), func(_, from, to int) {
		for i := from; i < to; i++ {
			outer, at := i/across, i%across*wide
			f.rows(dst[outer*inner+at:][:min(wide, inner-at)], v[outer*n*inner+at:], n, inner)
		}
	})
}

// stretches are the axes of a tensor of the rank that follow one another, as from and to, the last first; false for none and for what is no
// axis.
func stretches(axes []int64, rank int) (r [][2]int, ok bool) {
	s := slices.Clone(axes)
	for i, a := range s {
		if a < 0 {
			s[i] += int64(rank)
		}
	}
	slices.Sort(s)
	for i, a := range s {
		if a < 0 || a >= int64(rank) || i > 0 && a == s[i-1] {
			return nil, false
		}
		if n := len(r); n > 0 && r[n-1][1] == int(a) {
			r[n-1][1]++
		} else {
			r = append(r, [2]int{int(a), int(a) + 1})
		}
	}
	slices.Reverse(r)
	return r, len(r) > 0
}
