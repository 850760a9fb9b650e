package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// contribSkipNorm: the operand's shape; mean and deviation have 1 in place of the last axis; result 3 is the sum.
func contribSkipNorm(c *call) {
	d, ok := c.dims(0)
	for _, i := range []int{0, 3} {
		c.setElem(i, c.elem(0))
		c.setLike(i, 0)
	}
	for _, i := range []int{1, 2} {
		c.setElem(i, ir.Float32)
		if ok && len(d) > 0 {
			r := slices.Clone(d)
			r[len(r)-1] = Num(1)
			c.set(i, r)
		}
	}
}

// contribSimplifiedNorm: the operand's shape, and 1/root with 1 in place of axis and all after it.
func contribSimplifiedNorm(c *call) {
	inferLayerNorm(c)
	c.like0(1)
}

// contribEmbed: [batch, length, size] of words [batch, length] and a table [words, size]; the mask's counts [batch]; the sum.
func contribEmbed(c *call) {
	ids, ok := c.dims(0)
	table, ok2 := c.dims(2)
	c.setElem(1, ir.Int32)
	for _, i := range []int{0, 2} {
		c.setElem(i, c.elem(2))
		if ok && ok2 && len(ids) == 2 && len(table) == 2 {
			c.set(i, []Int{ids[0], ids[1], table[1]})
		}
	}
	if ok && len(ids) == 2 {
		c.set(1, []Int{ids[0]})
	}
}

// contribAttention: input [batch, length, D], weights [D, sizes of Q, K and V]; Y [batch, length, size of V] and keys and values [2,
// batch, heads, past + length, size].
func contribAttention(c *call) {
	for i := range c.out {
		c.setElem(i, c.elem(0))
	}
	x, ok := c.dims(0)
	w, ok2 := c.dims(1)
	n := Num(c.int("num_heads"))
	if !ok || !ok2 || len(x) != 3 || len(w) != 2 || !n.Positive() {
		return
	}
	size := w[1].FloorDiv(Num(3))
	if s := c.attrInts("qkv_hidden_sizes"); len(s) == 3 {
		size = Num(s[2])
	}
	c.set(0, []Int{x[0], x[1], size})
	total := x[1]
	if c.has(4) {
		total = Int{}
		if p, ok := c.dims(4); ok && len(p) == 5 {
			total = p[3].Add(x[1])
		}
	}
	c.set(1, []Int{Num(2), x[0], n, total, size.FloorDiv(n)})
}

// contribMultiHead: see the kernel for the forms of the operands.
func contribMultiHead(c *call) {
	for i := range c.out {
		c.setElem(i, c.elem(0))
	}
	n := Num(c.int("num_heads"))
	q, ok := c.dims(0)
	if !ok || !n.Positive() {
		return
	}
	batch, length := q[0], Int{}
	var keys, kSize, vSize Int
	k, kOK := c.dims(1)
	v, vOK := c.dims(2)
	switch {
	case len(q) == 5:
		length, keys, kSize, vSize = q[1], q[1], q[4], q[4]
	case len(q) != 3:
		return
	case kOK && len(k) == 5:
		length, keys, kSize, vSize = q[1], k[1], k[4], k[4]
	case kOK && vOK && len(k) == 4 && len(v) == 4:
		length, keys, kSize, vSize = q[1], k[2], k[3], v[3]
	case kOK && vOK && len(k) == 3 && len(v) == 3:
		length, keys, kSize, vSize = q[1], k[1], k[2].FloorDiv(n), v[2].FloorDiv(n)
		c.set(0, []Int{batch, length, v[2]})
	default:
		return
	}
	if len(k) != 3 || len(q) == 5 {
		c.set(0, []Int{batch, length, n.Mul(vSize)})
	}
	if c.has(8) { // buffers of more places than there are keys
		c.setLike(1, 6)
		c.setLike(2, 7)
		c.set(3, []Int{batch, n, length, c.a.fresh()})
		return
	}
	if c.has(6) {
		if p, ok := c.dims(6); ok && len(p) == 4 {
			keys = p[2].Add(keys)
		} else {
			keys = c.a.fresh()
		}
	}
	c.set(1, []Int{batch, n, keys, kSize})
	c.set(2, []Int{batch, n, keys, vSize})
	c.set(3, []Int{batch, n, length, keys})
}

// contribGroupQuery: Y like Q, or the part of it where keys and values lie beside it; keys and values [batch, heads, places, size].
func contribGroupQuery(c *call) {
	for i := range c.out {
		c.setElem(i, c.elem(0))
	}
	q, ok := c.dims(0)
	n, kn := Num(c.int("num_heads")), Num(c.int("kv_num_heads"))
	if !ok || len(q) != 3 || !n.Positive() || !kn.Positive() {
		return
	}
	all, size := n, Int{}
	if !c.has(1) {
		all = n.Add(kn).Add(kn)
	}
	if size, ok = q[2].exactDiv(all); !ok {
		size = q[2].FloorDiv(all)
	}
	if c.has(1) {
		c.set(0, slices.Clone(q))
	} else {
		c.set(0, []Int{q[0], q[1], n.Mul(size)})
	}
	if len(c.out) == 1 {
		return
	}
	places := c.scalar(6)
	if c.has(3) {
		past, known := c.dims(3)
		if known && len(past) == 4 && c.elem(3) == ir.Uint8 { // two elements in a byte
			size = past[3]
		}
		if known && len(past) == 4 && c.int("sliding_window_cache") != 0 {
			places = past[2]
		} else if known && len(past) == 4 && places.IsKnown() {
			places = places.Max(past[2])
		} else {
			places = Int{}
		}
	}
	if !places.IsKnown() {
		places = c.a.fresh()
	}
	for i := 1; i < 3; i++ {
		if c.has(2 + i) {
			c.setElem(i, c.elem(2+i))
		}
		c.set(i, []Int{q[0], kn, places, size})
	}
}

// contribNBits: the last axis becomes N.
func contribNBits(c *call) {
	c.like0(0)
	d, ok := c.dims(0)
	if !ok || len(d) == 0 || c.int("N") <= 0 {
		return
	}
	r := slices.Clone(d)
	r[len(r)-1] = Num(c.int("N"))
	c.set(0, r)
}

// contribGatherBlocks: Gather of elements, of which bytes hold several along the last axis.
func contribGatherBlocks(c *call) {
	c.like0(2)
	d, ok := c.dims(0)
	ind, ok2 := c.dims(1)
	if !ok || !ok2 || len(d) == 0 {
		return
	}
	axis, ok := c.axis(c.int("gather_axis"), len(d))
	if !ok {
		return
	}
	d = slices.Clone(d)
	bits := int64(4)
	if c.hasAttr("bits") {
		bits = c.int("bits")
	}
	if c.elem(0) == ir.Uint8 && (bits == 2 || bits == 4 || bits == 8) {
		d[len(d)-1] = d[len(d)-1].Mul(Num(8 / bits))
	}
	c.set(0, slices.Concat(d[:axis], ind, d[axis+1:]))
}
