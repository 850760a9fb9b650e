package infer

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// inferConcat: sizes along axis add up, the others agree. Contents of vectors follow.
func inferConcat(c *call) {
	first, ok := c.dims(0)
	rank := len(first)
	for i := 1; i < len(c.in) && !ok; i++ {
		if d, known := c.dims(i); known {
			rank, ok = len(d), true
		}
	}
	if !ok {
		return
	}
	axis, ok := c.axis(c.int("axis"), rank)
	if !ok {
		return
	}
	r := vector(rank)
	r[axis] = Num(0)
	for i := range c.in {
		d, known := c.dims(i)
		if !known {
			r[axis] = Int{}
			continue
		}
		if len(d) != rank {
			c.errorf("operand %d has rank %d, another one %d", i, len(d), rank)
			return
		}
		for k, x := range d {
			if k == axis {
				r[k] = r[k].Add(x)
			} else if r[k], ok = c.agree(r[k], x); !ok {
				c.errorf("along axis %d operand %d has size %s, another one %s", k, i, x, r[k])
				return
			}
		}
	}
	c.set(0, r)
	if rank == 1 {
		c.concatData()
	}
}

// agree is a size that is both x and y: the one that says more. ok is false if they surely differ.
func (c *call) agree(x, y Int) (z Int, ok bool) {
	_, xn := x.Const()
	_, yn := y.Const()
	switch {
	case !x.known:
		return y, true
	case !y.known || x.Same(y):
		return x, true
	case x.Differs(y):
		return x, !(xn && yn)
	case yn || !xn && x.private() && !y.private():
		return y, true
	}
	return x, true
}

func (c *call) concatData() {
	var r []elem
	some := false
	for i := range c.in {
		data := c.data(i)
		if data == nil {
			n, ok := c.arg(i).count().Const()
			if !ok || n > maxData {
				return
			}
			data = make([]elem, n)
		} else {
			some = true
		}
		if r = append(r, data...); len(r) > maxData {
			return
		}
	}
	if some {
		c.setData(0, r)
	}
}

// inferSplit: attribute or operand split, or equal parts (the last one smaller from opset 18 on).
func inferSplit(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	axis, ok := c.axis(c.int("axis"), len(d))
	if !ok {
		return
	}
	parts, known := c.splitSizes(d[axis])
	at := int64(0)
	for i := range c.out {
		r := slices.Clone(d)
		r[axis] = Int{}
		if known && i < len(parts) {
			r[axis] = parts[i]
		}
		c.set(i, r)
		n, number := r[axis].Const()
		if data := c.data(0); data != nil && len(d) == 1 && number && at+n <= int64(len(data)) {
			c.setData(i, data[at:at+n])
			at += n
		}
	}
}

// splitSizes are the sizes of the parts of an axis of that size; ok is false if they are not known.
func (c *call) splitSizes(size Int) (parts []Int, ok bool) {
	switch {
	case c.schema.Attr("split") != nil && c.hasAttr("split"):
		for _, n := range c.attrInts("split") {
			parts = append(parts, Num(n))
		}
	case c.has(1):
		if parts, ok = c.ints(1); !ok {
			return nil, false
		}
	default:
		n := int64(len(c.out))
		if c.hasAttr("num_outputs") {
			n = c.int("num_outputs")
		}
		return c.equalParts(size, n), true
	}
	sum := Num(0)
	for _, p := range parts {
		if n, number := p.Const(); number && n < 0 {
			c.errorf("a part has size %d", n)
			return nil, false
		}
		sum = sum.Add(p)
	}
	if sum.Differs(size) {
		c.errorf("the parts add up to %s, but the axis has size %s", sum, size)
		return nil, false
	}
	return parts, true
}

func (c *call) equalParts(size Int, n int64) []Int {
	if n <= 0 || n > int64(len(c.out)) {
		c.errorf("%d parts for %d results", n, len(c.out))
		return nil
	}
	if s, ok := size.Const(); ok && s%n != 0 && c.since() < 18 {
		c.errorf("an axis of size %d cannot be split into %d equal parts", s, n)
		return nil
	}
	part := size.CeilDiv(Num(n))
	if _, exact := size.exactDiv(Num(n)); !exact && c.since() < 18 {
		part = size.FloorDiv(Num(n)) // it divides, or the node fails
	}
	parts := slices.Repeat([]Int{part}, int(n))
	if c.since() >= 18 {
		parts[n-1] = size.Sub(part.Mul(Num(n - 1)))
	}
	return parts
}

// inferGather: the dimensions of the indices in place of the axis.
func inferGather(c *call) {
	d, ok := c.dims(0)
	ind, ok2 := c.dims(1)
	if !ok {
		return
	}
	axis, ok := c.axis(c.int("axis"), len(d))
	if !ok || !ok2 {
		return
	}
	c.set(0, slices.Concat(d[:axis], ind, d[axis+1:]))
	data := c.data(0)
	at, ok := c.consts(1)
	if len(d) != 1 || data == nil || !ok {
		return
	}
	r := make([]elem, len(at))
	for i, k := range at {
		if k < 0 {
			k += int64(len(data))
		}
		if k < 0 || k >= int64(len(data)) {
			c.a.remark(Warning, c.n, nil, "index %d is outside an axis of size %d", at[i], len(data))
			return
		}
		r[i] = data[k]
	}
	c.setData(0, r)
}

// inferGatherElements: the shape of the indices.
func inferGatherElements(c *call) { c.setLike(0, 1) }

// inferGatherND: batch and index dimensions, then what the index tuples leave of the data's.
func inferGatherND(c *call) {
	d, ok := c.dims(0)
	ind, ok2 := c.dims(1)
	b := int(c.int("batch_dims"))
	if !ok || !ok2 || len(ind) == 0 {
		return
	}
	k, ok := ind[len(ind)-1].Const()
	if !ok {
		return
	}
	if k < 1 || b < 0 || int(k)+b > len(d) || b >= len(ind) {
		c.errorf("index tuples of %d entries after %d batch axes for a tensor of rank %d", k, b, len(d))
		return
	}
	c.set(0, slices.Concat(ind[:len(ind)-1], d[b+int(k):]))
}

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
	if data := c.data(0); data != nil && len(d) == 1 && len(axes) == 1 {
		c.sliceData(data, starts[0], ends[0], steps[0])
	} else if len(axes) == 0 {
		c.keepData()
	}
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
		if en && e <= -math.MaxInt32 && (sn && (s == -1 || s >= math.MaxInt32) || start.Same(size.Sub(Num(1)))) {
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
	case number && n >= math.MaxInt32, b.Same(size):
		return size
	case number && n <= -math.MaxInt32:
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

func (c *call) sliceData(data []elem, start, end Int, step int64) {
	s, ok := start.Const()
	e, ok2 := end.Const()
	if !ok || !ok2 {
		return
	}
	from, to := clampSlice(int64(len(data)), s, e, step)
	var r []elem
	for i := range max(0, ceilDiv(to-from, step)) {
		r = append(r, data[from+i*step])
	}
	if r == nil {
		r = []elem{}
	}
	c.setData(0, r)
}

// inferPad: pads holds the number of elements added before each axis, then after each; from opset 18 on axes may name the axes.
func inferPad(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	var pads []Int
	switch {
	case c.schema.Attr("pads") != nil, c.schema.Attr("paddings") != nil:
		name := "pads"
		if c.since() < 2 {
			name = "paddings"
		}
		for _, n := range c.attrInts(name) {
			pads = append(pads, Num(n))
		}
	default:
		if pads, ok = c.ints(1); !ok {
			c.set(0, vector(len(d)))
			return
		}
	}
	axes := make([]int, len(d))
	for i := range axes {
		axes[i] = i
	}
	if c.has(3) {
		vs, ok := c.consts(3)
		if !ok {
			c.set(0, vector(len(d)))
			return
		}
		if axes, ok = c.axes(vs, len(d)); !ok {
			return
		}
	}
	if len(pads) != 2*len(axes) {
		c.errorf("%d pads for %d axes", len(pads), len(axes))
		return
	}
	r := slices.Clone(d)
	for i, k := range axes {
		r[k] = d[k].Add(pads[i]).Add(pads[i+len(axes)])
		if n, number := r[k].Const(); number && n < 0 {
			c.errorf("axis %d gets size %d", k, n)
			return
		}
	}
	c.set(0, r)
}

// inferDepthToSpace moves channels to blocks of pixels, inferSpaceToDepth back; [N, C, H, W].
func inferDepthToSpace(c *call) {
	c.blocks(func(ch, h, w, b Int) (Int, Int, Int) { return ch.FloorDiv(b.Mul(b)), h.Mul(b), w.Mul(b) })
}

func inferSpaceToDepth(c *call) {
	c.blocks(func(ch, h, w, b Int) (Int, Int, Int) { return ch.Mul(b).Mul(b), h.FloorDiv(b), w.FloorDiv(b) })
}

func (c *call) blocks(f func(ch, h, w, b Int) (Int, Int, Int)) {
	b := c.int("blocksize")
	if b <= 0 {
		if c.hasAttr("blocksize") {
			c.errorf("attribute blocksize is %d", b)
		}
		return
	}
	d, ok := c.dims(0)
	if !ok || !c.rank(0, 4) {
		return
	}
	ch, h, w := f(d[1], d[2], d[3], Num(b))
	c.set(0, []Int{d[0], ch, h, w})
}

// inferCompress: the number of elements chosen is not known; without axis the result is a vector.
func inferCompress(c *call) {
	d, ok := c.dims(0)
	if !c.hasAttr("axis") {
		c.set(0, vector(1))
		return
	}
	if !ok {
		return
	}
	if k, ok := c.axis(c.int("axis"), len(d)); ok {
		r := slices.Clone(d)
		r[k] = Int{}
		c.set(0, r)
	}
}

// inferNonZero: [rank, number of elements other than zero].
func inferNonZero(c *call) {
	r := vector(2)
	if d, ok := c.dims(0); ok {
		r[0] = Num(int64(len(d)))
		if n := 0; c.data(0) != nil && allNumbers(c.data(0)) {
			for _, e := range c.data(0) {
				if e.isNum || !e.Is(0) {
					n++
				}
			}
			r[1] = Num(int64(n))
		}
	}
	c.set(0, r)
}

func allNumbers(data []elem) bool {
	return !slices.ContainsFunc(data, func(e elem) bool {
		_, ok := e.value()
		return !ok
	})
}

// inferOneHot: a new axis of size depth.
func inferOneHot(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	axis, ok := c.axis(c.int("axis"), len(d)+1)
	if !ok {
		return
	}
	depth := Int{}
	if x := c.scalar(1); x.NonNeg() {
		depth = x
	}
	c.set(0, slices.Insert(slices.Clone(d), axis, depth))
}

// inferTopK: values and indices have k elements along axis. Opset 1 had k as an attribute.
func inferTopK(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	axis, ok := c.axis(c.int("axis"), len(d))
	if !ok {
		return
	}
	k := c.scalar(1)
	if c.since() < 10 {
		k = Num(c.int("k"))
	}
	n, number := d[axis].Const()
	if v, ok := k.Const(); ok && (v < 0 || number && v > n) {
		c.errorf("k is %d, but axis %d has size %s", v, axis, d[axis])
		return
	}
	if !k.NonNeg() && !c.isSizeOperand(1) {
		k = Int{}
	}
	r := slices.Clone(d)
	r[axis] = k
	c.set(0, r)
	c.set(1, slices.Clone(r))
}

// isSizeOperand reports whether operand i is one element that is a size.
func (c *call) isSizeOperand(i int) bool {
	data := c.data(i)
	return len(data) == 1 && data[0].size
}

// inferUnique: the number of distinct elements is not known; without axis the operand is flattened.
func inferUnique(c *call) {
	n := c.a.fresh()
	d, ok := c.dims(0)
	switch {
	case !c.hasAttr("axis"):
		c.set(0, []Int{n})
		if ok {
			c.set(2, []Int{product(d)})
		}
	case ok:
		k, ok := c.axis(c.int("axis"), len(d))
		if !ok {
			return
		}
		r := slices.Clone(d)
		r[k] = n
		c.set(0, r)
		c.set(2, []Int{d[k]})
	}
	c.set(1, []Int{n})
	if !c.result(2).ranked {
		c.set(2, vector(1))
	}
	c.set(3, []Int{n})
}

// inferCenterCropPad: the sizes in operand 1 along axes, by default all.
func inferCenterCropPad(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	axes := make([]int, len(d))
	for i := range axes {
		axes[i] = i
	}
	if c.hasAttr("axes") {
		if axes, ok = c.axes(c.attrInts("axes"), len(d)); !ok {
			return
		}
	}
	want, ok := c.ints(1)
	if ok && len(want) != len(axes) {
		c.errorf("%d sizes for %d axes", len(want), len(axes))
		return
	}
	r := slices.Clone(d)
	for i, k := range axes {
		r[k] = Int{}
		if ok {
			r[k] = want[i]
		}
	}
	c.set(0, r)
}

// inferRange: the number of steps from start to limit.
func inferRange(c *call) {
	r := vector(1)
	c.set(0, r)
	if len(c.data(0)) != 1 || len(c.data(1)) != 1 || len(c.data(2)) != 1 {
		return
	}
	start, limit, delta := c.data(0)[0], c.data(1)[0], c.data(2)[0]
	a, ok := start.value()
	b, ok2 := limit.value()
	s, ok3 := delta.value()
	switch {
	case ok3 && s == 0:
		c.errorf("delta is 0")
	case ok && ok2 && ok3 && (start.isNum || limit.isNum || delta.isNum):
		if n := math.Ceil((b - a) / s); n < 1<<53 && n == n {
			r[0] = Num(int64(max(0, n)))
		}
	case start.isNum || limit.isNum || delta.isNum || !delta.known:
	default:
		if k, number := delta.Const(); number && k < 0 {
			r[0] = start.Sub(limit.Int).Max(Num(0)).CeilDiv(delta.Neg())
		} else if number {
			r[0] = limit.Sub(start.Int).Max(Num(0)).CeilDiv(delta.Int)
			if limit.size && start.Is(0) && k == 1 {
				r[0] = limit.Int
			}
		}
		c.rangeData(r[0], start, delta)
	}
}

func (c *call) rangeData(n Int, start, delta elem) {
	k, ok := n.Const()
	if !ok || k > maxData || c.elem(0) == ir.Undefined {
		return
	}
	data := make([]elem, k)
	for i := range data {
		data[i] = elem{Int: start.Add(delta.Mul(Num(int64(i))))}
	}
	c.setData(0, data)
}
