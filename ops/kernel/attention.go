package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// heads is a tensor [batch, heads, length, size], or [batch, length, heads*size] where merged.
type heads struct {
	v                          []float64
	dtype                      ir.DType
	batch, heads, length, size int
	merged                     bool
}

// row is the vector of one head at one place.
func (h *heads) row(b, head, i int) []float64 {
	at := ((b*h.heads+head)*h.length + i) * h.size
	if h.merged {
		at = ((b*h.length+i)*h.heads + head) * h.size
	}
	return h.v[at : at+h.size]
}

// headsOperand reads operand i; n is the number of heads that an attribute gives for three dimensions.
func headsOperand(c *Call, i int, n int64) (*heads, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, err
	}
	v, err := c.floats(t)
	if err != nil {
		return nil, err
	}
	s := t.Shape()
	switch {
	case len(s) == 4:
		return &heads{v, t.DType(), int(s[0]), int(s[1]), int(s[2]), int(s[3]), false}, nil
	case len(s) == 3 && n > 0 && s[2]%n == 0:
		return &heads{v, t.DType(), int(s[0]), int(n), int(s[1]), int(s[2] / n), true}, nil
	}
	return nil, c.badOperand(i, t)
}

// append joins a cache [batch, heads, past, size] and h along the length; without a cache it copies h.
func (h *heads) append(c *Call, cache int) (*heads, int, error) {
	past := 0
	r := &heads{dtype: h.dtype, batch: h.batch, heads: h.heads, size: h.size}
	t, err := c.Tensor(cache)
	if err != nil {
		return nil, 0, err
	}
	var old *heads
	if t != nil {
		if old, err = headsOperand(c, cache, 0); err != nil {
			return nil, 0, err
		}
		if past = old.length; old.batch != h.batch || old.heads != h.heads || old.size != h.size {
			return nil, 0, c.badOperand(cache, t)
		}
	}
	r.length = past + h.length
	if r.v, err = alloc[float64](c, []int64{int64(r.batch), int64(r.heads), int64(r.length), int64(r.size)}); err != nil {
		return nil, 0, err
	}
	for b := range r.batch {
		for k := range r.heads {
			for i := range r.length {
				if i < past {
					copy(r.row(b, k, i), old.row(b, k, i))
				} else {
					copy(r.row(b, k, i), h.row(b, k, i-past))
				}
			}
		}
	}
	return r, past, nil
}

func (h *heads) tensor(c *Call) (*ir.Tensor, error) {
	return convertFloats(c, h.dtype, []int64{int64(h.batch), int64(h.heads), int64(h.length), int64(h.size)}, h.v)
}

// attentionBias is what is added to the products before the softmax: the mask operand and the limits on which keys a query sees.
type attentionBias struct {
	mask        []float64 // additive; nil if there is none
	shape       []int64   // of the mask, four dimensions
	causal      bool
	left, right int64   // window, -1 for no limit
	offset      []int64 // of the queries' positions, one a batch entry
	keys        []int64 // how many keys are valid, one a batch entry; nil for all
}

// at is the bias for query i and key j.
func (a *attentionBias) at(b, h, i, j int) float64 {
	p := int64(i) + a.offset[b] - int64(j)
	if a.causal && p < 0 || a.left >= 0 && p > a.left || a.right >= 0 && -p > a.right || a.keys != nil && int64(j) >= a.keys[b] {
		return math.Inf(-1)
	}
	if a.mask == nil {
		return 0
	}
	if int64(j) >= a.shape[3] && a.shape[3] != 1 {
		return math.Inf(-1) // a mask shorter than the keys hides the rest
	}
	at := 0
	for k, x := range [4]int{b, h, i, j} {
		if d := int(a.shape[k]); d != 1 {
			at = at*d + x
		}
	}
	return a.mask[at]
}

func newAttentionBias(c *Call, q *heads, keys, past int) (*attentionBias, error) {
	a := &attentionBias{causal: c.int("is_causal", 0) != 0, left: c.int("left_window_size", -1), right: c.int("right_window_size", -1)}
	a.offset = make([]int64, q.batch)
	for i := range a.offset {
		a.offset[i] = int64(past)
	}
	valid, given, err := c.intsOperand(6)
	if err != nil {
		return nil, err
	}
	if given {
		if len(valid) != q.batch || past > 0 {
			return nil, fmt.Errorf("%d key lengths for a batch of %d and %d cached keys", len(valid), q.batch, past)
		}
		a.keys = valid
		for i, n := range valid {
			a.offset[i] = n - int64(q.length)
		}
	}
	t, err := c.Tensor(3)
	if t == nil || err != nil {
		return a, err
	}
	if t.Rank() > 4 {
		return nil, c.badOperand(3, t)
	}
	a.shape = append(ones(4-t.Rank()), t.Shape()...)
	for k, d := range [4]int{q.batch, q.heads, q.length, keys} {
		if s := a.shape[k]; s != 1 && (s != int64(d) && k < 3 || s > int64(d)) {
			return nil, c.badOperand(3, t)
		}
	}
	if a.mask, err = maskValues(t); err != nil {
		return nil, err
	}
	if a.shape[3] == 1 && keys > 1 && t.Rank() > 0 { // a mask for one key of many: the rest is hidden, not repeated
		if a.keys == nil {
			a.keys = make([]int64, q.batch)
			for i := range a.keys {
				a.keys[i] = 1
			}
		}
		for i, n := range a.keys {
			a.keys[i] = min(n, 1)
		}
	}
	return a, nil
}

// maskValues reads a mask: bools say which keys are seen, numbers are added.
func maskValues(t *ir.Tensor) ([]float64, error) {
	if t.DType() != ir.Bool {
		return floats(t)
	}
	b, err := load[uint8](t)
	if err != nil {
		return nil, err
	}
	r := make([]float64, len(b))
	for i, x := range b {
		if x == 0 {
			r[i] = math.Inf(-1)
		}
	}
	return r, nil
}

// attentionOp is softmax(scale*Q*K' + bias)*V for each head (Vaswani et al. 2017). Fewer heads of K and V are shared by groups of
// heads of Q. A query that sees no key gives zeros. Results: Y, the keys and values with the cache in front, and the products at
// the stage that qk_matmul_output_mode names.
func attentionOp(c *Call) ([]ir.Datum, error) {
	q, err := headsOperand(c, 0, c.int("q_num_heads", 0))
	if err != nil {
		return nil, err
	}
	var kv [2]*heads
	past := 0
	for i := range kv {
		h, err := headsOperand(c, 1+i, c.int("kv_num_heads", 0))
		if err != nil {
			return nil, err
		}
		if kv[i], past, err = h.append(c, 4+i); err != nil {
			return nil, err
		}
	}
	k, v := kv[0], kv[1]
	if k.batch != q.batch || v.batch != q.batch || k.heads != v.heads || k.length != v.length || k.size != q.size || k.heads == 0 || q.heads%k.heads != 0 {
		return nil, errors.New("the shapes of Q, K and V do not fit")
	}
	bias, err := newAttentionBias(c, q, k.length, past)
	if err != nil {
		return nil, err
	}
	y := &heads{dtype: q.dtype, batch: q.batch, heads: q.heads, length: q.length, size: v.size, merged: q.merged}
	yShape := []int64{int64(y.batch), int64(y.heads), int64(y.length), int64(y.size)}
	if y.merged {
		yShape = []int64{int64(y.batch), int64(y.length), int64(y.heads * y.size)}
	}
	if y.v, err = alloc[float64](c, yShape); err != nil {
		return nil, err
	}
	var stage []float64
	stageShape := []int64{int64(q.batch), int64(q.heads), int64(q.length), int64(k.length)}
	if c.wants(3) {
		if stage, err = alloc[float64](c, stageShape); err != nil {
			return nil, err
		}
	}
	if err := attend(c, q, k, v, y, bias, stage); err != nil {
		return nil, err
	}
	yt, err := convertFloats(c, q.dtype, yShape, y.v)
	if err != nil {
		return nil, err
	}
	kt, err := k.tensor(c)
	if err != nil {
		return nil, err
	}
	vt, err := v.tensor(c)
	if err != nil {
		return nil, err
	}
	r := []ir.Datum{yt, kt, vt}
	if stage != nil {
		st, err := convertFloats(c, q.dtype, stageShape, stage)
		if err != nil {
			return nil, err
		}
		r = append(r, st)
	}
	return r[:max(1, min(len(r), len(c.Out)))], nil
}

// attend fills y and, where it is not nil, stage.
func attend(c *Call, q, k, v, y *heads, bias *attentionBias, stage []float64) error {
	scale := 1 / math.Sqrt(float64(q.size))
	if a := c.Attr("scale"); a != nil {
		scale = float64(a.Float())
	}
	softcap, mode := float64(c.float("softcap", 0)), c.int("qk_matmul_output_mode", 0)
	group, p := q.heads/k.heads, make([]float64, k.length)
	for b := range q.batch {
		for h := range q.heads {
			for i := range q.length {
				row := q.row(b, h, i)
				var show []float64
				if stage != nil {
					show = stage[((b*q.heads+h)*q.length+i)*k.length:][:k.length]
				}
				seen := false
				for j := range p {
					p[j] = scale * dot(row, k.row(b, h/group, j))
					if softcap > 0 {
						p[j] = float64(fmath.Tanh(p[j]/softcap) * softcap)
					}
					if show != nil && mode < 2 {
						show[j] = p[j]
					}
					add := bias.at(b, h, i, j)
					seen = seen || !math.IsInf(add, -1)
					if p[j] += add; show != nil && mode == 2 {
						show[j] = p[j]
					}
				}
				if seen {
					softmax(p)
				} else {
					clear(p)
				}
				if show != nil && mode == 3 {
					copy(show, p)
				}
				dst := y.row(b, h, i)
				for j, w := range p {
					if w != 0 {
						for d, x := range v.row(b, h/group, j) {
							dst[d] += float64(w * x)
						}
					}
				}
				if err := c.tick(k.length * (q.size + v.size + 32)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		s += float64(x * b[i])
	}
	return s
}

// rotaryEmbeddingOp turns pairs of elements of each head by the angle of their position (Su et al. 2021). X is [batch, heads,
// length, size] or [batch, length, heads*size]; the caches hold cosines and sines, by position or by place.
func rotaryEmbeddingOp(c *Call) ([]ir.Datum, error) {
	x, err := headsOperand(c, 0, c.int("num_heads", 0))
	if err != nil {
		return nil, err
	}
	dim := int(c.int("rotary_embedding_dim", 0))
	if dim == 0 {
		dim = x.size
	}
	if dim < 0 || dim > x.size || dim%2 != 0 {
		return nil, fmt.Errorf("rotation of %d of %d elements", dim, x.size)
	}
	var cache [2][]float64
	for i := range cache {
		t, err := c.Need(1 + i)
		if err != nil {
			return nil, err
		}
		if t.Rank() == 0 || t.Shape()[t.Rank()-1] != int64(dim/2) {
			return nil, c.badOperand(1+i, t)
		}
		if cache[i], err = c.floats(t); err != nil {
			return nil, err
		}
	}
	pos, given, err := c.intsOperand(3)
	if err != nil {
		return nil, err
	}
	if given && len(pos) != x.batch*x.length {
		return nil, fmt.Errorf("%d positions for %d vectors", len(pos), x.batch*x.length)
	}
	interleaved := c.int("interleaved", 0) != 0
	for b := range x.batch {
		for i := range x.length {
			at := b*x.length + i
			if given {
				at = int(pos[at])
			}
			if at < 0 || at > (len(cache[0])-dim/2)/max(1, dim/2) || at > (len(cache[1])-dim/2)/max(1, dim/2) {
				return nil, fmt.Errorf("position %d is not in the cache", at)
			}
			cos, sin := cache[0][at*dim/2:][:dim/2], cache[1][at*dim/2:][:dim/2]
			for h := range x.heads {
				rotate(x.row(b, h, i)[:dim], cos, sin, interleaved)
			}
			if err := c.tick(x.heads * x.size); err != nil {
				return nil, err
			}
		}
	}
	t, _ := c.Need(0)
	return one(convertFloats(c, x.dtype, t.Shape(), x.v))
}

// rotate turns the pairs (v[i], v[i+n/2]), or (v[2i], v[2i+1]) where interleaved.
func rotate(v, cos, sin []float64, interleaved bool) {
	for i := range cos {
		p, q := i, i+len(cos)
		if interleaved {
			p, q = 2*i, 2*i+1
		}
		a, b := v[p], v[q]
		v[p] = float64(cos[i]*a) - float64(sin[i]*b)
		v[q] = float64(sin[i]*a) + float64(cos[i]*b)
	}
}
