package opset

import "github.com/onnxopt/onnxopt/ir"

// softmaxUp: up to version 12 all axes from "axis" on are one, from 13 on it is a single axis.
func softmaxUp(s *site) {
	x, a := s.in(0), s.int("axis")
	d := s.shape(x)
	if d != nil {
		if k, ok := s.axis(a, max(len(d), 1)); !ok {
			return
		} else if single(d, k) {
			s.n.SetAttr(ir.IntAttr("axis", a))
			return
		}
	} else if a == -1 {
		s.n.SetAttr(ir.IntAttr("axis", -1))
		return
	}
	s.roundsOtherwise()
	flat := s.opa("Flatten", attrs(ir.IntAttr("axis", a)), x)
	y := s.opa(s.n.Op().Type, attrs(ir.IntAttr("axis", -1)), flat)
	y.Node().SetName(s.n.Name())
	s.replace(s.keepEmpty(y, s.shapeOf(x)))
}

// single reports whether all axes behind k have one element.
func single(d ir.Shape, k int) bool {
	for _, x := range d[min(k+1, len(d)):] {
		if !x.IsStatic() || x.Size != 1 {
			return false
		}
	}
	return true
}

func softmaxDown(s *site) {
	x, a := s.in(0), s.int("axis")
	d := s.shape(x)
	switch {
	case a == -1:
		s.n.SetAttr(ir.IntAttr("axis", -1))
		return
	case d == nil:
		s.softmaxSpelled(x, a)
		return
	}
	k, ok := s.axis(a, max(len(d), 1))
	if !ok {
		return
	}
	if single(d, k) {
		s.n.SetAttr(ir.IntAttr("axis", a))
		return
	}
	s.roundsOtherwise()
	perm := make([]int64, len(d))
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[k], perm[len(d)-1] = int64(len(d)-1), int64(k)
	y := s.opa(s.n.Op().Type, attrs(ir.IntAttr("axis", -1)), s.transpose(x, perm...))
	y.Node().SetName(s.n.Name())
	s.replace(s.transpose(y, perm...))
}

// softmaxSpelled needs no rank.
func (s *site) softmaxSpelled(x *ir.Value, a int64) {
	typ := s.n.Op().Type
	if typ == "Hardmax" {
		s.refuse("the rank of its operand is not known")
		return
	}
	s.tolerant()
	z := s.op("Sub", x, s.reduce("ReduceMax", x, true, a))
	e := s.op("Exp", z)
	sum := s.reduce("ReduceSum", e, true, a)
	if typ == "LogSoftmax" {
		s.replace(s.op("Sub", z, s.op("Log", sum)))
		return
	}
	s.replace(s.op("Div", e, sum))
}

// roundsOtherwise notes that the same sums are made along other axes, where an engine may have another kernel for them.
func (s *site) roundsOtherwise() {
	if s.n.Op().Type != "Hardmax" {
		s.tolerant()
	}
}
