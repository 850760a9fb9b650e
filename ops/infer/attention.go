package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// inferAttention: Q, K, V of rank 4 [batch, heads, length, size], or of rank 3 [batch, length, heads*size] with the numbers of heads as
// attributes; then mask, past_key, past_value. Results: Y like Q with the size of V, present key and value [batch, heads, past +
// length, size], and the scores [batch, heads, length, past + length].
func inferAttention(c *call) {
	q, ok := c.dims(0)
	k, ok2 := c.dims(1)
	v, ok3 := c.dims(2)
	if !ok || !ok2 || !ok3 {
		return
	}
	if len(q) != len(k) || len(q) != len(v) || len(q) != 3 && len(q) != 4 {
		c.errorf("Q, K and V have ranks %d, %d and %d", len(q), len(k), len(v))
		return
	}
	flat := len(q) == 3
	if flat {
		qh, kh := Num(c.int("q_num_heads")), Num(c.int("kv_num_heads"))
		if !qh.Positive() || !kh.Positive() {
			c.errorf("operands of rank 3 need attributes q_num_heads and kv_num_heads")
			return
		}
		q, k, v = heads(q, qh), heads(k, kh), heads(v, kh)
	}
	y := []Int{q[0], q[1], q[2], v[3]}
	if flat {
		y = []Int{q[0], q[2], q[1].Mul(v[3])}
	}
	c.set(0, y)
	total := k[2]
	if c.has(4) {
		total = Int{}
		if past, ok := c.dims(4); ok && len(past) == 4 {
			total = past[2].Add(k[2])
		}
	}
	if !total.known {
		total = c.a.fresh()
	}
	c.set(1, []Int{k[0], k[1], total, k[3]})
	c.set(2, []Int{v[0], v[1], total, v[3]})
	c.set(3, []Int{q[0], q[1], q[2], total})
}

// heads is [batch, heads, length, size] of [batch, length, heads*size].
func heads(d []Int, n Int) []Int {
	size, ok := d[2].exactDiv(n)
	if !ok {
		size = d[2].FloorDiv(n)
	}
	return []Int{d[0], n, d[1], size}
}

// inferLinearAttention: query, key and value [batch, length, heads*size]; the state is [batch, heads, key size, value size].
func inferLinearAttention(c *call) {
	q, ok := c.dims(0)
	k, ok2 := c.dims(1)
	v, ok3 := c.dims(2)
	qh, kh := Num(c.int("q_num_heads")), Num(c.int("kv_num_heads"))
	if !c.rank(0, 3) || !c.rank(1, 3) || !c.rank(2, 3) {
		return
	}
	if c.has(3) {
		c.setLike(1, 3)
	} else if c.elem(0) != ir.Undefined {
		c.setElem(1, c.elem(0))
	}
	if !ok || !ok2 || !ok3 || !qh.Positive() || !kh.Positive() {
		return
	}
	k, v = heads(k, kh), heads(v, kh)
	c.set(0, []Int{q[0], q[1], qh.Mul(v[3])})
	if !c.has(3) {
		c.set(1, []Int{q[0], kh, k[3], v[3]})
	}
}

// inferFlexAttention: Q [batch, heads, length, size] with the size of V.
func inferFlexAttention(c *call) {
	q, ok := c.dims(0)
	v, ok2 := c.dims(2)
	if !ok || len(q) != 4 {
		return
	}
	r := slices.Clone(q)
	r[3] = Int{}
	if ok2 && len(v) == 4 {
		r[3] = v[3]
	}
	c.set(0, r)
}
