package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// identityOp returns its operand, of whatever type.
func identityOp(c *Call) ([]ir.Datum, error) {
	if len(c.In) == 0 || c.In[0] == nil {
		return nil, errors.New("operand 0 is missing")
	}
	return []ir.Datum{c.In[0]}, nil
}

// shapeOp is the shape as a vector, from attribute start to end (opset 15), which count from the back where negative.
func shapeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	rank := int64(x.Rank())
	clamp := func(name string, def int64) int64 {
		v := c.int(name, def)
		if v < 0 {
			v += rank
		}
		return max(0, min(v, rank))
	}
	start, end := clamp("start", 0), clamp("end", rank)
	return one(ir.TensorOf(slices.Clone(x.Shape()[start:max(start, end)])), nil)
}

func sizeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	return one(ir.ScalarOf(x.Len()), nil)
}

// reshapeOp: 0 in the new shape keeps the dimension of that place unless allowzero is set; one -1 is inferred.
func reshapeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	want := c.Attr("shape").Ints()
	if c.Opset >= 5 {
		t, err := c.Need(1)
		if err != nil {
			return nil, err
		}
		if want, err = ints(t); err != nil {
			return nil, err
		}
	}
	shape, err := reshaped(x.Shape(), want, c.int("allowzero", 0) != 0)
	if err != nil {
		return nil, err
	}
	return one(x.Reshape(shape), nil)
}

// reshaped resolves the shape that Reshape is given.
func reshaped(from, want []int64, allowZero bool) ([]int64, error) {
	shape, infer := slices.Clone(want), -1
	if shape == nil {
		shape = []int64{}
	}
	for i, d := range shape {
		switch {
		case d == 0 && !allowZero:
			if i >= len(from) {
				return nil, fmt.Errorf("reshape of %v to %v: no dimension %d to keep", from, want, i)
			}
			shape[i] = from[i]
		case d == -1 && infer >= 0:
			return nil, fmt.Errorf("reshape of %v to %v: two dimensions to infer", from, want)
		case d == -1:
			infer, shape[i] = i, 1
		case d < 0:
			return nil, fmt.Errorf("reshape of %v to %v: negative dimension", from, want)
		}
	}
	total, n := ir.NumElements(from), ir.NumElements(shape)
	if infer >= 0 {
		if n <= 0 || total%n != 0 {
			return nil, fmt.Errorf("reshape of %v to %v: the dimension to infer has no size", from, want)
		}
		shape[infer] = total / n
		return shape, nil
	}
	if n != total {
		return nil, fmt.Errorf("reshape of %v to %v: %d elements to %d", from, want, total, n)
	}
	return shape, nil
}

func flattenOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	axis, rank := c.int("axis", 1), int64(x.Rank())
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis > rank {
		return nil, fmt.Errorf("axis %d is out of range for rank %d", axis, rank)
	}
	s := x.Shape()
	return one(x.Reshape([]int64{ir.NumElements(s[:axis]), ir.NumElements(s[axis:])}), nil)
}

// axesGiven are the axes of an operator that took them as an attribute below an opset and takes them as operand i from then on.
func (c *Call) axesGiven(i int, since int64) (axes []int64, ok bool, err error) {
	if c.Opset < since {
		a := c.Attr("axes")
		return a.Ints(), a != nil, nil
	}
	return c.intsOperand(i)
}

func squeezeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	list, given, err := c.axesGiven(1, 13)
	if err != nil {
		return nil, err
	}
	axes, err := axesOf(list, x.Rank())
	if err != nil {
		return nil, err
	}
	shape := []int64{}
	for i, d := range x.Shape() {
		drop := d == 1
		if given {
			drop = slices.Contains(axes, i)
		}
		if !drop {
			shape = append(shape, d)
		} else if d != 1 {
			return nil, fmt.Errorf("dimension %d of %v is not 1", i, x.Shape())
		}
	}
	return one(x.Reshape(shape), nil)
}

func unsqueezeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	list, given, err := c.axesGiven(1, 13)
	if err == nil && !given {
		err = errors.New("no axes")
	}
	if err != nil {
		return nil, err
	}
	rank := x.Rank() + len(list)
	axes, err := axesOf(list, rank)
	if err != nil {
		return nil, err
	}
	shape, next := make([]int64, rank), 0
	for i := range shape {
		if slices.Contains(axes, i) {
			shape[i] = 1
		} else {
			shape[i] = x.Shape()[next]
			next++
		}
	}
	return one(x.Reshape(shape), nil)
}

// dropoutOp passes its operand through: evaluation is never training, except where the training_mode operand (opset 12) or
// is_test=0 (below opset 7) asks for it with a ratio that is not zero; see dropped.
func dropoutOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	training := c.Opset < 7 && c.int("is_test", 0) == 0
	ratio := float64(c.float("ratio", 0.5))
	if c.Opset >= 12 {
		mode, ok, err := c.scalarInt(2)
		if err != nil {
			return nil, err
		}
		training = ok && mode != 0
		if r, ok, err := c.scalarFloat(1); err != nil {
			return nil, err
		} else if ok {
			ratio = r
		}
	}
	if training && ratio != 0 {
		return dropped(c, x, ratio)
	}
	r := []ir.Datum{x}
	if c.wants(1) {
		mask, err := alloc[uint8](c, x.Shape())
		if err != nil {
			return nil, err
		}
		for i := range mask {
			mask[i] = 1
		}
		t := boolTensor(x.Shape(), mask)
		if c.Opset < 10 { // the mask has the type of the data
			if t, err = cast(c, t, x.DType()); err != nil {
				return nil, err
			}
		}
		r = append(r, t)
	}
	return r, nil
}

// constantOp is the value of the one attribute that holds it.
func constantOp(c *Call) ([]ir.Datum, error) {
	if a := c.Attr("value"); a != nil {
		if a.Tensor() == nil {
			return nil, errors.New("attribute value is not a tensor")
		}
		return one(a.Tensor(), nil)
	}
	if a := c.Attr("sparse_value"); a.Sparse() != nil {
		return one(densify(c, a.Sparse()))
	}
	if a := c.Attr("value_float"); a != nil {
		return one(ir.ScalarOf(a.Float()), nil)
	}
	if a := c.Attr("value_int"); a != nil {
		return one(ir.ScalarOf(a.Int()), nil)
	}
	if a := c.Attr("value_string"); a != nil {
		return one(ir.NewStringTensor([]int64{}, []string{a.Str()}), nil)
	}
	if a := c.Attr("value_floats"); a != nil {
		return one(ir.TensorOf(a.Floats()), nil)
	}
	if a := c.Attr("value_ints"); a != nil {
		return one(ir.TensorOf(a.Ints()), nil)
	}
	if a := c.Attr("value_strings"); a != nil {
		return one(ir.NewStringTensor([]int64{int64(len(a.Strs()))}, a.Strs()), nil)
	}
	return nil, errors.New("Constant without a value")
}

// densify expands a sparse tensor in COO form; indices are linear [NNZ] or one row an element [NNZ, rank].
func densify(c *Call, s *ir.SparseTensor) (*ir.Tensor, error) {
	if s.Values == nil || s.Indices == nil {
		return nil, errors.New("sparse tensor without values or indices")
	}
	src, err := open(s.Values)
	if err != nil {
		return nil, err
	}
	dst, err := src.make(c, s.Dims)
	if err != nil {
		return nil, err
	}
	idx, err := ints(s.Indices)
	if err != nil {
		return nil, err
	}
	width := 1
	if s.Indices.Rank() == 2 {
		width = len(s.Dims)
	}
	if len(idx) != width*src.size() {
		return nil, fmt.Errorf("sparse tensor of %d values with %d indices", src.size(), len(idx))
	}
	step := strides(s.Dims)
	for i := range src.size() {
		at := idx[i*width]
		if s.Indices.Rank() == 2 {
			at = 0
			for k, v := range idx[i*width : (i+1)*width] {
				if v < 0 || v >= s.Dims[k] {
					return nil, fmt.Errorf("sparse index %d is out of range", v)
				}
				at += v * int64(step[k])
			}
		}
		if at < 0 || at >= int64(dst.size()) {
			return nil, fmt.Errorf("sparse index %d is out of range", at)
		}
		dst.copy(int(at), src, i, 1)
	}
	return dst.tensor(s.Dims), nil
}

// constantOfShapeOp fills a shape with the one element of attribute value, float zero by default.
func constantOfShapeOp(c *Call) ([]ir.Datum, error) {
	shape, ok, err := c.intsOperand(0)
	if err == nil && !ok {
		err = errors.New("operand 0 is missing")
	}
	if err != nil {
		return nil, err
	}
	value := c.Attr("value").Tensor()
	if value == nil {
		value = noValue(ir.Float32)
	}
	if value.Len() != 1 {
		return nil, fmt.Errorf("value has %d elements where one is needed", value.Len())
	}
	src, err := open(value)
	if err != nil {
		return nil, err
	}
	return one(strided(c, src, slices.Clone(shape), 0, make([]int, len(shape))))
}

// expandOp broadcasts the operand with a shape, in both directions.
func expandOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	want, ok, err := c.intsOperand(1)
	if err == nil && !ok {
		err = errors.New("operand 1 is missing")
	}
	if err != nil {
		return nil, err
	}
	for _, d := range want {
		if d < 0 {
			return nil, fmt.Errorf("expand to shape %v", want)
		}
	}
	shape, err := broadcast(x.Shape(), want)
	if err != nil {
		return nil, err
	}
	if slices.Equal(shape, x.Shape()) {
		return one(x, nil)
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	return one(strided(c, src, shape, 0, broadcastStrides(x.Shape(), shape)))
}
