package opset

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// resizeUp13: version 13 has no tf_half_pixel_for_nn. Its floor((x+0.5)/scale) is half_pixel rounded half up.
func resizeUp13(s *site) {
	if s.str("coordinate_transformation_mode") != "tf_half_pixel_for_nn" {
		return
	}
	if s.str("mode") != "nearest" || s.str("nearest_mode") != "floor" {
		s.refuse("coordinate_transformation_mode=tf_half_pixel_for_nn ended with opset 12")
		return
	}
	s.n.SetAttr(ir.StringAttr("coordinate_transformation_mode", "half_pixel"))
	s.n.SetAttr(ir.StringAttr("nearest_mode", "round_prefer_ceil"))
}

// resizeDown13: version 11 does not let roi and scales be omitted; empty ones say the same.
func resizeDown13(s *site) {
	for i := 1; i <= 2; i++ {
		if s.in(i) == nil {
			s.operand(i, s.constant(ir.TensorOf([]float32{})))
		}
	}
}

// resizeDown19 knows half_pixel_symmetric where it is half_pixel: where no size is rounded.
func resizeDown19(s *site) {
	if s.str("coordinate_transformation_mode") != "half_pixel_symmetric" {
		return
	}
	if s.in(3) == nil && !s.wholeSizes() {
		s.refuse("coordinate_transformation_mode=half_pixel_symmetric came with opset 19")
		return
	}
	s.n.SetAttr(ir.StringAttr("coordinate_transformation_mode", "half_pixel"))
}

// wholeSizes reports whether all sizes that the scales give are known to be whole numbers.
func (s *site) wholeSizes() bool {
	f, ok := s.floats(s.in(2))
	d, static := s.shape(s.in(0)).Ints()
	if !ok || !static {
		return false
	}
	axes, ok := s.resizeAxes(len(d))
	if !ok || len(axes) != len(f) {
		return false
	}
	for i, a := range axes {
		if x := float64(d[a]) * float64(f[i]); x != math.Floor(x) {
			return false
		}
	}
	return true
}

// floats are the elements of a float32 constant.
func (s *site) floats(v *ir.Value) ([]float32, bool) {
	t := v.Const()
	if t == nil || t.DType() != ir.Float32 {
		return nil, false
	}
	f, err := ir.Elements[float32](t)
	return f, err == nil
}

// resizeAxes are the axes that n scales, counted from the front.
func (s *site) resizeAxes(r int) ([]int, bool) {
	a := s.n.Attr("axes")
	var axes []int
	if a == nil {
		for i := range r {
			axes = append(axes, i)
		}
		return axes, true
	}
	for _, x := range a.Ints() {
		k, ok := s.axis(x, r)
		if !ok {
			return nil, false
		}
		axes = append(axes, k)
	}
	return axes, true
}

// resizeDown18 spells out what came with version 18: axes, and sizes that keep the aspect ratio.
func resizeDown18(s *site) {
	if s.int("antialias") != 0 {
		s.refuse("antialias came with opset 18")
		return
	}
	s.n.RemoveAttr("antialias")
	policy, sizes := s.str("keep_aspect_ratio_policy"), s.in(3)
	if policy != "stretch" && sizes != nil {
		s.keepAspect(policy == "not_larger")
	}
	if s.why != "" {
		return
	}
	s.n.RemoveAttr("keep_aspect_ratio_policy")
	if s.n.Attr("axes") == nil {
		return
	}
	r := s.needRank(s.in(0))
	axes, ok := s.resizeAxes(r)
	if !ok || s.why != "" {
		return
	}
	s.n.RemoveAttr("axes")
	place := make(map[int]int64, len(axes))
	for i, a := range axes {
		place[a] = int64(i)
	}
	fill := func(i int, other func(axis int) *ir.Value) {
		v := s.in(i)
		if v == nil || s.emptyVector(v) {
			return
		}
		var parts []*ir.Value
		for a := range r {
			if at, ok := place[a]; ok {
				parts = append(parts, s.slice(v, 0, at, at+1, 1))
			} else {
				parts = append(parts, other(a))
			}
		}
		s.operand(i, s.concat(0, parts...))
	}
	if v := s.in(1); v != nil && !s.emptyVector(v) {
		d := s.needDType(v)
		var parts []*ir.Value
		for end := range 2 {
			for a := range r {
				if at, ok := place[a]; ok {
					at += int64(end * len(axes))
					parts = append(parts, s.slice(v, 0, at, at+1, 1))
				} else {
					parts = append(parts, s.unsqueeze(s.number(d, float64(end)), 0))
				}
			}
		}
		s.operand(1, s.concat(0, parts...))
	}
	fill(2, func(int) *ir.Value { return s.constant(ir.TensorOf([]float32{1})) })
	fill(3, func(a int) *ir.Value { return s.dim(s.in(0), int64(a)) })
}

func (s *site) emptyVector(v *ir.Value) bool {
	d := s.shape(v)
	return len(d) == 1 && d[0].IsStatic() && d[0].Size == 0
}

// keepAspect gives the one scale that fits the sizes. Where that rounds a size to another one than Resize does, there is no equivalent.
func (s *site) keepAspect(smallest bool) {
	want, ok := s.known(s.in(3))
	d, static := s.shape(s.in(0)).Ints()
	if !ok || !static {
		s.refuse("keep_aspect_ratio_policy came with opset 18, and its sizes are computed")
		return
	}
	axes, ok := s.resizeAxes(len(d))
	if !ok || len(axes) != len(want) {
		return
	}
	scale := math.Inf(1)
	if !smallest {
		scale = 0
	}
	for i, a := range axes {
		x := float64(want[i]) / float64(d[a])
		if smallest {
			scale = min(scale, x)
		} else {
			scale = max(scale, x)
		}
	}
	f := float32(scale)
	list := make([]float32, len(axes))
	for i, a := range axes {
		if math.Floor(float64(d[a])*scale+0.5) != math.Floor(float64(f*float32(d[a]))) {
			s.refuse("keep_aspect_ratio_policy came with opset 18, and its sizes are rounded")
			return
		}
		list[i] = f
	}
	s.tolerant()
	s.operand(2, s.constant(ir.TensorOf(list)))
	s.trim(3)
}
