package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// contribHeads is an attention of com.microsoft: softmax(softcap(scale*Q*K') + bias) * V for each head. Heads of Q share those of K
// and V in groups.
type contribHeads struct {
	q, k, v *heads
	scale   float64
	softcap float64                      // 0 for none
	bias    func(b, h, i, j int) float64 // -infinity hides a key
	sink    func(h int) float64          // a logit of a key without a value; nil for none
	before  []float64                    // if not nil, receives what goes into the softmax
	after   []float64                    // if not nil, receives what comes out
}

// run returns Y [batch, length, heads*size].
func (a *contribHeads) run(c *Call) (*ir.Tensor, error) {
	q, k, v := a.q, a.k, a.v
	if k.batch != q.batch || v.batch != q.batch || k.heads != v.heads || k.length != v.length || k.size != q.size || k.heads == 0 || q.heads%k.heads != 0 {
		return nil, errors.New("the shapes of Q, K and V do not fit")
	}
	y := &heads{batch: q.batch, heads: q.heads, length: q.length, size: v.size, merged: true}
	shape := []int64{int64(q.batch), int64(q.length), int64(q.heads * v.size)}
	var err error
	if y.v, err = alloc[float64](c, shape); err != nil {
		return nil, err
	}
	p, group := make([]float64, k.length+1), q.heads/k.heads
	for b := range q.batch {
		for h := range q.heads {
			for i := range q.length {
				a.weights(p, b, h, i)
				dst := y.row(b, h, i)
				for j, w := range p[:k.length] {
					if w != 0 {
						for d, x := range v.row(b, h/group, j) {
							dst[d] += float64(w * x)
						}
					}
				}
				if err := c.tick(k.length * (q.size + v.size + 32)); err != nil {
					return nil, err
				}
			}
		}
	}
	return convertFloats(c, q.dtype, shape, y.v)
}

// weights sets p to the weights of the keys for query i, and the one element more to that of the sink.
func (a *contribHeads) weights(p []float64, b, h, i int) {
	n, row, seen := a.k.length, a.q.row(b, h, i), false
	p[n] = math.Inf(-1)
	for j := range n {
		p[j] = float64(a.scale * dot(row, a.k.row(b, h*a.k.heads/a.q.heads, j)))
		if a.softcap > 0 {
			p[j] = float64(fmath.Tanh(p[j]/a.softcap) * a.softcap)
		}
		add := a.bias(b, h, i, j)
		p[j] += add
		seen = seen || !math.IsInf(add, -1)
	}
	at := ((b*a.q.heads+h)*a.q.length + i) * n
	if a.before != nil {
		copy(a.before[at:at+n], p)
	}
	if a.sink != nil {
		p[n], seen = a.sink(h), true
	}
	if seen {
		softmax(p)
	} else {
		clear(p)
	}
	if a.after != nil {
		copy(a.after[at:at+n], p)
	}
}

// contribScale is attribute scale, where 0 and no value mean 1/sqrt(size).
func contribScale(c *Call, size int) float64 {
	if s := float64(c.float("scale", 0)); s != 0 {
		return s
	}
	return 1 / math.Sqrt(float64(size))
}

// contribMask reads the key mask in operand i and the additive bias in operand j, and adds the causal mask of attribute
// unidirectional. The mask is [batch] (keys from there on are hidden), [2*batch] (and those before the second half's),
// [batch, keys], or [batch, queries, keys]; what it hides gets mask_filter_value, what the causal mask hides the lowest float.
func contribMask(c *Call, i, j int, q *heads, keys, past int) (func(b, h, i, j int) float64, error) {
	mask, given, err := c.intsOperand(i)
	if err != nil {
		return nil, err
	}
	filter := float64(c.float("mask_filter_value", -10000))
	causal := c.int("unidirectional", 0) != 0
	bias, err := c.contribBias(j, q, keys)
	if err != nil {
		return nil, err
	}
	var shown func(b, i, j int) bool
	if given {
		t, _ := c.Tensor(i)
		switch s := t.Shape(); {
		case len(s) == 1 && (len(mask) == q.batch || len(mask) == 3*q.batch+2): // the rest are sums of lengths, for kernels without padding
			shown = func(b, _, j int) bool { return int64(j) < mask[b] }
		case len(s) == 1 && len(mask) == 2*q.batch:
			shown = func(b, _, j int) bool { return int64(j) < mask[b] && int64(j) >= mask[q.batch+b] }
		case slices.Equal(s, []int64{int64(q.batch), int64(keys)}):
			shown = func(b, _, j int) bool { return mask[b*keys+j] > 0 }
		case slices.Equal(s, []int64{int64(q.batch), int64(q.length), int64(keys)}):
			shown = func(b, i, j int) bool { return mask[(b*q.length+i)*keys+j] > 0 }
		default:
			return nil, c.badOperand(i, t)
		}
	}
	return func(b, h, i, j int) float64 {
		add := 0.0
		if shown != nil && !shown(b, i, j) {
			add = filter
		}
		if causal && j > past+i {
			add = -math.MaxFloat32
		}
		return add + bias(b, h, i, j)
	}, nil
}

// contribBias reads operand i, which is added to the products: [batch or 1, heads or 1, queries, at least keys].
func (c *Call) contribBias(i int, q *heads, keys int) (func(b, h, i, j int) float64, error) {
	t, err := c.Tensor(i)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return func(int, int, int, int) float64 { return 0 }, nil
	}
	s := t.Shape()
	if len(s) != 4 || s[0] != 1 && s[0] != int64(q.batch) || s[1] != 1 && s[1] != int64(q.heads) || s[2] != int64(q.length) || s[3] < int64(keys) {
		return nil, c.badOperand(i, t)
	}
	v, err := c.floats(t)
	nb, nh, nk := int(s[0]), int(s[1]), int(s[3])
	return func(b, h, i, j int) float64 { return v[((b%nb*nh+h%nh)*q.length+i)*nk+j] }, err
}

// contribAttentionOp projects the input [batch, length, D] by weights to Q, K and V side by side, adds the bias, and attends. The
// second result is keys and values with the past in front [2, batch, heads, past + length, size].
func contribAttentionOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	w, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	n := int(c.int("num_heads", 0))
	if x.Rank() != 3 || w.Rank() != 2 || x.DType() != w.DType() || n <= 0 {
		return nil, c.badOperand(0, x)
	}
	if c.int("do_rotary", 0) != 0 || c.int("past_present_share_buffer", 0) != 0 { // nor has ONNX Runtime them on a CPU
		return nil, errors.New("do_rotary and past_present_share_buffer are not supported")
	}
	sizes := c.Attr("qkv_hidden_sizes").Ints()
	if len(sizes) == 0 {
		third := w.Shape()[1] / 3
		sizes = []int64{third, third, third}
	}
	if len(sizes) != 3 || sizes[0]+sizes[1]+sizes[2] != w.Shape()[1] || slices.ContainsFunc(sizes, func(d int64) bool { return d <= 0 || d%int64(n) != 0 }) {
		return nil, fmt.Errorf("sizes %v for %d heads and weights %v", sizes, n, w.Shape())
	}
	xv, err := c.floats(x)
	if err != nil {
		return nil, err
	}
	wv, err := c.floats(w)
	if err != nil {
		return nil, err
	}
	all, _, err := matMul(c, xv, wv, x.Shape(), w.Shape())
	if err != nil {
		return nil, err
	}
	if err := c.addVector(all, 2, int(w.Shape()[1])); err != nil {
		return nil, err
	}
	var qkv [3]*heads
	from := 0
	for i := range qkv {
		if qkv[i], err = columns(c, all, x, int(w.Shape()[1]), from, int(sizes[i]), n); err != nil {
			return nil, err
		}
		from += int(sizes[i])
	}
	q, k, v := qkv[0], qkv[1], qkv[2]
	past, err := c.pastHalves(4, k, v)
	if err != nil {
		return nil, err
	}
	length := k.length
	if k, err = k.after(c, past[0]); err != nil {
		return nil, err
	}
	if v, err = v.after(c, past[1]); err != nil {
		return nil, err
	}
	a := &contribHeads{q: q, k: k, v: v, scale: contribScale(c, q.size)}
	if a.bias, err = contribMask(c, 3, 5, q, k.length, k.length-length); err != nil {
		return nil, err
	}
	y, err := a.run(c)
	if err != nil || len(c.Out) < 2 {
		return one(y, err)
	}
	if k.size != v.size {
		return nil, errors.New("keys and values of different sizes have no common present state")
	}
	if err := c.reserve(int64(len(k.v)+len(v.v)), 8); err != nil {
		return nil, err
	}
	present, err := convertFloats(c, x.DType(), []int64{2, int64(k.batch), int64(n), int64(k.length), int64(k.size)}, slices.Concat(k.v, v.v))
	return []ir.Datum{y, present}, err
}

// addVector adds operand i, if it is there, to each row of n elements.
func (c *Call) addVector(v []float64, i, n int) error {
	t, err := c.Tensor(i)
	if t == nil || err != nil {
		return err
	}
	b, err := c.sized(i, []int64{int64(n)})
	if err != nil {
		return err
	}
	for k := range v {
		v[k] += b[k%n]
	}
	return nil
}

// columns takes size columns of all [batch*length, width], n heads.
func columns(c *Call, all []float64, x *ir.Tensor, width, from, size, n int) (*heads, error) {
	h := &heads{dtype: x.DType(), batch: int(x.Shape()[0]), heads: n, length: int(x.Shape()[1]), size: size / n, merged: true}
	var err error
	if h.v, err = room(c, h.batch*h.length*size); err != nil {
		return nil, err
	}
	for r := range h.batch * h.length {
		h.v = append(h.v, all[r*width+from:r*width+from+size]...)
	}
	return h, nil
}

// pastHalves reads operand i [2, batch, heads, past, size]; nil without it.
func (c *Call) pastHalves(i int, k, v *heads) (r [2]*heads, err error) {
	t, err := c.Tensor(i)
	if t == nil || err != nil {
		return r, err
	}
	s := t.Shape()
	if len(s) != 5 || s[0] != 2 || k.size != v.size || s[1] != int64(k.batch) || s[2] != int64(k.heads) || s[4] != int64(k.size) {
		return r, c.badOperand(i, t)
	}
	f, err := c.floats(t)
	half := len(f) / 2
	for n := range r {
		r[n] = &heads{v: f[n*half : (n+1)*half], batch: k.batch, heads: k.heads, length: int(s[3]), size: k.size}
	}
	return r, err
}

// after is h behind a past, which may be nil, in the order [batch, heads, length, size].
func (h *heads) after(c *Call, past *heads) (*heads, error) {
	r := &heads{dtype: h.dtype, batch: h.batch, heads: h.heads, length: h.length, size: h.size}
	n := 0
	if past != nil {
		if n = past.length; past.batch != h.batch || past.heads != h.heads || past.size != h.size {
			return nil, errors.New("the past does not fit the present")
		}
		r.length += n
	}
	var err error
	if r.v, err = alloc[float64](c, []int64{int64(r.batch), int64(r.heads), int64(r.length), int64(r.size)}); err != nil {
		return nil, err
	}
	for b := range r.batch {
		for k := range r.heads {
			for i := range r.length {
				if i < n {
					copy(r.row(b, k, i), past.row(b, k, i))
				} else {
					copy(r.row(b, k, i), h.row(b, k, i-n))
				}
			}
		}
	}
	return r, nil
}
