package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// transposeOp permutes the axes; without perm it reverses them.
func transposeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	perm := slices.Clone(c.Attr("perm").Ints())
	if c.Attr("perm") == nil {
		for i := x.Rank() - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	return one(transpose(c, x, perm))
}

func transpose(c *Call, x *ir.Tensor, perm []int64) (*ir.Tensor, error) {
	if len(perm) != x.Rank() {
		return nil, fmt.Errorf("perm %v for rank %d", perm, x.Rank())
	}
	axes, err := axesOf(perm, x.Rank())
	if err != nil {
		return nil, err
	}
	from := strides(x.Shape())
	shape, steps := make([]int64, len(axes)), make([]int, len(axes))
	for i, a := range axes {
		shape[i], steps[i] = x.Shape()[a], from[a]
	}
	if slices.IsSorted(axes) {
		return x, nil
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	return strided(c, src, shape, 0, steps)
}

// concatOp joins tensors along an axis.
func concatOp(c *Call) ([]ir.Datum, error) {
	var in []*ir.Tensor
	for i := range c.In {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		in = append(in, t)
	}
	def := int64(0)
	if c.Opset < 4 {
		def = 1
	}
	return one(concat(c, in, c.int("axis", def)))
}

func concat(c *Call, in []*ir.Tensor, axis int64) (*ir.Tensor, error) {
	if len(in) == 0 {
		return nil, errors.New("nothing to join")
	}
	at, err := axisOf(axis, in[0].Rank())
	if err != nil {
		return nil, err
	}
	total := int64(0)
	srcs := make([]array, len(in))
	for i, t := range in {
		if t.DType() != in[0].DType() || t.Rank() != in[0].Rank() || !slices.Equal(withAxis(t.Shape(), at, 0), withAxis(in[0].Shape(), at, 0)) {
			return nil, fmt.Errorf("%s and %s do not join along axis %d", in[0].Type(), t.Type(), at)
		}
		if srcs[i], err = open(t); err != nil {
			return nil, err
		}
		total += t.Shape()[at]
	}
	if len(in) == 1 {
		return in[0], nil
	}
	shape := withAxis(in[0].Shape(), at, total)
	dst, err := srcs[0].make(c, shape)
	if err != nil {
		return nil, err
	}
	outer, out := product(shape[:at]), 0
	for o := range outer {
		for i, t := range in {
			n := product(t.Shape()[at:])
			dst.copy(out, srcs[i], o*n, n)
			out += n
		}
	}
	return dst.tensor(shape), c.tick(out)
}

// splitOp cuts a tensor along an axis into parts of given sizes, or into as many parts as there are results, the last smaller.
func splitOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", 0), x.Rank())
	if err != nil {
		return nil, err
	}
	sizes := c.Attr("split").Ints()
	if c.Opset >= 13 || c.Opset == 1 {
		if l, ok, err := c.intsOperand(1); err != nil {
			return nil, err
		} else if ok {
			sizes = l
		}
	}
	if len(sizes) == 0 {
		parts := int64(len(c.Out))
		if c.Opset >= 18 {
			parts = c.int("num_outputs", parts)
		}
		if parts != int64(len(c.Out)) {
			return nil, fmt.Errorf("%d parts for %d results", parts, len(c.Out))
		}
		if sizes, err = evenSplit(x.Shape()[axis], parts, c.Opset >= 18); err != nil {
			return nil, err
		}
	}
	if len(sizes) != len(c.Out) {
		return nil, fmt.Errorf("%d parts for %d results", len(sizes), len(c.Out))
	}
	parts, err := split(c, x, axis, sizes)
	if err != nil {
		return nil, err
	}
	r := make([]ir.Datum, len(parts))
	for i, p := range parts {
		r[i] = p
	}
	return r, nil
}

// evenSplit are the sizes of n parts of d; where ragged is set the last may be smaller.
func evenSplit(d, n int64, ragged bool) ([]int64, error) {
	if n <= 0 || n > d && d > 0 || d%n != 0 && !ragged {
		return nil, fmt.Errorf("a dimension of %d does not split into %d parts", d, n)
	}
	size := (d + n - 1) / n
	var r []int64
	for rest := d; n > 0; n-- {
		r = append(r, min(size, rest))
		rest -= min(size, rest)
	}
	return r, nil
}

func split(c *Call, x *ir.Tensor, axis int, sizes []int64) ([]*ir.Tensor, error) {
	sum := int64(0)
	for _, s := range sizes {
		if s < 0 || s > x.Shape()[axis] {
			return nil, fmt.Errorf("part of size %d", s)
		}
		sum += s
	}
	if sum != x.Shape()[axis] {
		return nil, fmt.Errorf("parts of sizes %v of a dimension of %d", sizes, x.Shape()[axis])
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	outer, inner, from := product(x.Shape()[:axis]), product(x.Shape()[axis+1:]), 0
	row := int(sum) * inner
	r := make([]*ir.Tensor, len(sizes))
	for i, s := range sizes {
		shape := withAxis(x.Shape(), axis, s)
		dst, err := src.make(c, shape)
		if err != nil {
			return nil, err
		}
		n := int(s) * inner
		for o := range outer {
			dst.copy(o*n, src, o*row+from, n)
		}
		from += n
		r[i] = dst.tensor(shape)
	}
	return r, c.tick(outer * row)
}

// sliceOp: starts and ends are clamped, negative ones count from the back, steps may be negative.
func sliceOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	var lists [4][]int64 // starts, ends, axes, steps
	if c.Opset < 10 {
		lists = [4][]int64{c.Attr("starts").Ints(), c.Attr("ends").Ints(), c.Attr("axes").Ints()}
	} else {
		for i := range lists {
			if lists[i], _, err = c.intsOperand(i + 1); err != nil {
				return nil, err
			}
		}
	}
	starts, ends, steps := lists[0], lists[1], lists[3]
	axes, err := axesOf(lists[2], x.Rank())
	if err != nil {
		return nil, err
	}
	if lists[2] == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if len(starts) != len(ends) || len(starts) != len(axes) || steps != nil && len(steps) != len(starts) || len(axes) > x.Rank() {
		return nil, fmt.Errorf("slice with %d starts, %d ends, %d axes, %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	shape, step, at := slices.Clone(x.Shape()), strides(x.Shape()), 0
	for i, a := range axes {
		by := int64(1)
		if steps != nil {
			by = steps[i]
		}
		from, n, err := SliceRange(starts[i], ends[i], by, shape[a])
		if err != nil {
			return nil, err
		}
		at += int(from) * step[a]
		shape[a] = n
		if n > 1 { // else the product could overflow
			step[a] *= int(by)
		}
	}
	if slices.Equal(shape, x.Shape()) && at == 0 {
		return one(x, nil)
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	return one(strided(c, src, shape, at, step))
}

// SliceRange is the first index and the number of indices that a slice of a dimension of size d selects.
func SliceRange(start, end, step, d int64) (from, n int64, err error) {
	if step == 0 {
		return 0, 0, errors.New("slice with step 0")
	}
	step = max(step, -math.MaxInt64)
	if start < 0 {
		start += d
	}
	if end < 0 {
		end += d
	}
	if step > 0 {
		start, end = max(0, min(start, d)), max(0, min(end, d))
		if end > start {
			n = (end-start-1)/step + 1
		}
		return start, n, nil
	}
	start, end = max(0, min(start, d-1)), max(-1, min(end, d-1))
	if start > end && d > 0 {
		n = (start-end-1)/-step + 1
	}
	return start, n, nil
}

// tileOp repeats the tensor along each axis. Version 1 takes a number of tiles and an axis.
func tileOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	repeats, ok, err := c.intsOperand(1)
	if err == nil && !ok {
		err = errors.New("operand 1 is missing")
	}
	if err != nil {
		return nil, err
	}
	if c.Opset < 6 {
		n, _, err := c.scalarInt(1)
		if err != nil {
			return nil, err
		}
		axis, _, err := c.scalarInt(2)
		if err != nil {
			return nil, err
		}
		at, err := axisOf(axis, x.Rank())
		if err != nil {
			return nil, err
		}
		repeats = withAxis(ones(x.Rank()), at, n)
	}
	if len(repeats) != x.Rank() {
		return nil, fmt.Errorf("%d repeats for rank %d", len(repeats), x.Rank())
	}
	// Each dimension d becomes r repetitions of d: an expansion of rank 2*rank.
	var wide []int64
	var steps []int
	shape, from := make([]int64, x.Rank()), strides(x.Shape())
	for i, r := range repeats {
		d := x.Shape()[i]
		if r < 0 || d > 0 && r > math.MaxInt64/d {
			return nil, fmt.Errorf("%d repeats of a dimension of %d", r, d)
		}
		wide, steps = append(wide, r, d), append(steps, 0, from[i])
		shape[i] = r * d
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	t, err := strided(c, src, wide, 0, steps)
	if err != nil {
		return nil, err
	}
	return one(t.Reshape(shape), nil)
}

// gatherAxes builds a tensor whose element at (i0, i1, ...) is that of src at (idx[0][i0], idx[1][i1], ...); where an index is
// negative it is the one element of fill.
func gatherAxes(c *Call, src array, shape []int64, idx [][]int, fill array) (*ir.Tensor, error) {
	out := make([]int64, len(idx))
	for i, l := range idx {
		out[i] = int64(len(l))
	}
	if len(out) == 0 {
		return strided(c, src, out, 0, nil)
	}
	dst, err := src.make(c, out)
	if err != nil || dst.size() == 0 {
		return dst.tensor(out), err
	}
	last := len(idx) - 1
	runs, width := contiguousRuns(idx[last]), len(idx[last])
	scattered := len(runs) > width/4 && slices.Min(idx[last]) >= 0
	steps, pos, at, before := strides(shape), make([]int, last), 0, -2
	for at < dst.size() {
		base := 0
		for i, p := range pos {
			if j := idx[i][p]; j < 0 || base < 0 {
				base = -1
			} else {
				base += j * steps[i]
			}
		}
		switch {
		case base == before: // the row is that before it
			dst.copy(at, dst, at-width, width)
		case scattered && base >= 0:
			dst.pick(at, src, base, idx[last])
		default:
			from := at
			for _, r := range runs {
				if base < 0 || r.from < 0 {
					dst.gather(from, 1, fill, 0, 0, r.n)
				} else {
					dst.copy(from, src, base+r.from, r.n)
				}
				from += r.n
			}
		}
		before = base
		at += width
		for i := last - 1; i >= 0; i-- {
			if pos[i]++; pos[i] < len(idx[i]) {
				break
			}
			pos[i] = 0
		}
		if err := c.tick(width); err != nil {
			return nil, err
		}
	}
	return dst.tensor(out), nil
}

// axisLists allocates the index lists of gatherAxes for a result of the given shape.
func axisLists(c *Call, shape []int64) ([][]int, error) {
	if !sane(shape) {
		return nil, fmt.Errorf("shape %v is negative or too large", shape)
	}
	idx := make([][]int, len(shape))
	for i, n := range shape {
		if err := c.reserve(n, 8); err != nil {
			return nil, fmt.Errorf("shape %v: %w", shape, err)
		}
		idx[i] = make([]int, n)
	}
	return idx, nil
}

// run is a stretch of consecutive indices, or of negative ones (from is -1).
type run struct{ from, n int }

func contiguousRuns(idx []int) []run {
	var r []run
	for _, j := range idx {
		if k := len(r) - 1; k >= 0 && (j < 0 && r[k].from < 0 || j >= 0 && r[k].from >= 0 && j == r[k].from+r[k].n) {
			r[k].n++
		} else {
			r = append(r, run{max(j, -1), 1})
		}
	}
	return r
}
