package infer

import "slices"

// inferConcat: sizes along axis add up, the others agree. Contents follow along the first axis.
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
	if axis == 0 {
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
		if data := c.data(0); data != nil && len(d) == 1 && number && n >= 0 && at <= int64(len(data))-n {
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
		if parts[n-1] = size.Sub(part.Mul(Num(n - 1))); parts[n-1].Neg().Positive() {
			return vector(int(n)) // rounding up leaves too little; the standard does not say what happens
		}
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
	if axis == 0 {
		c.gatherData()
	}
}

// gatherData takes rows of a small content. Indices outside it make the node fail when it runs.
func (c *call) gatherData() {
	data := c.data(0)
	at, ok := c.consts(1)
	sizes, known := c.arg(0).sizes()
	if data == nil || !ok || !known || sizes[0] == 0 {
		return
	}
	row := int64(len(data)) / sizes[0]
	r := make([]elem, 0, len(at))
	for _, k := range at {
		i := k
		if i < 0 {
			i += sizes[0]
		}
		if i < 0 || i >= sizes[0] {
			c.a.remark(Warning, c.n, nil, "index %d is outside an axis of size %d", k, sizes[0])
			return
		}
		if r = append(r, data[i*row:(i+1)*row]...); len(r) > maxData {
			return
		}
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
