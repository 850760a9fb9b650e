package native

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// prepareTranspose copies blocks that fit the first-level cache in both orders.
func prepareTranspose(s *site) executor {
	perm := s.Ints("perm")
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.single(0)
		if !ok || len(v) == 0 || !isPermutation(perm, x.Rank()) || slices.IsSorted(perm) {
			return nil, false
		}
		shape, steps := make([]int64, len(perm)), make([]int, len(perm))
		from := stepsOver(x.Shape(), x.Rank())
		for i, a := range perm {
			shape[i], steps[i] = x.Shape()[a], from[a]
		}
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		newPermutation(shape, steps).copy(t.pool, dst, v)
		return result(dst, shape)
	}
}

func isPermutation(perm []int64, rank int) bool {
	s := slices.Clone(perm)
	slices.Sort(s)
	for i, a := range s {
		if a != int64(i) {
			return false
		}
	}
	return len(s) == rank && rank > 0
}

// permutation is a nest of loops over the result of a transposition, with axes merged that stay together.
type permutation struct{ dims, steps []int }

func newPermutation(shape []int64, steps []int) *permutation {
	p := &permutation{}
	for i, d := range shape {
		if d == 1 {
			continue
		}
		if k := len(p.dims) - 1; k >= 0 && p.steps[k] == steps[i]*int(d) {
			p.dims[k] *= int(d)
			p.steps[k] = steps[i]
			continue
		}
		p.dims, p.steps = append(p.dims, int(d)), append(p.steps, steps[i])
	}
	if len(p.dims) == 0 {
		p.dims, p.steps = []int{1}, []int{1}
	}
	return p
}

// copy fills dst. If the last axis is contiguous in src, rows are copied; otherwise the axis that is contiguous there is
// walked beside the last one in tiles. Workers divide the first axis of the result, or of the tiles.
func (p *permutation) copy(pool *par.Pool, dst, src []float32) {
	last := len(p.dims) - 1
	first := p.dims[0]
	each := len(dst) / first
	if p.steps[last] == 1 {
		n := p.dims[last]
		if last == 0 {
			copy(dst, src[:n])
			return
		}
		pool.For(first, max(1, grain/each), func(_, lo, hi int) {
			p.walk(lo, hi, last, -1, func(to, from int) { copy(dst[to:to+n], src[from:from+n]) })
		})
		return
	}
	near := slices.Index(p.steps, 1) // there is one: the last axis of the operand that is not of size 1
	pitch := 1
	for _, d := range p.dims[near+1:] {
		pitch *= d
	}
	// Seen from the operand: rows along the last axis of the result, columns along the axis that is contiguous.
	rows, cols, step := p.dims[last], p.dims[near], p.steps[last]
	if near == 0 { // the tiles' columns are the first axis
		pool.For(cols, max(8, grain/each), func(_, lo, hi int) {
			p.walk(0, 1, last, near, func(to, from int) {
				gemm.Transpose(dst[to+lo*pitch:], src[from+lo:], rows, hi-lo, pitch, step)
			})
		})
		return
	}
	pool.For(first, max(1, grain/each), func(_, lo, hi int) {
		p.walk(lo, hi, last, near, func(to, from int) { gemm.Transpose(dst[to:], src[from:], rows, cols, pitch, step) })
	})
}

// gather fills dst from the element at of src on, in the order of the result alone. Steps may be negative.
func (p *permutation) gather(pool *par.Pool, dst, src []float32, at int) {
	last := len(p.dims) - 1
	n, step := p.dims[last], p.steps[last]
	row := func(to, from, n int) {
		if step == 1 {
			copy(dst[to:to+n], src[from:])
			return
		}
		for i := range dst[to : to+n] {
			dst[to+i] = src[from+i*step]
		}
	}
	if last == 0 {
		pool.For(n, grain, func(_, lo, hi int) { row(lo, at+lo*step, hi-lo) })
		return
	}
	pool.For(p.dims[0], max(1, grain*p.dims[0]/len(dst)), func(_, lo, hi int) {
		p.walk(lo, hi, last, -1, func(to, from int) { row(to, at+from, n) })
	})
}

// walk calls f with the offsets in the result and the operand for each position of the axes other than a and b, of the first axis
// those from lo to hi.
func (p *permutation) walk(lo, hi, a, b int, f func(to, from int)) {
	var visit func(axis, to, from int)
	pitch := make([]int, len(p.dims))
	for i, n := len(p.dims)-1, 1; i >= 0; i-- {
		pitch[i] = n
		n *= p.dims[i]
	}
	visit = func(axis, to, from int) {
		if axis == len(p.dims) {
			f(to, from)
			return
		}
		if axis == a || axis == b {
			visit(axis+1, to, from)
			return
		}
		begin, end := 0, p.dims[axis]
		if axis == 0 {
			begin, end = lo, hi
		}
		for i := begin; i < end; i++ {
			visit(axis+1, to+i*pitch[axis], from+i*p.steps[axis])
		}
	}
	visit(0, 0, 0)
}

// prepareConcat copies the rows of each operand.
func prepareConcat(s *site) executor {
	axis := s.Int("axis", 0)
	return func(t *task) (*ir.Tensor, bool) {
		x, _, ok := t.single(0)
		if !ok || len(t.in) < 2 || axis < -int64(x.Rank()) || axis >= int64(x.Rank()) {
			return nil, false
		}
		at := int(axis)
		if at < 0 {
			at += x.Rank()
		}
		shape := slices.Clone(x.Shape())
		in, row := make([][]float32, len(t.in)), make([]int, len(t.in))
		shape[at] = 0
		for i := range in {
			y, v, ok := t.single(i)
			if !ok || y.Rank() != x.Rank() || !slices.Equal(y.Shape()[:at], shape[:at]) || !slices.Equal(y.Shape()[at+1:], shape[at+1:]) {
				return nil, false
			}
			in[i], row[i] = v, int(ir.NumElements(y.Shape()[at:]))
			shape[at] += y.Shape()[at]
		}
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		whole := int(ir.NumElements(shape[at:]))
		copyRow := func(o int) {
			to := o * whole
			for i, v := range in {
				to += copy(dst[to:], v[o*row[i]:][:row[i]])
			}
		}
		if rows := int(ir.NumElements(shape[:at])); rows > 1 {
			t.pool.For(rows, max(1, grain/max(whole, 1)), func(_, from, to int) {
				for o := from; o < to; o++ {
					copyRow(o)
				}
			})
			return result(dst, shape)
		}
		// One row: workers divide each operand.
		to := 0
		for _, v := range in {
			part := dst[to:][:len(v)]
			t.pool.For(len(v), 2*grain, func(_, from, end int) { copy(part[from:end], v[from:end]) })
			to += len(v)
		}
		return result(dst, shape)
	}
}
