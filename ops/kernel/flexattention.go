package kernel

import (
	"errors"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// flexAttentionOp is prob_mod(softmax(score_mod(scale*Q*K'))) * V with graphs for the two functions (Dong et al., "Flex Attention",
// 2024). Q, K and V are [batch, heads, length, size]; heads of Q share those of K and V in groups. As the specification says, Q
// and K are each multiplied by the root of scale, rounded to their type, and so are the products; all further steps are in the
// type softmax_precision, by default at least float32.
func flexAttentionOp(c *Call) ([]ir.Datum, error) {
	var in [3]*heads
	for i := range in {
		h, err := headsOperand(c, i, 0)
		if err != nil {
			return nil, err
		}
		in[i] = h
	}
	q, k, v := in[0], in[1], in[2]
	if k.batch != q.batch || v.batch != q.batch || k.heads != v.heads || k.length != v.length || k.size != q.size || k.heads == 0 || q.heads%k.heads != 0 {
		return nil, errors.New("the shapes of Q, K and V do not fit")
	}
	precision := ir.DType(c.int("softmax_precision", 0))
	switch {
	case precision == 0 && q.dtype == ir.Float64:
		precision = ir.Float64
	case precision == 0:
		precision = ir.Float32
	}
	if !precision.IsFloat() {
		return nil, c.badType(precision)
	}
	shape := []int64{int64(q.batch), int64(q.heads), int64(q.length), int64(k.length)}
	scores, err := flexScores(c, q, k, shape)
	if err != nil {
		return nil, err
	}
	if scores, err = c.flexMod("score_mod", precision, shape, scores); err != nil {
		return nil, err
	}
	for i := 0; i < len(scores); i += k.length {
		softmax(scores[i : i+k.length])
		if err := c.tick(32 * k.length); err != nil {
			return nil, err
		}
	}
	if scores, err = c.flexMod("prob_mod", precision, shape, scores); err != nil {
		return nil, err
	}
	yShape := []int64{int64(q.batch), int64(q.heads), int64(q.length), int64(v.size)}
	y := &heads{batch: q.batch, heads: q.heads, length: q.length, size: v.size}
	if y.v, err = alloc[float64](c, yShape); err != nil {
		return nil, err
	}
	group := q.heads / k.heads
	for r := range q.batch * q.heads * q.length {
		b, h, i := r/q.length/q.heads, r/q.length%q.heads, r%q.length
		dst := y.row(b, h, i)
		for j, w := range scores[r*k.length : (r+1)*k.length] {
			for d, x := range v.row(b, h/group, j) {
				dst[d] += float64(w * x)
			}
		}
		if err := c.tick(k.length * v.size); err != nil {
			return nil, err
		}
	}
	return one(convertFloats(c, v.dtype, yShape, y.v))
}

func flexScores(c *Call, q, k *heads, shape []int64) ([]float64, error) {
	scale := 1 / math.Sqrt(float64(q.size))
	if a := c.Attr("scale"); a != nil {
		scale = float64(a.Float())
	}
	root := roundFloat(q.dtype, float64(float32(math.Sqrt(float64(float32(scale))))))
	for _, h := range []*heads{q, k} {
		scaled, err := alloc[float64](c, []int64{int64(len(h.v))})
		if err != nil {
			return nil, err
		}
		for i, x := range h.v {
			scaled[i] = roundFloat(q.dtype, float64(x*root))
		}
		h.v = scaled
	}
	r, err := alloc[float64](c, shape)
	if err != nil || len(r) == 0 {
		return r, err
	}
	group, at := q.heads/k.heads, 0
	for b := range q.batch {
		for h := range q.heads {
			for i := range q.length {
				row := q.row(b, h, i)
				for j := range k.length {
					r[at] = roundFloat(q.dtype, dot(row, k.row(b, h/group, j)))
					at++
				}
				if err := c.tick(k.length * q.size); err != nil {
					return nil, err
				}
			}
		}
	}
	return r, nil
}

// flexMod lets the graph of an attribute, if there is one, change v.
func (c *Call) flexMod(name string, d ir.DType, shape []int64, v []float64) ([]float64, error) {
	g := c.Attr(name).Graph()
	if g == nil {
		return v, nil
	}
	t, err := convertFloats(c, d, shape, v)
	if err != nil {
		return nil, err
	}
	if c.Body == nil || len(g.Inputs()) != 1 {
		return nil, errors.New("attribute " + name + " is no function of one tensor")
	}
	out, err := c.Body(g, []ir.Datum{t})
	if err != nil {
		return nil, err
	}
	if len(out) == 1 {
		if y, ok := out[0].(*ir.Tensor); ok && y != nil && y.Len() == int64(len(v)) {
			f, err := floats(y)
			return append([]float64{}, f...), err
		}
	}
	return nil, errors.New("attribute " + name + " changes the shape")
}
