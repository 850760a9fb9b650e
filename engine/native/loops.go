package native

import "slices"

// grain is the number of elements of an elementwise range: the ranges of a loop, and so its results, do not depend on threads.
const grain = 1 << 13

// broadcastShape is the shape that two shapes have together; false if they do not broadcast.
func broadcastShape(a, b []int64) ([]int64, bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, d := range b {
		o := &out[i+len(a)-len(b)]
		switch {
		case *o == 1:
			*o = d
		case d != 1 && d != *o:
			return nil, false
		}
	}
	return out, true
}

// loops is a nest of loops over a shape through two operands that broadcast to it, axes merged where both allow it.
type loops struct {
	dims []int
	a, b []int // steps in elements
}

func newLoops(shape, as, bs []int64) *loops {
	a, b := stepsOver(as, len(shape)), stepsOver(bs, len(shape))
	l := &loops{}
	for i, d := range shape {
		if d == 1 {
			continue
		}
		if k := len(l.dims) - 1; k >= 0 && l.a[k] == a[i]*int(d) && l.b[k] == b[i]*int(d) {
			l.dims[k] *= int(d)
			l.a[k], l.b[k] = a[i], b[i]
			continue
		}
		l.dims, l.a, l.b = append(l.dims, int(d)), append(l.a, a[i]), append(l.b, b[i])
	}
	if len(l.dims) == 0 {
		l.dims, l.a, l.b = []int{1}, []int{0}, []int{0}
	}
	return l
}

// stepsOver are the steps of an operand of the given shape along the axes of a shape of some rank: 0 where it is repeated.
func stepsOver(shape []int64, rank int) []int {
	r, n := make([]int, rank), 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			r[i+rank-len(shape)] = n
		}
		n *= int(shape[i])
	}
	return r
}

// rows calls f for each innermost row in row-major order: where it begins in either operand, its length and its steps.
func (l *loops) rows(f func(i, j, length, is, js int)) {
	count := 1
	for _, d := range l.dims[:len(l.dims)-1] {
		count *= d
	}
	l.rowsBetween(0, count, f)
}

// rowsBetween is rows for those from..to.
func (l *loops) rowsBetween(from, to int, f func(i, j, length, is, js int)) {
	if slices.Contains(l.dims, 0) || from >= to {
		return
	}
	last := len(l.dims) - 1
	idx := make([]int, last)
	i, j := 0, 0
	for axis, rest := last-1, from; axis >= 0; axis-- {
		idx[axis] = rest % l.dims[axis]
		rest /= l.dims[axis]
		i, j = i+idx[axis]*l.a[axis], j+idx[axis]*l.b[axis]
	}
	for n := from; n < to; n++ {
		f(i, j, l.dims[last], l.a[last], l.b[last])
		axis := last - 1
		for ; axis >= 0; axis-- {
			i, j = i+l.a[axis], j+l.b[axis]
			if idx[axis]++; idx[axis] < l.dims[axis] {
				break
			}
			i, j = i-l.a[axis]*l.dims[axis], j-l.b[axis]*l.dims[axis]
			idx[axis] = 0
		}
		if axis < 0 {
			return
		}
	}
}
