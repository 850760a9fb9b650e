package slices

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// slicing is what a Slice cuts, an entry for each axis that it names; axes are not negative.
type slicing struct{ starts, ends, axes, steps []int64 }

func (s slicing) and(t slicing) slicing {
	return slicing{slices.Concat(s.starts, t.starts), slices.Concat(s.ends, t.ends), slices.Concat(s.axes, t.axes), slices.Concat(s.steps, t.steps)}
}

// bounds reads what n, a Slice of a value of that rank (-1: unknown), cuts; ok is false if it is not known.
func bounds(m *rewrite.Match, n *ir.Node, rank int) (s slicing, ok bool) {
	if s.starts, ok = list(m, n, 1, "starts"); !ok {
		return s, false
	}
	if s.ends, ok = list(m, n, 2, "ends"); !ok {
		return s, false
	}
	for i := range s.starts {
		s.axes, s.steps = append(s.axes, int64(i)), append(s.steps, 1)
	}
	if n.Operand(3) != nil || n.Attr("axes") != nil {
		if s.axes, ok = list(m, n, 3, "axes"); !ok {
			return s, false
		}
	}
	if n.Operand(4) != nil {
		if s.steps, ok = list(m, n, 4, ""); !ok {
			return s, false
		}
	}
	s.axes = slices.Clone(s.axes)
	for i, a := range s.axes {
		if a < 0 {
			s.axes[i] = a + int64(rank)
		}
		if s.axes[i] < 0 || a < 0 && rank < 0 {
			return s, false
		}
	}
	k := len(s.starts)
	return s, len(s.ends) == k && len(s.axes) == k && len(s.steps) == k
}

// list is operand i of n, a constant vector of int64 or int32, or the attribute that it was before opset 10.
func list(m *rewrite.Match, n *ir.Node, i int, attr string) ([]int64, bool) {
	if m.Opset("") < 10 {
		return n.Ints(attr), n.Attr(attr) != nil
	}
	t := n.Operand(i).Const()
	switch {
	case t == nil:
		return nil, false
	case t.DType() == ir.Int64:
		v, err := ir.Elements[int64](t)
		m.Fail(err)
		return v, err == nil
	case t.DType() != ir.Int32:
		return nil, false
	}
	narrow, err := ir.Elements[int32](t)
	m.Fail(err)
	v := make([]int64, len(narrow))
	for i, x := range narrow {
		v[i] = int64(x)
	}
	return v, err == nil
}

// build makes a Slice of x.
func (s slicing) build(b *rewrite.Builder, m *rewrite.Match, x *ir.Value) *ir.Value {
	if m.Opset("") < 10 {
		return b.Op("Slice", []*ir.Value{x}, ir.IntsAttr("starts", s.starts), ir.IntsAttr("ends", s.ends), ir.IntsAttr("axes", s.axes))
	}
	in := []*ir.Value{x, b.Ints("", s.starts...), b.Ints("", s.ends...), b.Ints("", s.axes...), nil}
	if slices.ContainsFunc(s.steps, func(t int64) bool { return t != 1 }) {
		in[4] = b.Ints("", s.steps...)
	}
	return b.Op("Slice", in)
}
