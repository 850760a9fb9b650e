package infer

import (
	"slices"
)

// window is what convolutions and pools say of their spatial axes.
type window struct {
	kernel, strides, dilations []Int
	pads                       []int64 // before each axis, then after each
	auto                       string  // auto_pad
	ceil                       bool    // ceil_mode
}

// window reads the attributes for n spatial axes; ok is false if they are wrong.
func (c *call) window(n int, kernel []Int) (w window, ok bool) {
	w = window{kernel: kernel, auto: c.str("auto_pad"), ceil: c.int("ceil_mode") != 0}
	list := func(name string) ([]int64, bool) {
		v := slices.Clone(c.attrInts(name))
		if len(v) == 0 {
			v = slices.Repeat([]int64{1}, n)
		}
		if len(v) != n || slices.Min(append(v, 1)) < 1 {
			c.errorf("attribute %s is %v for %d spatial axes", name, v, n)
			return nil, false
		}
		return v, true
	}
	strides, ok := list("strides")
	if !ok {
		return w, false
	}
	dilations, ok := list("dilations")
	if !ok {
		return w, false
	}
	for i := range n {
		w.strides = append(w.strides, Num(strides[i]))
		w.dilations = append(w.dilations, Num(dilations[i]))
		if k, number := kernel[i].Const(); number && k < 1 {
			c.errorf("the kernel has size %d", k)
			return w, false
		}
	}
	if w.pads = c.attrInts("pads"); len(w.pads) == 0 {
		w.pads = make([]int64, 2*n)
	} else if len(w.pads) != 2*n {
		c.errorf("%d pads for %d spatial axes", len(w.pads), n)
		return w, false
	}
	switch w.auto {
	case "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
		return w, true
	}
	c.errorf("attribute auto_pad is %q", w.auto)
	return w, false
}

// extent is the size that the dilated kernel covers along axis i.
func (w *window) extent(i int) Int {
	return w.kernel[i].Sub(Num(1)).Mul(w.dilations[i]).Add(Num(1))
}

// size is the number of windows along spatial axis i of that size.
func (w *window) size(i int, d Int) Int {
	before, after := w.pads[i], w.pads[i+len(w.kernel)]
	switch w.auto {
	case "SAME_UPPER", "SAME_LOWER":
		return d.CeilDiv(w.strides[i])
	case "VALID":
		before, after = 0, 0
	}
	total := d.Add(Num(before)).Add(Num(after))
	room := total.Sub(w.extent(i))
	if !w.ceil {
		return room.FloorDiv(w.strides[i]).Add(Num(1))
	}
	r := room.CeilDiv(w.strides[i]).Add(Num(1))
	// A last window that would start in the padding after the end is left out.
	last := r.Sub(Num(1)).Mul(w.strides[i])
	limit := d.Add(Num(before))
	switch {
	case limit.Sub(last).Positive():
		return r
	case last.Sub(limit).NonNeg():
		return r.Sub(Num(1))
	case w.extent(i).Sub(w.strides[i]).Sub(Num(after)).NonNeg():
		return r // rounding up adds less than a stride, so that the last window starts before the padding
	}
	return Int{}
}

// windows are the numbers of windows along the spatial axes d. A negative one is an error.
func (c *call) windows(w *window, d []Int) []Int {
	r := make([]Int, len(d))
	for i, x := range d {
		r[i] = w.size(i, x)
		if n, ok := r[i].Const(); ok && n < 0 {
			c.errorf("spatial axis %d of size %s is too small for the kernel", i, x)
			return nil
		}
	}
	return r
}

// conv is a convolution of operand x [N, C, spatial...] by operand w [M, C/group, kernel...].
func (c *call) conv(x, w int) {
	d, ok := c.dims(x)
	k, ok2 := c.dims(w)
	if !ok && !ok2 {
		return
	}
	rank := max(len(d), len(k))
	if ok && ok2 && len(d) != len(k) || rank < 3 {
		c.errorf("data of rank %d and weights of rank %d", len(d), len(k))
		return
	}
	r := vector(rank)
	if ok {
		r[0] = d[0]
	}
	kernel := vector(rank - 2)
	if ok2 {
		r[1] = k[0]
		copy(kernel, k[2:])
	}
	if ok && ok2 && !c.groups(d[1], k) {
		return
	}
	if !c.kernelShape(kernel) {
		return
	}
	win, valid := c.window(rank-2, kernel)
	if !valid {
		return
	}
	if ok {
		sp := c.windows(&win, d[2:])
		if sp == nil {
			return
		}
		copy(r[2:], sp)
	}
	c.set(0, r)
}

// groups checks that the channels agree: the data has as many as the weights times the number of groups.
func (c *call) groups(channels Int, k []Int) bool {
	g := c.int("group")
	if g < 1 {
		c.errorf("attribute group is %d", g)
		return false
	}
	_, number := channels.Const()
	if want := k[1].Mul(Num(g)); number && channels.Differs(want) {
		c.errorf("the data has %s channels, the weights are for %s", channels, want)
		return false
	}
	if m, ok := k[0].Const(); ok && m%g != 0 {
		c.errorf("%d output channels in %d groups", m, g)
		return false
	}
	return true
}

// kernelShape takes the kernel's size from the attribute where there is one; it must agree with what is known.
func (c *call) kernelShape(kernel []Int) bool {
	ks := c.attrInts("kernel_shape")
	if !c.hasAttr("kernel_shape") {
		return true
	}
	if len(ks) != len(kernel) {
		c.errorf("attribute kernel_shape has %d entries for %d spatial axes", len(ks), len(kernel))
		return false
	}
	for i, n := range ks {
		if kernel[i].Differs(Num(n)) {
			c.errorf("attribute kernel_shape is %v, but the weights have size %s along spatial axis %d", ks, kernel[i], i)
			return false
		}
		kernel[i] = Num(n)
	}
	return true
}

func inferConv(c *call)        { c.conv(0, 1) }
func inferConvInteger(c *call) { c.conv(0, 1) }
func inferQLinearConv(c *call) { c.conv(0, 3) }

// inferConvTranspose: operand 1 is [C, M/group, kernel...]; attribute output_shape gives the spatial sizes.
func inferConvTranspose(c *call) {
	d, ok := c.dims(0)
	k, ok2 := c.dims(1)
	if !ok && !ok2 {
		return
	}
	rank := max(len(d), len(k))
	if ok && ok2 && len(d) != len(k) || rank < 3 {
		c.errorf("data of rank %d and weights of rank %d", len(d), len(k))
		return
	}
	g := c.int("group")
	if g < 1 {
		c.errorf("attribute group is %d", g)
		return
	}
	r := vector(rank)
	kernel := vector(rank - 2)
	if ok {
		r[0] = d[0]
	}
	if ok2 {
		r[1] = k[1].Mul(Num(g))
		copy(kernel, k[2:])
	}
	if ok && ok2 && d[1].Differs(k[0]) {
		c.errorf("the data has %s channels, the weights are for %s", d[1], k[0])
		return
	}
	if !c.kernelShape(kernel) {
		return
	}
	win, valid := c.window(rank-2, kernel)
	if !valid {
		return
	}
	c.transposedSizes(&win, r[2:], d)
	c.set(0, r)
}

func (c *call) transposedSizes(w *window, r, d []Int) {
	if out := c.attrInts("output_shape"); len(out) >= len(r) && len(out) > 0 {
		for i := range r {
			r[i] = Num(out[len(out)-len(r)+i])
		}
		return
	}
	extra := c.attrInts("output_padding")
	for i := range r {
		if len(d) == 0 {
			return
		}
		x := d[i+2]
		switch w.auto {
		case "SAME_UPPER", "SAME_LOWER":
			// Where a kernel is smaller than its stride, runtimes differ: ONNX Runtime leaves out what would lie behind the last one.
			if w.extent(i).Sub(w.strides[i]).NonNeg() {
				r[i] = x.Mul(w.strides[i])
			}
			continue
		}
		r[i] = x.Sub(Num(1)).Mul(w.strides[i]).Add(w.extent(i))
		if i < len(extra) {
			r[i] = r[i].Add(Num(extra[i]))
		}
		if w.auto != "VALID" {
			r[i] = r[i].Sub(Num(w.pads[i])).Sub(Num(w.pads[i+len(r)]))
		}
	}
}

// inferPool: data [N, C, spatial...]; result 1, the indices of MaxPool, has the same shape.
func inferPool(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	if len(d) < 3 {
		c.errorf("data of rank %d", len(d))
		return
	}
	kernel := vector(len(d) - 2)
	if !c.kernelShape(kernel) {
		return
	}
	w, ok := c.window(len(d)-2, kernel)
	if !ok {
		return
	}
	sp := c.windows(&w, d[2:])
	if sp == nil {
		return
	}
	r := slices.Concat(d[:2], sp)
	c.set(0, r)
	c.set(1, slices.Clone(r))
}

// inferGlobalPool: spatial axes become 1.
func inferGlobalPool(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	if len(d) < 2 {
		c.errorf("data of rank %d", len(d))
		return
	}
	r := slices.Clone(d)
	for i := 2; i < len(r); i++ {
		r[i] = Num(1)
	}
	c.set(0, r)
}

// inferMaxUnpool: operand 2 is the shape, otherwise the smallest size that pools to the operand's.
func inferMaxUnpool(c *call) {
	if want, ok := c.ints(2); ok {
		c.set(0, want)
		return
	}
	d, ok := c.dims(0)
	if !ok || len(d) < 3 {
		return
	}
	r := vector(len(d))
	if !c.has(2) {
		copy(r, d[:2])
		kernel := vector(len(d) - 2)
		if !c.kernelShape(kernel) {
			return
		}
		w, ok := c.window(len(d)-2, kernel)
		if !ok {
			return
		}
		c.transposedSizes(&w, r[2:], d)
	}
	c.set(0, r)
}

// inferRoiPool: [number of regions, C, the size in attribute pooled_shape].
func inferRoiPool(c *call) {
	d, ok := c.dims(0)
	roi, ok2 := c.dims(1)
	size := c.attrInts("pooled_shape")
	r := vector(4)
	if ok && len(d) == 4 {
		r[1] = d[1]
	}
	if ok2 && len(roi) == 2 {
		r[0] = roi[0]
	}
	if len(size) == 2 {
		r[2], r[3] = Num(size[0]), Num(size[1])
	}
	c.set(0, r)
}

// inferRoiAlign: [number of regions, C, output_height, output_width].
func inferRoiAlign(c *call) {
	d, ok := c.dims(0)
	roi, ok2 := c.dims(1)
	if !c.rank(0, 4) || !c.rank(1, 2) {
		return
	}
	r := []Int{{}, {}, Num(c.int("output_height")), Num(c.int("output_width"))}
	if ok {
		r[1] = d[1]
	}
	if ok2 {
		r[0] = roi[0]
	}
	c.set(0, r)
}

// inferCol2Im: [N, C*block, L] to [N, C, image...].
func inferCol2Im(c *call) {
	d, ok := c.dims(0)
	image, known := c.ints(1)
	if !known {
		n, counted := c.countOf(1).Const()
		if !counted || n > maxData {
			return
		}
		image = vector(int(n))
	}
	r := append(vector(2), image...)
	if ok && len(d) == 3 {
		r[0] = d[0]
		if block, ok := c.ints(2); ok {
			if q, exact := d[1].exactDiv(product(block)); exact {
				r[1] = q
			}
		}
	}
	c.set(0, r)
}

// inferCausalConv: the data's shape, and the state that is carried on: [N, C, kernel-1].
func inferCausalConv(c *call) {
	c.setLike(0, 0)
	if c.has(3) {
		c.setLike(1, 3)
		return
	}
	d, ok := c.dims(0)
	w, ok2 := c.dims(1)
	if ok && ok2 && len(d) == 3 && len(w) == 3 {
		c.set(1, []Int{d[0], d[1], w[2].Sub(Num(1))})
	}
}

// inferDeformConv is a convolution whose weights are operand 1.
func inferDeformConv(c *call) { c.conv(0, 1) }
