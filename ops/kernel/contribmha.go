package kernel

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// multiHeadAttentionOp attends with Q, K and V that are projected already. Forms of the operands: Q, K and V of [batch, length,
// heads*size]; Q with K [batch, heads, length, size] and V likewise; Q with K and V packed as [batch, length, heads, 2, size]; all
// packed as [batch, length, heads, 3, size]. Then bias, key mask, additive bias, the past keys and values, and how many of them there
// are where they are buffers of more rows. Results: Y, keys and values with the past in front, or the buffers with the new ones behind
// the past, and the products that go into the softmax.
func multiHeadAttentionOp(c *Call) ([]ir.Datum, error) {
	q, k, v, err := contribOperands(c, c.int("num_heads", 0))
	if err != nil {
		return nil, err
	}
	if err := contribProjectionBias(c, q, k, v); err != nil {
		return nil, err
	}
	if len(c.In) > 9 && c.In[9] != nil {
		return nil, errors.New("caches of several beams are not supported")
	}
	length := k.length
	var present []*heads
	for i, h := range []**heads{&k, &v} {
		kept, err := contribPast(c, h, 6+i)
		if err != nil {
			return nil, err
		}
		present = append(present, kept)
	}
	a := &contribHeads{q: q, k: k, v: v, scale: contribScale(c, q.size)}
	if a.bias, err = contribMask(c, 4, 5, q, k.length, k.length-length); err != nil {
		return nil, err
	}
	stage := []int64{int64(q.batch), int64(q.heads), int64(q.length), int64(k.length)}
	if c.wants(3) {
		if a.before, err = alloc[float64](c, stage); err != nil {
			return nil, err
		}
	}
	y, err := a.run(c)
	if err != nil {
		return nil, err
	}
	r := []ir.Datum{y}
	for _, h := range present {
		t, err := h.tensor(c)
		if err != nil {
			return nil, err
		}
		r = append(r, t)
	}
	if a.before != nil {
		t, err := convertFloats(c, q.dtype, stage, a.before)
		if err != nil {
			return nil, err
		}
		r = append(r, t)
	}
	return r[:max(1, min(len(r), len(c.Out)))], nil
}

// contribPast makes *h all keys or values, those of the past in operand i in front, and returns what becomes of the past.
func contribPast(c *Call, h **heads, i int) (*heads, error) {
	var past *heads
	if t, err := c.Tensor(i); err != nil {
		return nil, err
	} else if t != nil {
		if past, err = headsOperand(c, i, 0); err != nil {
			return nil, err
		}
	}
	n, given, err := c.scalarInt(8)
	if err != nil {
		return nil, err
	}
	if !given {
		*h, err = (*h).after(c, past)
		return *h, err
	}
	fresh := *h
	if past == nil || n < 0 || n > int64(past.length-fresh.length) || past.batch != fresh.batch || past.heads != fresh.heads || past.size != fresh.size {
		return nil, fmt.Errorf("a buffer does not hold %d past rows and the new ones", n)
	}
	buffer := *past
	buffer.dtype = fresh.dtype
	if buffer.v, err = clone(c, past.v); err != nil { // which may be the operand's
		return nil, err
	}
	r := &heads{dtype: fresh.dtype, batch: past.batch, heads: past.heads, length: int(n) + fresh.length, size: past.size}
	if r.v, err = alloc[float64](c, []int64{int64(r.batch), int64(r.heads), int64(r.length), int64(r.size)}); err != nil {
		return nil, err
	}
	for b := range r.batch {
		for k := range r.heads {
			for j := range fresh.length {
				copy(buffer.row(b, k, int(n)+j), fresh.row(b, k, j))
			}
			for j := range r.length {
				copy(r.row(b, k, j), buffer.row(b, k, j))
			}
		}
	}
	*h = r
	return &buffer, nil
}

// contribOperands reads Q, K and V in any of their forms.
func contribOperands(c *Call, n int64) (q, k, v *heads, err error) {
	t, err := c.Need(0)
	if err != nil {
		return nil, nil, nil, err
	}
	if t.Rank() == 5 {
		p, err := unpacked(c, 0, 3)
		if err != nil {
			return nil, nil, nil, err
		}
		return p[0], p[1], p[2], nil
	}
	if q, err = headsOperand(c, 0, n); err != nil {
		return nil, nil, nil, err
	}
	kt, err := c.Need(1)
	if err != nil {
		return nil, nil, nil, err
	}
	if kt.Rank() == 5 {
		p, err := unpacked(c, 1, 2)
		if err != nil {
			return nil, nil, nil, err
		}
		return q, p[0], p[1], nil
	}
	if k, err = headsOperand(c, 1, n); err != nil {
		return nil, nil, nil, err
	}
	v, err = headsOperand(c, 2, n)
	return q, k, v, err
}

// unpacked splits operand i [batch, length, heads, n, size].
func unpacked(c *Call, i, n int) ([]*heads, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, err
	}
	s := t.Shape()
	if len(s) != 5 || s[3] != int64(n) {
		return nil, c.badOperand(i, t)
	}
	f, err := c.floats(t)
	if err != nil {
		return nil, err
	}
	r := make([]*heads, n)
	for p := range r {
		h := &heads{dtype: t.DType(), batch: int(s[0]), length: int(s[1]), heads: int(s[2]), size: int(s[4]), merged: true}
		if h.v, err = room(c, len(f)/n); err != nil {
			return nil, err
		}
		for at := p * h.size; at < len(f); at += n * h.size {
			h.v = append(h.v, f[at:at+h.size]...)
		}
		r[p] = h
	}
	return r, nil
}

// contribProjectionBias adds operand 3, the biases of the projections to Q, K and V in a row. K and V that are not merged come
// from a cache or another layer and have their bias already.
func contribProjectionBias(c *Call, qkv ...*heads) error {
	t, err := c.Tensor(3)
	if t == nil || err != nil {
		return err
	}
	n := 0
	for _, h := range qkv {
		n += h.heads * h.size
	}
	b, err := c.sized(3, []int64{int64(n)})
	if err != nil {
		return err
	}
	for _, h := range qkv {
		width := h.heads * h.size
		if h.merged {
			if h.v, err = clone(c, h.v); err != nil {
				return err
			}
			for i := range h.v {
				h.v[i] += b[i%width]
			}
		}
		b = b[width:]
	}
	return nil
}

// contribRotaryEmbeddingOp turns pairs of elements of each head as RotaryEmbedding does. Operands: X, positions (one a vector, or
// the first of all), cosines and sines by position. Without num_heads the size of a head is twice that of a row of cosines.
func contribRotaryEmbeddingOp(c *Call) ([]ir.Datum, error) {
	t, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	cos, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	n := c.int("num_heads", 0)
	if n == 0 && t.Rank() == 3 && cos.Rank() == 2 && cos.Shape()[1] > 0 {
		n = t.Shape()[2] / (2 * cos.Shape()[1])
	}
	x, err := headsOperand(c, 0, n)
	if err != nil {
		return nil, err
	}
	if x.v, err = clone(c, x.v); err != nil {
		return nil, err
	}
	pos, given, err := c.intsOperand(1)
	if err != nil {
		return nil, err
	}
	if !given || len(pos) != 1 && len(pos) != x.batch*x.length {
		return nil, errors.New("the positions do not fit")
	}
	at := func(b, i int) int64 {
		if len(pos) == 1 {
			return pos[0] + int64(i)
		}
		return pos[b*x.length+i]
	}
	turn, err := newTurning(c, 2, 3, int(c.int("rotary_embedding_dim", 0)), c.int("interleaved", 0) != 0)
	if err != nil {
		return nil, err
	}
	turn.scale = float64(c.float("scale", 1))
	if err := turn.all(c, x, at); err != nil {
		return nil, err
	}
	return one(convertFloats(c, x.dtype, t.Shape(), x.v))
}

// turning is a table of cosines and sines [positions, half].
type turning struct {
	cos, sin    []float64
	half        int
	interleaved bool
	scale       float64
}

// newTurning reads the tables in operands i and j for dim elements of a head, or twice the size of their rows.
func newTurning(c *Call, i, j, dim int, interleaved bool) (*turning, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, err
	}
	if t.Rank() != 2 || t.Shape()[1] == 0 || dim != 0 && int64(dim) != 2*t.Shape()[1] {
		return nil, c.badOperand(i, t)
	}
	r := &turning{half: int(t.Shape()[1]), interleaved: interleaved, scale: 1}
	if r.cos, err = c.floats(t); err != nil {
		return nil, err
	}
	if r.sin, err = c.sized(j, t.Shape()); err == nil && r.sin == nil {
		err = errors.New("the sines are missing")
	}
	return r, err
}

// all turns every vector of x, which it changes, by the angle of its position.
func (t *turning) all(c *Call, x *heads, at func(b, i int) int64) error {
	if 2*t.half > x.size {
		return errors.New("the rotation is wider than a head")
	}
	for b := range x.batch {
		for i := range x.length {
			p := at(b, i)
			if p < 0 || p >= int64(len(t.cos)/t.half) {
				return errors.New("a position is not in the table")
			}
			cos, sin := t.cos[int(p)*t.half:][:t.half], t.sin[int(p)*t.half:][:t.half]
			for h := range x.heads {
				v := x.row(b, h, i)[:2*t.half]
				rotate(v, cos, sin, t.interleaved)
				for k := range v {
					v[k] = float64(v[k] * t.scale)
				}
			}
			if err := c.tick(x.heads * x.size); err != nil {
				return err
			}
		}
	}
	return nil
}
