package opset

import "github.com/onnxopt/onnxopt/ir"

func nllDown(s *site) {
	s.tolerant()
	s.replace(s.likelihood(s.in(0)))
}

func sceDown(s *site) {
	s.tolerant()
	x := s.in(0)
	logs := s.logSoftmax1(x)
	loss := s.likelihood(logs)
	s.replace(loss, logs)
}

// logSoftmax1 is the logarithm of softmax along axis 1 for any rank.
func (s *site) logSoftmax1(x *ir.Value) *ir.Value {
	z := s.op("Sub", x, s.reduce("ReduceMax", x, true, 1))
	return s.op("Sub", z, s.op("Log", s.reduce("ReduceSum", s.op("Exp", z), true, 1)))
}

// likelihood is minus the weighted logarithm of the target's probability, reduced as n says.
func (s *site) likelihood(logs *ir.Value) *ir.Value {
	target, weight := s.cast(s.in(1), ir.Int64), s.in(2)
	d := s.needDType(logs)
	if s.why != "" {
		return logs
	}
	ignored := (*ir.Value)(nil)
	if a := s.n.Attr("ignore_index"); a != nil {
		ignored = s.op("Equal", target, s.scalar64(a.Int()))
		target = s.op("Where", ignored, s.scalar64(0), target)
	}
	picked := s.opa("GatherElements", attrs(ir.IntAttr("axis", 1)), logs, s.unsqueeze(target, 1))
	loss := s.op("Neg", s.squeeze(picked, 1))
	w := (*ir.Value)(nil)
	if weight != nil {
		w = s.gather(0, weight, target)
	}
	if ignored != nil {
		if w == nil {
			w = s.number(d, 1)
		}
		w = s.op("Where", ignored, s.number(d, 0), w)
		loss = s.op("Where", ignored, s.number(d, 0), loss) // an infinity times zero is no zero
	}
	if w != nil {
		loss = s.op("Mul", loss, w)
	}
	switch s.str("reduction") {
	case "none":
		return loss
	case "sum":
		return s.reduce("ReduceSum", loss, false)
	}
	if w == nil {
		return s.reduce("ReduceMean", loss, false)
	}
	return s.op("Div", s.reduce("ReduceSum", loss, false), s.reduce("ReduceSum", w, false))
}

// bernoulliDown compares with uniform random numbers.
func bernoulliDown(s *site) {
	s.tolerant()
	x := s.in(0)
	d := s.needDType(x)
	to := d
	if a := s.n.Attr("dtype"); a != nil {
		to = ir.DType(a.Int())
	}
	if s.why != "" {
		return
	}
	list := attrs(ir.IntAttr("dtype", int64(ir.Float32)))
	if a := s.n.Attr("seed"); a != nil {
		list = append(list, a)
	}
	u := s.opa("RandomUniformLike", list, x)
	s.replace(s.cast(s.op("Less", u, s.cast(x, ir.Float32)), to))
}
