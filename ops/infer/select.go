package infer

import "slices"

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

// inferNonZero: [rank, number of elements other than zero]. For a scalar the standard says [0, n], and runtimes give [1, n].
func inferNonZero(c *call) {
	r := vector(2)
	if d, ok := c.dims(0); ok {
		if len(d) > 0 { // of a scalar some runtimes make one coordinate, others none
			r[0] = Num(int64(len(d)))
		}
		if n := 0; c.data(0) != nil && allNumbers(c.data(0)) {
			for _, e := range c.data(0) {
				if v, _ := e.value(); v != 0 { // -0 is none
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
