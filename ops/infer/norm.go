package infer

import "slices"

import "github.com/onnxopt/onnxopt/ir"

// inferSoftmax: the operand's shape; axis must be one of its axes.
func inferSoftmax(c *call) {
	c.setLike(0, 0)
	d, ok := c.dims(0)
	if axis := c.int("axis"); ok && len(d) > 0 && !(c.since() < 13 && axis == int64(len(d))) {
		c.axis(axis, len(d))
	}
}

// inferBatchNorm: the operand's shape; further results are like the mean and the variance.
func inferBatchNorm(c *call) {
	c.setLike(0, 0)
	d, ok := c.dims(0)
	for i := 1; i < 5; i++ {
		s, known := c.dims(i)
		if ok && known && len(d) > 1 && len(s) == 1 && c.int("spatial") != 0 {
			if _, fits := c.agree(d[1], s[0]); !fits {
				c.errorf("operand %d has %s elements for %s channels", i, s[0], d[1])
				return
			}
		}
	}
	for i := 1; i < len(c.out); i++ { // mean, variance, and before version 14 both again
		from := 3 + (i-1)%2
		if s, known := c.dims(from); known && len(s) == 1 {
			c.setLike(i, from)
		}
	}
}

// inferLayerNorm: the operand's shape; mean and deviation have 1 in place of axis and all after it.
func inferLayerNorm(c *call) {
	c.setLike(0, 0)
	for i := 1; i < len(c.out); i++ {
		c.setElem(i, ir.DType(c.int("stash_type")))
	}
	d, ok := c.dims(0)
	if !ok {
		return
	}
	k, ok := c.axis(c.int("axis"), len(d))
	if !ok {
		return
	}
	r := slices.Clone(d)
	for i := k; i < len(r); i++ {
		r[i] = Num(1)
	}
	c.set(1, r)
	c.set(2, slices.Clone(r))
}

// inferDropout: the operand, and a mask of its shape.
func inferDropout(c *call) {
	c.setLike(0, 0)
	c.setLike(1, 0)
	if c.since() >= 10 {
		c.setElem(1, ir.Bool)
	}
}

// inferRecurrent: X [length, batch, input] and R [directions, gates*hidden, hidden] give Y [length, directions, batch, hidden] and
// the last states [directions, batch, hidden]; with layout 1 batch comes first everywhere.
func inferRecurrent(c *call) {
	x, ok := c.dims(0)
	if !c.rank(0, 3) {
		return
	}
	length, batch := Int{}, Int{}
	first := c.int("layout") != 0
	switch {
	case ok && first:
		batch, length = x[0], x[1]
	case ok:
		length, batch = x[0], x[1]
	}
	dirs := Num(1)
	if c.str("direction") == "bidirectional" {
		dirs = Num(2)
	}
	hidden := Int{}
	if c.hasAttr("hidden_size") {
		hidden = Num(c.int("hidden_size"))
	} else if r, ok := c.dims(2); ok && len(r) == 3 {
		hidden = r[2]
	}
	for i := range c.out {
		switch {
		case i == 0 && first:
			c.set(i, []Int{batch, length, dirs, hidden})
		case i == 0:
			c.set(i, []Int{length, dirs, batch, hidden})
		case first:
			c.set(i, []Int{batch, dirs, hidden})
		default:
			c.set(i, []Int{dirs, batch, hidden})
		}
	}
	if !batch.known || !length.known || !hidden.known {
		c.shareRecurrent(first)
	}
}

// shareRecurrent gives results that have the same unknown size the same name.
func (c *call) shareRecurrent(first bool) {
	batch, hidden := c.a.fresh(), c.a.fresh()
	for i, x := range c.out {
		b := len(x.dims) - 2
		if first {
			b = 0
		}
		if !x.dims[b].known {
			x.dims[b] = batch
		}
		if h := len(x.dims) - 1; !x.dims[h].known {
			x.dims[h] = hidden
		}
		c.out[i] = x
	}
}
