package opset

import "github.com/onnxopt/onnxopt/ir"

// legacyBroadcast states what attributes broadcast and axis said before version 7: operand 1 is aligned with the axes of operand 0 from
// "axis" on, at the end without it.
func legacyBroadcast(s *site) {
	if s.n.Op().Type == "PRelu" {
		if d := s.shape(s.in(1)); d == nil || s.rank(s.in(0)) < 0 {
			s.refuse("the rank of its operands is not known")
		} else if r := s.rank(s.in(0)); len(d) == 1 && r > 2 && !(d[0].IsStatic() && d[0].Size == 1) {
			s.operand(1, s.trailing(s.in(1), 1, r-2))
		}
		return
	}
	axis := s.n.Attr("axis")
	if s.int("broadcast") != 0 && axis != nil {
		ra, rb := s.needRank(s.in(0)), s.needRank(s.in(1))
		if s.why != "" {
			return
		}
		k, ok := s.axis(axis.Int(), max(ra, 1))
		if ok && rb > 0 && ra-k-rb > 0 {
			s.operand(1, s.trailing(s.in(1), rb, ra-k-rb))
		}
	}
	s.n.RemoveAttr("broadcast")
	s.n.RemoveAttr("axis")
}

// trailing appends k dimensions of one to x of the given rank.
func (s *site) trailing(x *ir.Value, rank, k int) *ir.Value {
	axes := make([]int64, k)
	for i := range axes {
		axes[i] = int64(rank + i)
	}
	return s.unsqueeze(x, axes...)
}

func gemm7(s *site) { s.n.RemoveAttr("broadcast") }

// inference7 drops is_test; from version 7 on the operator is in inference mode.
func inference7(s *site) {
	if s.int("is_test") == 0 {
		s.refuse("it trains: is_test is 0")
	}
	s.n.RemoveAttr("is_test")
}

func batchNorm9(s *site) {
	if s.int("spatial") == 0 {
		s.refuse("spatial=0, statistics of each element, ended with opset 8")
	}
	s.n.RemoveAttr("spatial")
}

func upsample9(s *site) {
	s.operand(1, s.constant(ir.TensorOf(s.n.Attr("scales").Floats())))
	s.n.RemoveAttr("scales")
}

func upsample10(s *site) { s.n.SetOp(ir.Op("Resize")) }

func slice10(s *site) {
	s.operand(1, s.vec(s.ints("starts")...))
	s.operand(2, s.vec(s.ints("ends")...))
	if a := s.n.Attr("axes"); a != nil {
		s.operand(3, s.vec(a.Ints()...))
	}
	for _, name := range []string{"starts", "ends", "axes"} {
		s.n.RemoveAttr(name)
	}
}

func topK10(s *site) {
	s.operand(1, s.vec(s.int("k")))
	s.n.RemoveAttr("k")
}

// clip11 makes the bounds operands. A bound that is not stated is the largest finite number of float32.
func clip11(s *site) {
	for i, name := range []string{"min", "max"} {
		if a := s.n.Attr(name); a != nil {
			s.operand(i+1, s.number(s.needDType(s.in(0)), float64(a.Float())))
			s.n.RemoveAttr(name)
		}
	}
}

func pad11(s *site) {
	s.operand(1, s.vec(s.ints("pads")...))
	if v := s.float32("value"); v != 0 && s.str("mode") == "constant" {
		s.operand(2, s.number(s.needDType(s.in(0)), float64(v)))
	}
	s.n.RemoveAttr("pads")
	s.n.RemoveAttr("value")
}

// resize11 states how version 10 maps coordinates.
func resize11(s *site) {
	scales := s.in(1)
	s.operand(1, s.constant(ir.TensorOf([]float32{})))
	s.operand(2, scales)
	s.n.SetAttr(ir.StringAttr("coordinate_transformation_mode", "asymmetric"))
	s.n.SetAttr(ir.StringAttr("nearest_mode", "floor"))
}

func scatter11(s *site) { s.n.SetOp(ir.Op("ScatterElements")) }

func scan9(s *site) { s.refuse("Scan over a batch ended with opset 8") }

// dropout10: the mask became bool in version 10.
func dropout10(s *site) {
	if s.used(1) {
		s.refuse("its mask is of another type from opset 10 on")
		return
	}
	if s.n.Result(1) != nil {
		s.n.OmitResult(1)
	}
	s.n.TrimResults()
}
