package opset

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// trailingAxes are the axes from a on, as an attribute or constant lists them. They are counted from the end where a is.
func (s *site) trailingAxes(x *ir.Value, a int64) []int64 {
	r := int64(0)
	if a >= 0 {
		r = int64(s.needRank(x))
	}
	axes := []int64{}
	for ; a < r; a++ {
		axes = append(axes, a)
	}
	return axes
}

// layerNormDown: see the function that the standard gives with the operator.
func layerNormDown(s *site) {
	s.tolerant()
	x := s.in(0)
	d := s.needDType(x)
	axes := s.trailingAxes(x, s.int("axis"))
	if s.why != "" {
		return
	}
	stash := ir.DType(s.int("stash_type"))
	f := s.cast(x, stash)
	mean := s.reduce("ReduceMean", f, true, axes...)
	dev := s.op("Sub", f, mean)
	std := s.op("Sqrt", s.op("Add", s.reduce("ReduceMean", s.op("Mul", dev, dev), true, axes...), s.number(stash, float64(s.float32("epsilon")))))
	y := s.op("Mul", s.cast(s.op("Div", dev, std), d), s.in(1))
	if b := s.in(2); b != nil {
		y = s.op("Add", y, b)
	}
	out := []*ir.Value{y, nil, nil}
	if s.used(1) {
		out[1] = mean
	}
	if s.used(2) {
		out[2] = s.op("Reciprocal", std)
	}
	s.replace(out...)
}

func rmsNormDown(s *site) {
	s.tolerant()
	x := s.in(0)
	d := s.needDType(x)
	axes := s.trailingAxes(x, s.int("axis"))
	if s.why != "" {
		return
	}
	stash := ir.DType(s.int("stash_type"))
	f := s.cast(x, stash)
	mean := s.reduce("ReduceMean", s.op("Mul", f, f), true, axes...)
	rms := s.op("Sqrt", s.op("Add", mean, s.number(stash, float64(s.float32("epsilon")))))
	y := s.cast(s.op("Div", f, rms), d)
	s.replace(s.cast(s.op("Mul", y, s.cast(s.in(1), d)), d))
}

// groupNormDown: version 18 of the operator is withdrawn, so that it is spelled out for all versions below 21.
func groupNormDown(s *site) {
	s.tolerant()
	x := s.in(0)
	d := s.needDType(x)
	if s.why != "" {
		return
	}
	stash := ir.Float32
	if s.old.Attr("stash_type") != nil {
		stash = ir.DType(s.int("stash_type"))
	}
	shape := s.shapeOf(x)
	g := s.int("num_groups")
	f := s.cast(x, stash)
	n := s.dim(x, 0)
	y := s.reshape(f, s.concat(0, n, s.vec(g, -1)))
	mean := s.reduce("ReduceMean", y, true, 2)
	dev := s.op("Sub", y, mean)
	std := s.op("Sqrt", s.op("Add", s.reduce("ReduceMean", s.op("Mul", dev, dev), true, 2), s.number(stash, float64(s.float32("epsilon")))))
	y = s.cast(s.op("Div", dev, std), d)
	scale, bias := s.in(1), s.in(2)
	c := s.dim(x, 1)
	if s.old.Since() >= 21 {
		y = s.reshape(y, s.concat(0, n, c, s.vec(-1)))
		scale, bias = s.unsqueeze(scale, 1), s.unsqueeze(bias, 1)
	} else { // one for each group
		scale, bias = s.unsqueeze(scale, 1), s.unsqueeze(bias, 1)
	}
	y = s.op("Add", s.op("Mul", y, scale), bias)
	s.replace(s.keepEmpty(y, shape))
}

// groupNormUp repeats scale and bias, one for each group up to version 20, for each channel.
func groupNormUp(s *site) {
	g := s.int("num_groups")
	c := s.dim(s.in(0), 1)
	each := s.concat(0, s.vec(g), s.op("Div", c, s.vec(g)))
	for i := 1; i <= 2; i++ {
		s.operand(i, s.reshape(s.op("Expand", s.unsqueeze(s.in(i), 1), each), s.vec(-1)))
	}
}

// batchNormUp: version 14 trains by an attribute, with two results; before, results that are asked for meant training.
func batchNormUp(s *site) {
	training := false
	for i := 1; i < s.n.NumResults(); i++ {
		if s.used(i) {
			training = true
		}
	}
	if training && (s.used(3) || s.used(4)) {
		s.refuse("saved_mean and saved_var ended with opset 13")
		return
	}
	for i := s.n.NumResults() - 1; i > 0 && (i > 2 || !training); i-- {
		s.n.OmitResult(i)
	}
	s.n.TrimResults()
	if training {
		s.n.SetAttr(ir.IntAttr("training_mode", 1))
	}
}

// batchNormDown spells training out.
func batchNormDown(s *site) {
	if s.int("training_mode") == 0 {
		s.n.RemoveAttr("training_mode")
		return
	}
	s.tolerant()
	x := s.in(0)
	r, d := s.needRank(x), s.needDType(x)
	if s.why != "" {
		return
	}
	axes, wide := []int64{0}, []int64{}
	for a := int64(2); a < int64(r); a++ {
		axes = append(axes, a)
		wide = append(wide, a-1)
	}
	channel := func(v *ir.Value) *ir.Value { return s.unsqueeze(s.cast(v, d), wide...) }
	mean := s.reduce("ReduceMean", x, true, axes...)
	dev := s.op("Sub", x, mean)
	variance := s.reduce("ReduceMean", s.op("Mul", dev, dev), true, axes...)
	y := s.op("Div", dev, s.op("Sqrt", s.op("Add", variance, s.number(d, float64(s.float32("epsilon"))))))
	y = s.op("Add", s.op("Mul", channel(s.in(1)), y), channel(s.in(2)))
	out := []*ir.Value{y, nil, nil}
	for i, now := range []*ir.Value{mean, variance} {
		if !s.used(i + 1) {
			continue
		}
		before := s.in(3 + i)
		t := s.dtype(before)
		m := float64(s.float32("momentum"))
		out[i+1] = s.op("Add", s.op("Mul", before, s.like(before, m)), s.op("Mul", s.cast(s.squeeze(now, axes...), t), s.like(before, 1-m)))
	}
	s.replace(out...)
}

// layoutDown moves the batch axis of a recurrent operator behind time and direction.
func layoutDown(s *site) {
	if s.int("layout") == 0 {
		s.n.RemoveAttr("layout")
		return
	}
	list := slices.DeleteFunc(slices.Clone(s.n.Attrs()), func(a *ir.Attr) bool { return a.Name == "layout" })
	in := s.n.Operands()
	for _, i := range []int{0, 5, 6} {
		if i < len(in) && in[i] != nil {
			in[i] = s.transpose(in[i], 1, 0, 2)
		}
	}
	k := s.node(s.n.Op().Type, in, s.n.NumResults(), list...)
	out := make([]*ir.Value, s.n.NumResults())
	for i := range out {
		switch {
		case s.n.Result(i) == nil:
			k.OmitResult(i)
		case !s.used(i):
		case i == 0:
			out[i] = s.transpose(k.Result(i), 2, 0, 1, 3)
		default:
			out[i] = s.transpose(k.Result(i), 1, 0, 2)
		}
	}
	s.replace(out...)
}

// dropoutUp makes the ratio an operand. Without training_mode the operator keeps all elements, as it did in versions 7 to 11.
func dropoutUp(s *site) {
	if a := s.n.Attr("ratio"); a != nil {
		s.operand(1, s.number(ir.Float32, float64(a.Float())))
		s.n.RemoveAttr("ratio")
	}
}

// dropoutDown: before version 12 the operator keeps all elements.
func dropoutDown(s *site) {
	ratio, mode := s.in(1), s.in(2)
	if t, ok := s.known(mode); mode != nil && (!ok || t[0] != 0) {
		if v, isZero := s.float(ratio); !isZero || v != 0 {
			s.refuse("it may train, which no version from 7 to 11 does")
			return
		}
	}
	s.n.RemoveAttr("seed")
	if s.used(1) { // what the mask holds is not stated in those versions
		x := s.in(0)
		all := ir.NewTensor(ir.Bool, []int64{1}, []byte{1})
		mask := s.opa("ConstantOfShape", attrs(ir.TensorAttr("value", all)), s.shapeOf(x))
		s.replace(s.op("Identity", x), mask)
		return
	}
	if v, ok := s.float(ratio); ok {
		s.n.SetAttr(ir.FloatAttr("ratio", float32(v)))
	}
	s.trim(1)
}
