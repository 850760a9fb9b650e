package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// like gives the results the element type of operand 0 and applies r.
func like(r rule) rule {
	return func(c *call) {
		c.like0(0)
		r(c)
	}
}

// contribFixed is the product of operands 0 and 1 with elements of type d.
func contribFixed(d ir.DType) rule {
	return func(c *call) {
		c.setElem(0, d)
		c.matmul(0, 1)
	}
}

// contribDropout: the operand, and a mask of its shape.
func contribDropout(c *call) {
	c.like0(0)
	c.setLike(0, 0)
	c.setElem(1, ir.Bool)
	c.setLike(1, 0)
}

// contribSkipGroupNorm: both results are like the operand.
func contribSkipGroupNorm(c *call) {
	for i := range c.out {
		c.setElem(i, c.elem(0))
		c.setLike(i, 0)
	}
}

// contribSplitGelu: half of the last axis gates the other half.
func contribSplitGelu(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	if !ok || len(d) == 0 {
		return
	}
	d = slices.Clone(d)
	d[len(d)-1] = d[len(d)-1].FloorDiv(Num(2))
	c.set(0, d)
}

// contribCDist: rows of operand 0 by rows of operand 1.
func contribCDist(c *call) {
	c.like0(0)
	a, ok := c.dims(0)
	b, ok2 := c.dims(1)
	if ok && ok2 && len(a) == 2 && len(b) == 2 {
		c.set(0, []Int{a[0], b[0]})
	}
}

// contribExpandDims adds an axis of size 1 where operand 1 says, which counts in the result.
func contribExpandDims(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	at, ok2 := c.scalar(1).Const()
	switch {
	case !ok:
	case !ok2:
		c.set(0, vector(len(d)+1))
	default:
		if k, ok := c.axis(at, len(d)+1); ok {
			c.set(0, slices.Insert(slices.Clone(d), k, Num(1)))
		}
	}
}

// contribUnique: the distinct elements of a vector, the place of each element among them, and how often each is there.
func contribUnique(c *call) {
	c.like0(0)
	n := c.a.fresh()
	c.set(0, []Int{n})
	c.setElem(1, ir.Int64)
	c.setLike(1, 0)
	c.setElem(2, ir.Int64)
	c.set(2, []Int{n})
}

// contribQAttention is Attention on quantized data, with past keys and values as operand 8.
func contribQAttention(c *call) {
	in := c.in
	c.in = make([]*info, 5)
	copy(c.in, in[:min(len(in), 3)])
	if len(in) > 8 {
		c.in[4] = in[8]
	}
	contribAttention(c)
	for i := range c.out {
		c.setElem(i, in[3].elem)
	}
}

// contribQEmbed is EmbedLayerNormalization on quantized tables, whose scale is operand 8.
func contribQEmbed(c *call) {
	contribEmbed(c)
	if c.has(8) {
		c.setElem(0, c.elem(8))
	}
}

// contribGatedBias: [batch, heads, length, length] of a query [batch, length, size].
func contribGatedBias(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	if n := Num(c.int("num_heads")); ok && len(d) == 3 && n.Positive() && !c.has(6) {
		c.set(0, []Int{d[0], n, d[1], d[1]})
	}
}

// contribRelativeBias: [1, heads, length of queries, length of keys] of a table [buckets, heads].
func contribRelativeBias(c *call) {
	c.like0(0)
	if d, ok := c.dims(0); ok && len(d) == 2 {
		c.set(0, []Int{Num(1), d[1], c.scalar(1), c.scalar(2)})
	}
}
