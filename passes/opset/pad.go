package opset

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// padAxesDown gives the pads of all axes.
func padAxesDown(s *site) {
	if s.in(3) == nil {
		s.trim(3)
		return
	}
	x, pads := s.in(0), s.in(1)
	r := s.rank(x)
	axes, known := s.known(s.in(3))
	values, given := s.known(pads)
	if known && given && r >= 0 && len(values) == 2*len(axes) {
		full := make([]int64, 2*r)
		for i, a := range axes {
			k, ok := s.axis(a, r)
			if !ok {
				return
			}
			full[k], full[r+k] = values[i], values[len(axes)+i]
		}
		s.operand(1, s.vec(full...))
		s.trim(3)
		return
	}
	s.operand(1, s.fullPads(x, pads, s.in(3)))
	s.trim(3)
}

// fullPads scatters the pads of some axes into those of all.
func (s *site) fullPads(x, pads, axes *ir.Value) *ir.Value {
	rank := s.op("Size", s.shapeOf(x))
	at := s.fromFront(axes, rank)
	zeros := s.opa("ConstantOfShape", attrs(ir.TensorAttr("value", ir.TensorOf([]int64{0}))),
		s.op("Mul", s.unsqueeze(rank, 0), s.vec(2)))
	return s.opa("ScatterElements", attrs(ir.IntAttr("axis", 0)), zeros, s.concat(0, at, s.op("Add", at, rank)), pads)
}

// padWrapDown joins the tensor with its own ends.
func padWrapDown(s *site) {
	if s.str("mode") != "wrap" {
		return
	}
	x := s.in(0)
	d := s.shape(x)
	values, ok := s.known(s.in(1))
	axes, known := s.known(s.in(3))
	if s.in(3) == nil {
		known = d != nil
		for i := range d {
			axes = append(axes, int64(i))
		}
	}
	if !ok || !known || d == nil || len(values) != 2*len(axes) {
		s.refuse("mode=wrap came with opset 19, and its pads or shape are not known")
		return
	}
	for i, a := range axes {
		k, ok := s.axis(a, len(d))
		if !ok {
			return
		}
		before, after := values[i], values[len(axes)+i]
		if before == 0 && after == 0 {
			continue
		}
		if !d[k].IsStatic() || before < 0 || after < 0 || before > d[k].Size || after > d[k].Size {
			s.refuse("mode=wrap came with opset 19, and its pads are not known to be within the axis")
			return
		}
		var parts []*ir.Value
		if before > 0 {
			parts = append(parts, s.slice(x, int64(k), -before, math.MaxInt64, 1))
		}
		parts = append(parts, x)
		if after > 0 {
			parts = append(parts, s.slice(x, int64(k), 0, after, 1))
		}
		x = s.concat(int64(k), parts...)
	}
	if x == s.in(0) {
		x = s.op("Identity", x)
	}
	s.replace(x)
}

// centerCropPadDown cuts and pads along the axes, both around the middle.
func centerCropPadDown(s *site) {
	x, want := s.in(0), s.cast(s.in(1), ir.Int64)
	r := s.needRank(x)
	if s.why != "" {
		return
	}
	axes := []int64{}
	if a := s.n.Attr("axes"); a != nil {
		for _, v := range a.Ints() {
			k, ok := s.axis(v, r)
			if !ok {
				return
			}
			axes = append(axes, int64(k))
		}
	} else {
		for k := range int64(r) {
			axes = append(axes, k)
		}
	}
	var dims []*ir.Value
	for _, k := range axes {
		dims = append(dims, s.dim(x, k))
	}
	have := s.concat(0, dims...)
	keep := s.op("Where", s.op("Less", have, want), have, want)
	two := s.vec(2)
	start := s.op("Div", s.op("Sub", have, keep), two)
	y := s.op("Slice", x, start, s.op("Add", start, keep), s.vec(axes...))
	more := s.op("Sub", want, keep)
	before := s.op("Div", more, two)
	pads := s.fullPads(x, s.concat(0, before, s.op("Sub", more, before)), s.vec(axes...))
	s.replace(s.op("Pad", y, pads))
}
