package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// kvCache is how the keys or the values of a GroupQueryAttention are kept: as they are, or as integers of 8 bits, or of 4 bits, two in
// a byte, the first one in its lower half, 8 above their value. The zero value keeps them as they are.
type kvCache struct {
	bits   int       // 0: not quantized
	scales []float64 // one, or one for each element of each head
}

// newKVCache reads how operand past is quantized; how is the attribute's value, with scales in operand scale.
func newKVCache(c *Call, past, scale int, how string, h *heads) (q kvCache, err error) {
	if how == "NONE" {
		return q, nil
	}
	t, err := c.Need(past)
	if err != nil {
		return q, err
	}
	if q.bits = int(c.int("kv_cache_bit_width", 0)); q.bits == 0 {
		q.bits = 8
	}
	if q.bits == 8 && t.DType() != ir.Int8 || q.bits == 4 && (t.DType() != ir.Uint8 || h.size%2 != 0) || q.bits != 4 && q.bits != 8 {
		return q, fmt.Errorf("a cache of %d bits in %s", q.bits, t.Type())
	}
	s, err := c.Need(scale)
	if err != nil {
		return q, err
	}
	want := int64(1)
	if how == "PER_CHANNEL" {
		want = int64(h.heads * h.size)
	} else if how != "PER_TENSOR" {
		return q, fmt.Errorf("a cache quantized as %q", how)
	}
	if !s.DType().IsFloat() || s.Len() != want {
		return q, c.badOperand(scale, s)
	}
	q.scales, err = c.floats(s)
	return q, err
}

// scale is that of element d of a head.
func (q kvCache) scale(h *heads, head, d int) float32 {
	return float32(q.scales[(head*h.size+d)%len(q.scales)])
}

// read is the cache in operand i, as integers where it is quantized; heads like those of h; nil where there is none.
func (q kvCache) read(c *Call, i int, h *heads) (*heads, error) {
	t, err := c.Tensor(i)
	if t == nil || err != nil {
		return nil, err
	}
	size := h.size
	if q.bits == 4 {
		size /= 2
	}
	s := t.Shape()
	if len(s) != 4 || s[0] != int64(h.batch) || s[1] != int64(h.heads) || s[3] != int64(size) || (q.bits == 0) != t.DType().IsFloat() {
		return nil, c.badOperand(i, t)
	}
	r := &heads{dtype: t.DType(), batch: h.batch, heads: h.heads, length: int(s[2]), size: h.size}
	if q.bits != 4 {
		if err := c.reserve(t.Len(), 8); err != nil {
			return nil, err
		}
		r.v, err = c.floats(t)
		return r, err
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	if r.v, err = alloc[float64](c, []int64{int64(2 * len(b))}); err != nil {
		return nil, err
	}
	for k, e := range b {
		r.v[2*k], r.v[2*k+1] = float64(e&15)-8, float64(e>>4)-8
	}
	return r, nil
}

// store is what the cache keeps of a row x of a head of h: integers, ties to even, where it is quantized.
func (q kvCache) store(dst, x []float64, h *heads, head int) {
	if q.bits == 0 {
		copy(dst, x)
		return
	}
	most := math.Ldexp(1, q.bits-1)
	for d, e := range x {
		v := math.RoundToEven(float64(float32(e) / q.scale(h, head, d)))
		if v != v {
			v = 0
		}
		dst[d] = max(-most, min(most-1, v))
	}
}

// values are the numbers that a cache stands for.
func (q kvCache) values(c *Call, h *heads) (*heads, error) {
	if q.bits == 0 {
		return h, nil
	}
	r := *h
	var err error
	if r.v, err = alloc[float64](c, []int64{int64(h.batch), int64(h.heads), int64(h.length), int64(h.size)}); err != nil {
		return nil, err
	}
	for b := range h.batch {
		for k := range h.heads {
			for i := range h.length {
				dst := r.row(b, k, i)
				for d, e := range h.row(b, k, i) {
					dst[d] = float64(float32(e) * q.scale(h, k, d))
				}
			}
		}
	}
	return &r, nil
}

// tensor is a cache in the form in which it came.
func (q kvCache) tensor(c *Call, h *heads, d ir.DType) (*ir.Tensor, error) {
	shape := []int64{int64(h.batch), int64(h.heads), int64(h.length), int64(h.size)}
	switch q.bits {
	case 0:
		return convertFloats(c, d, shape, h.v)
	case 8:
		return convertFloats(c, ir.Int8, shape, h.v)
	}
	shape[3] /= 2
	b, err := alloc[uint8](c, shape)
	for i := range b {
		b[i] = uint8(h.v[2*i]+8) | uint8(h.v[2*i+1]+8)<<4
	}
	return ir.NewTensor(ir.Uint8, shape, b), err
}

// tokenWindow is a cache of fewer rows than there are tokens: it keeps the last ones, in order from row 0, and drops several at once.
type tokenWindow struct{ width, capacity int }

// newTokenWindow reads the window of a cache that slides; nil for one that does not.
func newTokenWindow(c *Call) (*tokenWindow, error) {
	if c.int("sliding_window_cache", 0) == 0 {
		return nil, nil
	}
	t, err := c.Need(3)
	if err != nil {
		return nil, err
	}
	width := c.int("local_window_size", -1)
	if t.Rank() != 4 || width < 1 || t.Shape()[2] < width || t.Shape()[2] > 1<<40 {
		return nil, fmt.Errorf("a cache %s that slides with a window of %d", t.Type(), width)
	}
	if c.wants(3) {
		return nil, errors.New("the products with a cache that slides are not supported")
	}
	return &tokenWindow{int(width), int(t.Shape()[2])}, nil
}

// resident is how many of n tokens the cache keeps: all while there is room; then so many fewer at a time that the window remains.
func (w *tokenWindow) resident(n int) int {
	if w == nil || n <= w.capacity {
		return n
	}
	step := w.capacity - w.width + 1
	return n - step*((n-w.capacity+step-1)/step)
}

// after is the cache when entry b has seen last[b] tokens; row 0 of h is token first[b].
func (w *tokenWindow) after(c *Call, h *heads, first, last []int) (*heads, error) {
	if w == nil {
		return h, nil
	}
	r := &heads{dtype: h.dtype, batch: h.batch, heads: h.heads, length: w.capacity, size: h.size}
	var err error
	if r.v, err = alloc[float64](c, []int64{int64(r.batch), int64(r.heads), int64(r.length), int64(r.size)}); err != nil {
		return nil, err
	}
	for b := range r.batch {
		kept := w.resident(last[b])
		for k := range r.heads {
			for i := range kept {
				copy(r.row(b, k, i), h.row(b, k, last[b]-kept+i-first[b]))
			}
		}
	}
	return r, nil
}
