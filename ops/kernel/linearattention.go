package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// causalConvWithStateOp is a convolution of each channel with its own kernel of k elements over the past k-1 elements of the
// sequence and the present one, and an optional swish, which takes the sum rounded to the element type. X is [batch, channels,
// length], W is [channels, 1, k]; the second result is the last k-1 elements of the past state and X in a row.
func causalConvWithStateOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	w, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if x.Rank() != 3 || w.Rank() != 3 || w.Shape()[0] != x.Shape()[1] || w.Shape()[1] != 1 || w.Shape()[2] < 1 {
		return nil, c.badOperand(1, w)
	}
	act := c.str("activation", "none")
	if act != "none" && act != "silu" && act != "swish" && act != "" {
		return nil, fmt.Errorf("unknown activation %q", act)
	}
	batch, channels, length, k := int(x.Shape()[0]), int(x.Shape()[1]), int(x.Shape()[2]), int(w.Shape()[2])
	stateShape := []int64{int64(batch), int64(channels), int64(k - 1)}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	wv, err := floats(w)
	if err != nil {
		return nil, err
	}
	bias, err := c.sized(2, []int64{int64(channels)})
	if err != nil {
		return nil, err
	}
	past, err := c.sized(3, stateShape)
	if err != nil {
		return nil, err
	}
	y, err := alloc[float64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	state, err := alloc[float64](c, stateShape)
	if err != nil {
		return nil, err
	}
	padded := make([]float64, length+k-1)
	for r := range batch * channels {
		clear(padded)
		if past != nil {
			copy(padded, past[r*(k-1):(r+1)*(k-1)])
		}
		copy(padded[k-1:], v[r*length:(r+1)*length])
		kernel := wv[r%channels*k:][:k]
		for i := range length {
			sum := dot(kernel, padded[i:])
			if bias != nil {
				sum += bias[r%channels]
			}
			if act == "silu" || act == "swish" {
				sum = roundFloat(x.DType(), sum)
				sum *= fmath.Sigmoid(sum)
			}
			y[r*length+i] = sum
		}
		copy(state[r*(k-1):(r+1)*(k-1)], padded[length:])
		if err := c.tick(length * (k + 8)); err != nil {
			return nil, err
		}
	}
	return c.floatResults(x.DType(), floatResult{x.Shape(), y}, floatResult{stateShape, state})
}

// floatResult is a result that is computed in float64.
type floatResult struct {
	shape []int64
	v     []float64
}

// floatResults rounds the results that the node has to their element type.
func (c *Call) floatResults(d ir.DType, list ...floatResult) ([]ir.Datum, error) {
	var r []ir.Datum
	for i, f := range list {
		if i > 0 && i >= len(c.Out) {
			break
		}
		t, err := convertFloats(c, d, f.shape, f.v)
		if err != nil {
			return nil, err
		}
		r = append(r, t)
	}
	return r, nil
}

// roundFloat rounds to a float type and back.
func roundFloat(d ir.DType, x float64) float64 {
	if d == ir.Float64 {
		return x
	}
	return float64(roundTo(d, float32(x)))
}

// linearAttentionOp keeps a matrix S [key size, value size] for each head and goes through the sequence: S is shrunk by
// exp(decay) where the update rule is gated; with a delta rule v becomes beta*(v - S'k); then S += k v' and the result is
// scale * S'q (Yang et al., "Gated Delta Networks", 2025). Heads of Q share those of K and V in groups. The second result is S.
func linearAttentionOp(c *Call) ([]ir.Datum, error) {
	rule := c.str("update_rule", "gated_delta")
	gated, delta := rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	if !gated && !delta && rule != "linear" {
		return nil, fmt.Errorf("unknown update rule %q", rule)
	}
	q, err := headsOperand(c, 0, c.int("q_num_heads", 0))
	if err != nil {
		return nil, err
	}
	k, err := headsOperand(c, 1, c.int("kv_num_heads", 0))
	if err != nil {
		return nil, err
	}
	v, err := headsOperand(c, 2, c.int("kv_num_heads", 0))
	if err != nil {
		return nil, err
	}
	if !q.merged || !k.merged || !v.merged || q.batch != k.batch || q.batch != v.batch || q.length != k.length || q.length != v.length || q.size != k.size || q.heads%k.heads != 0 {
		return nil, errors.New("the shapes of query, key and value do not fit")
	}
	decay, err := c.perHead(4, k, k.size, gated)
	if err != nil {
		return nil, err
	}
	beta, err := c.perHead(5, k, 1, delta)
	if err != nil {
		return nil, err
	}
	stateShape := []int64{int64(k.batch), int64(k.heads), int64(k.size), int64(v.size)}
	state, err := alloc[float64](c, stateShape)
	if err != nil {
		return nil, err
	}
	stateType := q.dtype
	if past, err := c.Tensor(3); err != nil {
		return nil, err
	} else if past != nil {
		given, err := c.sized(3, stateShape)
		if err != nil {
			return nil, err
		}
		copy(state, given)
		stateType = past.DType()
	}
	shape := []int64{int64(q.batch), int64(q.length), int64(q.heads * v.size)}
	y := &heads{batch: q.batch, heads: q.heads, length: q.length, size: v.size, merged: true}
	if y.v, err = alloc[float64](c, shape); err != nil {
		return nil, err
	}
	scale := float64(c.float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(k.size))
	}
	group := q.heads / k.heads
	for b := range k.batch {
		for h := range k.heads {
			s := state[(b*k.heads+h)*k.size*v.size:][:k.size*v.size]
			for i := range k.length {
				linearUpdate(s, k.row(b, h, i), v.row(b, h, i), decay.at(b, h, i), beta.at(b, h, i))
				for g := h * group; g < (h+1)*group; g++ {
					retrieve(y.row(b, g, i), s, q.row(b, g, i), scale)
				}
				if err := c.tick(4 * len(s) * (1 + group)); err != nil {
					return nil, err
				}
			}
		}
	}
	yt, err := convertFloats(c, q.dtype, shape, y.v)
	if err != nil || len(c.Out) < 2 {
		return one(yt, err)
	}
	st, err := convertFloats(c, stateType, stateShape, state)
	return []ir.Datum{yt, st}, err
}

// headValues are numbers [batch, length, heads*per]; heads and per may be 1 where they are shared. nil if they are not used.
type headValues struct {
	v                  []float64
	length, heads, per int
}

func (h *headValues) at(b, head, i int) []float64 {
	if h == nil {
		return nil
	}
	if h.heads == 1 {
		head = 0
	}
	return h.v[((b*h.length+i)*h.heads+head)*h.per:][:h.per]
}

// perHead reads operand i, which is there if and only if it is needed: one number or per numbers for each head of k.
func (c *Call) perHead(i int, k *heads, per int, needed bool) (*headValues, error) {
	t, err := c.Tensor(i)
	if err != nil || t == nil && !needed {
		return nil, err
	}
	if t == nil || !needed {
		return nil, fmt.Errorf("operand %d does not fit the update rule", i)
	}
	s := t.Shape()
	if len(s) != 3 || s[0] != int64(k.batch) || s[1] != int64(k.length) {
		return nil, c.badOperand(i, t)
	}
	r := &headValues{length: k.length, heads: k.heads, per: 1}
	switch {
	case s[2] == int64(k.heads):
	case per == 1 && s[2] == 1:
		r.heads = 1
	case s[2] == int64(k.heads*per):
		r.per = per
	default:
		return nil, c.badOperand(i, t)
	}
	r.v, err = floats(t)
	return r, err
}

// linearUpdate is one step of the state s [len(k), len(v)].
func linearUpdate(s, k, v, decay, beta []float64) {
	n := len(v)
	for i := range k {
		if decay == nil {
			break
		}
		f := fmath.Exp(decay[i%len(decay)])
		for j := range n {
			s[i*n+j] = float64(s[i*n+j] * f)
		}
	}
	if beta != nil {
		seen := make([]float64, n)
		retrieve(seen, s, k, 1)
		for j, x := range v {
			seen[j] = float64(beta[0] * (x - seen[j]))
		}
		v = seen
	}
	for i, x := range k {
		for j, y := range v {
			s[i*n+j] += float64(x * y)
		}
	}
}

// retrieve sets dst to scale * s'q.
func retrieve(dst, s, q []float64, scale float64) {
	clear(dst)
	n := len(dst)
	for i, x := range q {
		for j := range dst {
			dst[j] += float64(s[i*n+j] * x)
		}
	}
	for j := range dst {
		dst[j] = float64(dst[j] * scale)
	}
}
