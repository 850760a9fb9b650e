package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// arrayFeatureExtractorOp picks elements along the last axis.
func arrayFeatureExtractorOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() == 0 {
		return nil, c.badOperand(0, x)
	}
	_, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	n := x.Shape()[x.Rank()-1]
	rows := product(x.Shape()[:x.Rank()-1])
	shape := append(slices.Clone(x.Shape()[:x.Rank()-1]), int64(len(idx)))
	if x.Rank() == 1 {
		shape = []int64{1, int64(len(idx))}
	}
	if err := c.reserve(int64(rows)*int64(len(idx)), 8); err != nil {
		return nil, err
	}
	pos := make([]int, 0, rows*len(idx))
	for r := range rows {
		for _, i := range idx {
			if i < 0 || i >= n {
				return nil, fmt.Errorf("index %d of %d", i, n)
			}
			pos = append(pos, r*int(n)+int(i))
		}
	}
	return one(gatherBlocks(c, x, shape, pos, 1))
}

// binarizerOp is 1 above a threshold and else 0.
func binarizerOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	limit := float64(c.float("threshold", 0))
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[int64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range v {
		r[i] = int64(truth(e > limit))
	}
	return one(convertInts(c, x.DType(), x.Shape(), r))
}

// labelEncoderOp maps keys to values; what is no key gets the default. Keys and values are tensors (version 4) or lists; a NaN
// key matches NaN.
func labelEncoderOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	keys, err := c.labels("keys")
	if err != nil {
		return nil, err
	}
	vals, err := c.labels("values")
	if err != nil {
		return nil, err
	}
	if keys == nil || vals == nil || keys.Len() != vals.Len() || keys.DType() != x.DType() {
		return nil, c.badOperand(0, x)
	}
	def := c.Attr("default_tensor").Tensor()
	if def == nil {
		switch vals.DType() {
		case ir.String:
			def = ir.NewStringTensor([]int64{}, []string{c.str("default_string", "_Unused")})
		case ir.Float32:
			def = ir.ScalarOf(c.float("default_float", float32(math.Copysign(0, -1))))
		default:
			if def, err = convertInts(c, vals.DType(), []int64{}, []int64{c.int("default_int64", -1)}); err != nil {
				return nil, err
			}
		}
	}
	if def.DType() != vals.DType() || def.Len() != 1 {
		return nil, fmt.Errorf("default of type %s for values of type %s", def.Type(), vals.Type())
	}
	pool, err := concat(c, []*ir.Tensor{vals.Reshape([]int64{vals.Len()}), def.Reshape([]int64{1})}, 0)
	if err != nil {
		return nil, err
	}
	known, err := labelKeys(keys)
	if err != nil {
		return nil, err
	}
	in, err := labelKeys(x)
	if err != nil {
		return nil, err
	}
	at := map[any]int{}
	for i, k := range known {
		at[k] = i
	}
	pos := make([]int, len(in))
	for i, k := range in {
		p, ok := at[k]
		if !ok {
			p = len(known)
		}
		pos[i] = p
	}
	return one(gatherBlocks(c, pool, x.Shape(), pos, 1))
}

// labels are the attribute NAME_tensor, or one of NAME_strings, NAME_int64s, NAME_floats.
func (c *Call) labels(name string) (*ir.Tensor, error) {
	if t := c.Attr(name + "_tensor").Tensor(); t != nil {
		if !sane(t.Shape()) {
			return nil, fmt.Errorf("attribute %s_tensor has shape %v", name, t.Shape())
		}
		return t, nil
	}
	if a := c.Attr(name + "_strings"); a != nil {
		return ir.NewStringTensor([]int64{int64(len(a.Strs()))}, a.Strs()), nil
	}
	if a := c.Attr(name + "_int64s"); a != nil {
		return ir.TensorOf(a.Ints()), nil
	}
	if a := c.Attr(name + "_floats"); a != nil {
		return ir.TensorOf(a.Floats()), nil
	}
	return nil, nil
}

// labelKeys gives elements as map keys; all NaNs are one key, both zeros another.
func labelKeys(t *ir.Tensor) ([]any, error) {
	var r []any
	if t.DType() == ir.String {
		s, err := t.Strings()
		for _, e := range s {
			r = append(r, e)
		}
		return r, err
	}
	if t.DType().IsFloat() {
		v, err := floats(t)
		for _, e := range v {
			if e != e {
				r = append(r, "NaN")
			} else {
				r = append(r, e+0)
			}
		}
		return r, err
	}
	v, err := ints(t)
	for _, e := range v {
		r = append(r, e)
	}
	return r, err
}
