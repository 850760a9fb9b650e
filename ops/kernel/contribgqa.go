package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// groupQueryAttentionOp is causal attention with a cache, in which heads of Q share those of K and V in groups (Ainslie et al.,
// "GQA", 2023). Operands: Q [batch, length, heads*size], K and V likewise with kv_num_heads, or all side by side in Q; past keys and
// values [batch, kv_num_heads, buffer, size]; seqlens_k, the number of keys of each batch entry less 1, and the greatest number of
// keys; tables for a rotation, positions, an additive bias, a logit a head for a key without a value, and scales of caches of integers;
// at 16 the number of queries of each batch entry that are not padding. Results: Y, keys and values in buffers, and the products before
// (qk_output 1) or after the softmax (2). What is padding, and rows of a cache that no token has, is zero.
func groupQueryAttentionOp(c *Call) ([]ir.Datum, error) {
	g, err := newGroupQuery(c)
	if err != nil {
		return nil, err
	}
	if err := g.turn(c); err != nil {
		return nil, err
	}
	var present []ir.Datum
	for i, h := range []**heads{&g.k, &g.v} {
		t, err := g.extend(c, h, i)
		if err != nil {
			return nil, err
		}
		present = append(present, t)
	}
	a := &contribHeads{q: g.q, k: g.k, v: g.v, scale: contribScale(c, g.q.size), softcap: float64(c.float("softcap", 0))}
	if a.bias, err = g.mask(c); err != nil {
		return nil, err
	}
	if a.sink, err = g.sink(c); err != nil {
		return nil, err
	}
	rows := []int64{int64(g.q.batch), int64(g.q.heads), int64(g.q.length)}
	probe := &a.before
	if c.int("qk_output", 0) == 2 {
		probe = &a.after
	}
	if c.wants(3) {
		if *probe, err = alloc[float64](c, append(slices.Clone(rows), int64(g.k.length))); err != nil {
			return nil, err
		}
	}
	y, err := a.run(c)
	if err != nil {
		return nil, err
	}
	r := append([]ir.Datum{y}, present...)
	if *probe != nil {
		shown, err := room(c, len(*probe)/max(g.k.length, 1)*g.total)
		if err != nil {
			return nil, err
		}
		for at := 0; at < len(*probe); at += g.k.length {
			for _, x := range (*probe)[at : at+g.total] {
				if math.IsInf(x, -1) { // hidden
					x = 0
				}
				shown = append(shown, x)
			}
		}
		t, err := convertFloats(c, g.q.dtype, append(rows, int64(g.total)), shown)
		if err != nil {
			return nil, err
		}
		r = append(r, t)
	}
	return r[:max(1, min(len(r), len(c.Out)))], nil
}

// groupQuery are the operands of a GroupQueryAttention.
type groupQuery struct {
	q, k, v *heads
	keys    []int // of each batch entry, new ones included
	past    []int // those before the new ones
	rows    []int // new ones that are no padding
	first   []int // the first key that is there
	total   int   // greatest number of keys

	window *tokenWindow // of caches that slide, or nil
	caches [2]kvCache   // of keys, of values
}

func newGroupQuery(c *Call) (*groupQuery, error) {
	for i := 14; i < len(c.In); i++ {
		if c.In[i] != nil && i != 16 {
			return nil, fmt.Errorf("operand %d is not supported", i) // ONNX Runtime on a CPU has no norms of Q and K
		}
	}
	n, kn := c.int("num_heads", 0), c.int("kv_num_heads", 0)
	if n <= 0 || kn <= 0 || n%kn != 0 {
		return nil, fmt.Errorf("%d heads that share %d", n, kn)
	}
	g := &groupQuery{}
	t, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if k, err := c.Tensor(1); err != nil {
		return nil, err
	} else if k == nil { // side by side
		if t.Rank() != 3 || t.Shape()[2]%(n+2*kn) != 0 {
			return nil, c.badOperand(0, t)
		}
		v, err := c.floats(t)
		if err != nil {
			return nil, err
		}
		width, size := int(t.Shape()[2]), int(t.Shape()[2]/(n+2*kn))
		from := 0
		for i, dst := range []**heads{&g.q, &g.k, &g.v} {
			count := int([]int64{n, kn, kn}[i])
			if *dst, err = columns(c, v, t, width, from, count*size, count); err != nil {
				return nil, err
			}
			from += count * size
		}
	} else {
		for i, dst := range []**heads{&g.q, &g.k, &g.v} {
			if *dst, err = headsOperand(c, i, []int64{n, kn, kn}[i]); err != nil {
				return nil, err
			}
		}
	}
	if !g.q.merged || g.k.batch != g.q.batch || g.v.batch != g.q.batch || g.k.length != g.q.length || g.v.length != g.q.length {
		return nil, errors.New("the shapes of Q, K and V do not fit")
	}
	if g.window, err = newTokenWindow(c); err != nil {
		return nil, err
	}
	for i, h := range []*heads{g.k, g.v} {
		how := c.str([]string{"k_quant_type", "v_quant_type"}[i], "NONE")
		if g.caches[i], err = newKVCache(c, 3+i, 12+i, how, h); err != nil {
			return nil, err
		}
	}
	return g, g.lengths(c)
}

// lengths reads the numbers of keys. In the first call, in which there are as many keys as queries, nothing is past.
func (g *groupQuery) lengths(c *Call) error {
	lens, given, err := c.intsOperand(5)
	if err != nil {
		return err
	}
	total, ok, err := c.scalarInt(6)
	if err != nil {
		return err
	}
	if !given || !ok || len(lens) != g.q.batch || total < 1 || total > 1<<40 {
		return errors.New("seqlens_k or the number of keys does not fit")
	}
	g.total = int(total)
	rows, padded, err := c.intsOperand(16)
	if err != nil {
		return err
	}
	if padded && (len(rows) != g.q.batch || c.int("causal", 1) == 0 || c.given() < 5 || c.In[3] == nil) {
		return errors.New("numbers of queries need one a batch entry, a causal mask and a cache")
	}
	for b, l := range lens {
		if l < 0 || l >= total {
			return fmt.Errorf("%d of %d keys", l+1, total)
		}
		n := int64(g.q.length)
		past := int(l + 1 - n)
		switch {
		case padded:
			if n = rows[b]; n < 0 || n > int64(g.q.length) || n > l+1 {
				return fmt.Errorf("%d of %d queries for %d keys", n, g.q.length, l+1)
			}
			past = int(l + 1 - n)
		case g.total == g.q.length:
			past = 0
		}
		if past < 0 {
			return fmt.Errorf("%d keys for %d queries", l+1, g.q.length)
		}
		g.keys, g.past, g.rows = append(g.keys, int(l)+1), append(g.past, past), append(g.rows, int(n))
		g.first = append(g.first, past-g.window.resident(past))
	}
	return nil
}

// turn applies the rotation to Q and K where do_rotary asks for it.
func (g *groupQuery) turn(c *Call) error {
	if c.int("do_rotary", 0) == 0 {
		return nil
	}
	t, err := newTurning(c, 7, 8, 0, c.int("rotary_interleaved", 0) != 0)
	if err != nil {
		return err
	}
	pos, given, err := c.intsOperand(9)
	if err != nil {
		return err
	}
	if given && len(pos) != g.q.batch*g.q.length && len(pos) != 1 {
		return fmt.Errorf("%d positions for %d vectors", len(pos), g.q.batch*g.q.length)
	}
	at := func(b, i int) int64 {
		switch {
		case !given:
			return int64(g.past[b] + i)
		case len(pos) == 1:
			return pos[0] + int64(i)
		}
		return pos[b*g.q.length+i]
	}
	for _, h := range []*heads{g.q, g.k} {
		if h.v, err = clone(c, h.v); err != nil {
			return err
		}
		if err := t.all(c, h, at); err != nil {
			return err
		}
		for i, x := range h.v {
			h.v[i] = roundFloat(h.dtype, x)
		}
	}
	return nil
}

// extend makes *h, the new keys (i 0) or values (1), all that queries see, and returns the cache behind them.
func (g *groupQuery) extend(c *Call, h **heads, i int) (*ir.Tensor, error) {
	d, cache := (*h).dtype, g.caches[i]
	all, err := g.buffer(c, *h, 3+i, cache)
	if err != nil {
		return nil, err
	}
	if *h, err = cache.values(c, all); err != nil {
		return nil, err
	}
	(*h).dtype = d
	last := make([]int, len(g.past))
	for b := range last {
		last[b] = g.past[b] + g.rows[b]
	}
	kept, err := g.window.after(c, all, g.first, last)
	if err != nil {
		return nil, err
	}
	return cache.tensor(c, kept, d)
}

// buffer is the cache in operand i with the elements of h behind the past ones; the rest is zero.
func (g *groupQuery) buffer(c *Call, h *heads, i int, cache kvCache) (*heads, error) {
	old, err := cache.read(c, i, h)
	if err != nil {
		return nil, err
	}
	r := &heads{dtype: h.dtype, batch: h.batch, heads: h.heads, length: g.total, size: h.size}
	if g.window != nil {
		r.length = 0
		for b := range g.past {
			r.length = max(r.length, g.past[b]-g.first[b]+g.rows[b])
		}
	} else if old != nil {
		r.length = max(r.length, old.length)
	}
	if r.v, err = alloc[float64](c, []int64{int64(r.batch), int64(r.heads), int64(r.length), int64(r.size)}); err != nil {
		return nil, err
	}
	if cache.bits == 4 { // bytes of zero
		for k := range r.v {
			r.v[k] = -8
		}
	}
	for b := range r.batch {
		past := g.past[b] - g.first[b]
		if past > 0 && (old == nil || past > old.length) {
			return nil, fmt.Errorf("%d past keys are not in the cache", past)
		}
		for k := range r.heads {
			for j := range past {
				copy(r.row(b, k, j), old.row(b, k, j))
			}
			for j := range g.rows[b] {
				cache.store(r.row(b, k, past+j), h.row(b, k, j), h, k)
			}
		}
	}
	return r, nil
}

// mask hides keys that come later, are outside the window, or do not exist, and adds the bias.
func (g *groupQuery) mask(c *Call) (func(b, h, i, j int) float64, error) {
	bias, err := c.contribBias(10, g.q, g.total)
	if err != nil {
		return nil, err
	}
	window, causal := int(c.int("local_window_size", -1)), c.int("causal", 1) != 0
	return func(b, h, i, j int) float64 {
		at := g.past[b] + i
		j += g.first[b]
		switch {
		case i >= g.rows[b], j >= g.past[b]+g.rows[b] || !causal && j >= g.keys[b], causal && j > at, causal && window > 0 && at-j >= window:
			return math.Inf(-1)
		}
		return bias(b, h, i, j)
	}, nil
}

// sink is the logit of the key without a value: operand 11, or 0 with smooth_softmax.
func (g *groupQuery) sink(c *Call) (func(h int) float64, error) {
	t, err := c.Tensor(11)
	if err != nil {
		return nil, err
	}
	if t != nil {
		v, err := c.sized(11, []int64{int64(g.q.heads)})
		return func(h int) float64 { return v[h] }, err
	}
	if c.int("smooth_softmax", 0) > 0 {
		return func(int) float64 { return 0 }, nil
	}
	return nil, nil
}
