package infer

import (
	"math"
	"slices"
)

// endless is a bound of a slice that means the end of the axis, as are all beyond it: exporters write 10^9, the largest int32 or the largest
// int64. A size that is an expression is taken to be no larger.
const endless = 1_000_000_000

// sliceArgs are the starts, ends, axes and steps of a Slice, from attributes before opset 10.
func (c *call) sliceArgs(rank int) (starts, ends []Int, axes []int, steps []int64, ok bool) {
	var at []int64
	if c.since() < 10 {
		for _, v := range c.attrInts("starts") {
			starts = append(starts, Num(v))
		}
		for _, v := range c.attrInts("ends") {
			ends = append(ends, Num(v))
		}
		at = c.attrInts("axes")
	} else {
		var known bool
		if c.has(3) {
			if at, known = c.consts(3); !known {
				return
			}
		}
		if c.has(4) {
			if steps, known = c.consts(4); !known {
				return
			}
		}
		n, counted := c.countOf(1).Const()
		if !counted || n > int64(rank) {
			return
		}
		if starts, known = c.ints(1); !known {
			starts = vector(int(n))
		}
		if ends, known = c.ints(2); !known {
			ends = vector(int(n))
		}
	}
	if at == nil {
		for i := range starts {
			at = append(at, int64(i))
		}
	}
	if steps == nil {
		steps = slices.Repeat([]int64{1}, len(starts))
	}
	if len(starts) != len(ends) || len(at) != len(starts) || len(steps) != len(starts) || len(starts) > rank {
		c.errorf("%d starts, %d ends, %d axes and %d steps for a tensor of rank %d", len(starts), len(ends), len(at), len(steps), rank)
		return
	}
	axes, ok = c.axes(at, rank)
	return
}

// inferSlice: see sliceSize. Contents of vectors follow where all bounds are numbers.
func inferSlice(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	r := vector(len(d))
	starts, ends, axes, steps, ok := c.sliceArgs(len(d))
	if !ok {
		// Axes that are not sliced keep their size if the axes are known; here even they are not.
		c.set(0, r)
		return
	}
	copy(r, d)
	for i, k := range axes {
		if steps[i] == 0 {
			c.errorf("the step of axis %d is 0", k)
			return
		}
		r[k] = sliceSize(d[k], starts[i], ends[i], steps[i])
	}
	c.set(0, r)
	c.sliceData(starts, ends, axes, steps)
}

// sliceSize is the number of elements from start to end: bounds count from the end if negative, and are clamped.
func sliceSize(size, start, end Int, step int64) Int {
	n, known := size.Const()
	s, sn := start.Const()
	e, en := end.Const()
	if known && sn && en {
		from, to := clampSlice(n, s, e, step)
		return Num(max(0, ceilDiv(to-from, step)))
	}
	if step == math.MinInt64 || !size.known {
		return Int{}
	}
	if step < 0 {
		// The whole axis backwards is the usual case; anything else is left open.
		if en && e <= -endless && (sn && (s == -1 || s >= endless) || start.Same(size.Sub(Num(1)))) {
			return size.CeilDiv(Num(-step))
		}
		return Int{}
	}
	from, to := clampSize(start, size), clampSize(end, size)
	return to.Sub(from).Max(Num(0)).CeilDiv(Num(step))
}

// clampSize is a bound of a slice with positive step as a place in [0, size].
func clampSize(b, size Int) Int {
	n, number := b.Const()
	switch {
	case number && n >= endless, b.Same(size):
		return size
	case number && n <= -endless:
		return Num(0)
	case b.NonNeg():
		return b.Min(size)
	case number:
		return size.Add(b).Max(Num(0))
	case b.Neg().Positive():
		return size.Add(b).Max(Num(0))
	}
	return Int{}
}

func clampSlice(n, s, e, step int64) (from, to int64) {
	place := func(v, low, high int64) int64 {
		if v < 0 {
			v += n
		}
		return min(max(v, low), high)
	}
	if step > 0 {
		return place(s, 0, n), place(e, 0, n)
	}
	if n == 0 {
		return 0, 0
	}
	return place(s, 0, n-1), place(e, -1, n-1)
}

func ceilDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) == (b < 0) {
		q++
	}
	return q
}

// sliceData follows a small content where all bounds are numbers.
func (c *call) sliceData(starts, ends []Int, axes []int, steps []int64) {
	sizes, ok := c.arg(0).sizes()
	if !ok {
		return
	}
	strides := rowMajor(sizes)
	offset := int64(0)
	for i, k := range axes {
		s, ok := starts[i].Const()
		e, ok2 := ends[i].Const()
		if !ok || !ok2 {
			return
		}
		from, _ := clampSlice(sizes[k], s, e, steps[i])
		offset += from * strides[k]
		strides[k] *= steps[i]
	}
	c.viewData(offset, strides)
}
