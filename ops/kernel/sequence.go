package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// sequence is operand i as a sequence.
func (c *Call) sequence(i int) (*ir.Sequence, error) {
	if i < len(c.In) {
		if s, ok := c.In[i].(*ir.Sequence); ok && s != nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("operand %d is not a sequence", i)
}

func sequenceConstructOp(c *Call) ([]ir.Datum, error) {
	s := &ir.Sequence{}
	for i := range c.In {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			s.Elem = ir.TensorType(t.DType(), nil)
		}
		if t.DType() != s.Elem.Elem {
			return nil, c.badOperand(i, t)
		}
		s.Items = append(s.Items, t)
	}
	if s.Elem == nil {
		return nil, errors.New("no operands")
	}
	return []ir.Datum{s}, nil
}

func sequenceEmptyOp(c *Call) ([]ir.Datum, error) {
	d := ir.DType(c.int("dtype", int64(ir.Float32)))
	if !d.Valid() {
		return nil, fmt.Errorf("unknown element type %d", d)
	}
	return []ir.Datum{&ir.Sequence{Elem: ir.TensorType(d, nil)}}, nil
}

func sequenceLengthOp(c *Call) ([]ir.Datum, error) {
	s, err := c.sequence(0)
	if err != nil {
		return nil, err
	}
	return one(ir.ScalarOf(int64(len(s.Items))), nil)
}

// place is operand i as a position in n items, which counts from the back where negative; def if it is omitted.
func (c *Call) place(i, n, def int) (int, error) {
	p, ok, err := c.scalarInt(i)
	if err != nil || !ok {
		return def, err
	}
	return position(p, int64(n))
}

func sequenceAtOp(c *Call) ([]ir.Datum, error) {
	s, err := c.sequence(0)
	if err != nil {
		return nil, err
	}
	if len(s.Items) == 0 {
		return nil, errors.New("the sequence is empty")
	}
	i, err := c.place(1, len(s.Items), 0)
	if err != nil {
		return nil, err
	}
	return []ir.Datum{s.Items[i]}, nil
}

func sequenceEraseOp(c *Call) ([]ir.Datum, error) {
	s, err := c.sequence(0)
	if err != nil {
		return nil, err
	}
	if len(s.Items) == 0 {
		return nil, errors.New("the sequence is empty")
	}
	i, err := c.place(1, len(s.Items), len(s.Items)-1)
	if err != nil {
		return nil, err
	}
	return []ir.Datum{&ir.Sequence{Elem: s.Elem, Items: slices.Delete(slices.Clone(s.Items), i, i+1)}}, nil
}

// sequenceInsertOp inserts before a position; at the end without one.
func sequenceInsertOp(c *Call) ([]ir.Datum, error) {
	s, err := c.sequence(0)
	if err != nil {
		return nil, err
	}
	t, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if s.Elem != nil && s.Elem.DType() != ir.Undefined && s.Elem.DType() != t.DType() {
		return nil, c.badOperand(1, t)
	}
	n := len(s.Items)
	p, ok, err := c.scalarInt(2)
	if err != nil {
		return nil, err
	}
	switch {
	case !ok:
		p = int64(n)
	case p < -int64(n) || p > int64(n):
		return nil, fmt.Errorf("position %d in a sequence of %d", p, n)
	case p < 0:
		p += int64(n)
	}
	return []ir.Datum{&ir.Sequence{Elem: s.Elem, Items: slices.Insert(slices.Clone(s.Items), int(p), ir.Datum(t))}}, nil
}

// concatFromSequenceOp joins the items along an axis, a new one if new_axis is set.
func concatFromSequenceOp(c *Call) ([]ir.Datum, error) {
	s, err := c.sequence(0)
	if err != nil {
		return nil, err
	}
	var in []*ir.Tensor
	for _, d := range s.Items {
		t, ok := d.(*ir.Tensor)
		if !ok {
			return nil, errors.New("an item is no tensor")
		}
		in = append(in, t)
	}
	if len(in) == 0 {
		return nil, errors.New("the sequence is empty")
	}
	if c.int("new_axis", 0) != 0 {
		return one(stack(c, in, c.int("axis", 0)))
	}
	return one(concat(c, in, c.int("axis", 0)))
}

// splitToSequenceOp cuts along an axis: into single slices (with the axis only if keepdims is set), into slices of one size, the
// last smaller, or into slices of given sizes.
func splitToSequenceOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(c.int("axis", 0), x.Rank())
	if err != nil {
		return nil, err
	}
	sizes, given, err := c.intsOperand(1)
	if err != nil {
		return nil, err
	}
	d := x.Shape()[axis]
	by := int64(1)
	if t, _ := c.Tensor(1); given && t.Rank() == 0 {
		by = sizes[0]
		sizes, given = nil, false
		if by <= 0 {
			return nil, fmt.Errorf("slices of size %d", by)
		}
	}
	squeeze := !given && c.given() < 2 && c.int("keepdims", 1) == 0
	if !given {
		if err := c.reserve(d/by+1, 64); err != nil {
			return nil, err
		}
		for rest := d; rest > 0; rest -= by {
			sizes = append(sizes, min(by, rest))
		}
	}
	parts, err := split(c, x, axis, sizes)
	if err != nil {
		return nil, err
	}
	s := &ir.Sequence{Elem: ir.TensorType(x.DType(), nil)}
	for _, p := range parts {
		if squeeze {
			p = p.Reshape(slices.Delete(slices.Clone(p.Shape()), axis, axis+1))
		}
		s.Items = append(s.Items, p)
	}
	return []ir.Datum{s}, nil
}

// sequenceMapOp applies a body to the items of sequences of one length; other operands are given to each application.
func sequenceMapOp(c *Call) ([]ir.Datum, error) {
	g, err := c.body("body")
	if err != nil {
		return nil, err
	}
	first, err := c.sequence(0)
	if err != nil {
		return nil, err
	}
	if len(g.Inputs()) != len(c.In) {
		return nil, fmt.Errorf("body of %d inputs for %d operands", len(g.Inputs()), len(c.In))
	}
	results := make([]*ir.Sequence, len(g.Outputs()))
	for i, o := range g.Outputs() {
		d, _ := rowType(o.Type(), o)
		results[i] = &ir.Sequence{Elem: ir.TensorType(d, nil)}
	}
	for k := range first.Items {
		in := slices.Clone(c.In)
		for i, d := range in {
			if s, ok := d.(*ir.Sequence); ok {
				if len(s.Items) != len(first.Items) {
					return nil, fmt.Errorf("sequences of %d and %d items", len(first.Items), len(s.Items))
				}
				in[i] = s.Items[k]
			}
		}
		out, err := c.Body(g, in)
		if err != nil {
			return nil, err
		}
		for i, d := range out {
			results[i].Items = append(results[i].Items, d)
		}
		if err := c.tick(1 << 12); err != nil {
			return nil, err
		}
	}
	r := make([]ir.Datum, len(results))
	for i, s := range results {
		r[i] = s
	}
	return r, nil
}

// optionalOp wraps its operand, or is empty, of the type that the attribute gives.
func optionalOp(c *Call) ([]ir.Datum, error) {
	if c.given() > 0 {
		return []ir.Datum{&ir.Optional{Elem: c.In[0].Type(), Item: c.In[0]}}, nil
	}
	t := c.Attr("type").Type()
	if t == nil {
		return nil, errors.New("neither an operand nor a type")
	}
	return []ir.Datum{&ir.Optional{Elem: t}}, nil
}

// optionalGetElementOp unwraps an optional; anything else it returns as it is.
func optionalGetElementOp(c *Call) ([]ir.Datum, error) {
	if c.given() == 0 {
		return nil, errors.New("operand 0 is missing")
	}
	if o, ok := c.In[0].(*ir.Optional); ok {
		if o.Item == nil {
			return nil, errors.New("the optional is empty")
		}
		return []ir.Datum{o.Item}, nil
	}
	return []ir.Datum{c.In[0]}, nil
}

func optionalHasElementOp(c *Call) ([]ir.Datum, error) {
	has := c.given() > 0
	if has {
		if o, ok := c.In[0].(*ir.Optional); ok {
			has = o.Item != nil
		}
	}
	return one(boolTensor([]int64{}, []uint8{truth(has)}), nil)
}
