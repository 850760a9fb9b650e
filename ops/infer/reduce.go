package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// inferReduce: axes become 1, or go if keepdims is 0. No axes mean all, or none under noop_with_empty_axes.
func inferReduce(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	keep := c.int("keepdims") != 0
	vs, given, known := c.axesOf(1)
	if !known {
		c.reduceUnknown(d, keep)
		return
	}
	if !given || len(vs) == 0 {
		if c.int("noop_with_empty_axes") != 0 {
			c.set(0, d)
			return
		}
		vs = nil
		for i := range d {
			vs = append(vs, int64(i))
		}
	}
	axes, ok := c.axes(vs, len(d))
	if !ok {
		return
	}
	c.set(0, reduced(d, axes, keep))
	if data := c.data(0); data != nil && (len(d) == 0 || len(d) == 1 && len(axes) == 1) {
		c.reduceData(data)
	}
}

// reduceUnknown: the axes are not known, at most how many.
func (c *call) reduceUnknown(d []Int, keep bool) {
	if keep {
		r := vector(len(d))
		for i, x := range d {
			if x.Is(1) {
				r[i] = x
			}
		}
		c.set(0, r)
	} else if n, ok := c.countOf(1).Const(); ok && n > 0 && int(n) <= len(d) {
		c.set(0, vector(len(d)-int(n)))
	}
}

func reduced(d []Int, axes []int, keep bool) []Int {
	r := make([]Int, 0, len(d))
	for i, x := range d {
		switch {
		case !slices.Contains(axes, i):
			r = append(r, x)
		case keep:
			r = append(r, Num(1))
		}
	}
	return r
}

// reduceData follows the content of a vector that is reduced to one element.
func (c *call) reduceData(data []elem) {
	var f func(ir.DType, elem, elem) elem
	switch c.n.Op().Type {
	case "ReduceSum":
		f = addElem
	case "ReduceProd":
		f = mulElem
	case "ReduceMax":
		f = maxElem
	case "ReduceMin":
		f = minElem
	}
	if f == nil || len(data) == 0 {
		return
	}
	if c.n.Op().Type == "ReduceSum" || c.n.Op().Type == "ReduceProd" {
		for _, x := range data { // fractions would be rounded here at each step, and in kernels once
			if x.isNum {
				return
			}
		}
	}
	r := data[0]
	for _, x := range data[1:] {
		r = fit(c.elem(0), f(c.elem(0), r, x))
	}
	c.setData(0, []elem{r})
}

// inferArg: one axis becomes 1, or goes.
func inferArg(c *call) {
	d, ok := c.dims(0)
	if !ok {
		return
	}
	if k, ok := c.axis(c.int("axis"), len(d)); ok {
		c.set(0, reduced(d, []int{k}, c.int("keepdims") != 0))
	}
}

// inferCumulative: the operand's shape; axis is an operand.
func inferCumulative(c *call) {
	c.setLike(0, 0)
	if d, ok := c.dims(0); ok {
		if k, ok := c.scalar(1).Const(); ok {
			c.axis(k, len(d))
		}
	}
}

// inferNonMaxSuppression: [number of boxes chosen, 3].
func inferNonMaxSuppression(c *call) { c.set(0, []Int{{}, Num(3)}) }
