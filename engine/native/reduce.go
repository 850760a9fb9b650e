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

// prepareReduce covers axes that follow one another.
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
			first, ok := consecutive(axes, x.Rank())
			if !ok {
				return nil, false
			}
			from := x.Shape()
			shape := slices.Clone(from[:first])
			for range axes {
				if keep {
					shape = append(shape, 1)
				}
			}
			shape = append(shape, from[first+len(axes):]...)
			dst, ok := t.alloc(shape)
			if !ok {
				return nil, false
			}
			t.reduce(f, dst, v, int(ir.NumElements(from[first:first+len(axes)])), int(ir.NumElements(from[first+len(axes):])))
			return result(dst, shape)
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

// consecutive returns the first of axes that, in some order, follow one another in a tensor of the rank.
func consecutive(axes []int64, rank int) (first int, ok bool) {
	s := slices.Clone(axes)
	for i, a := range s {
		if a < 0 {
			s[i] += int64(rank)
		}
	}
	slices.Sort(s)
	for i, a := range s {
		if a != s[0]+int64(i) {
			return 0, false
		}
	}
	if len(s) == 0 || s[0] < 0 || s[len(s)-1] >= int64(rank) {
		return 0, false
	}
	return int(s[0]), true
}
