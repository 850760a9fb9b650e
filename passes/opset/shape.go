package opset

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// reshapeUp lets Reshape nodes of this conversion keep dimensions of zero.
func reshapeUp(s *site) {
	if s.c.flat[s.n] {
		s.n.SetAttr(ir.IntAttr("allowzero", 1))
	}
}

// reshapeDown: a zero that means zero makes the result empty, and an empty tensor of any shape can be made anew.
func reshapeDown(s *site) {
	if s.int("allowzero") == 0 {
		s.n.RemoveAttr("allowzero")
		return
	}
	s.n.RemoveAttr("allowzero")
	shape := s.in(1)
	dims, ok := s.known(shape)
	switch {
	case ok && !slices.Contains(dims, 0), s.sizes(shape), s.c.origins[s.n] != nil:
		return // of those made here, see keepEmpty
	case ok:
		s.replace(s.empty(shape))
	default:
		x := s.in(0)
		zero := s.op("Equal", s.reduce("ReduceProd", s.cast(shape, ir.Float32), false), s.number(ir.Float32, 0))
		s.replace(s.either(zero, func(b *site) *ir.Value { return b.empty(shape) },
			func(b *site) *ir.Value { return b.op("Reshape", x, shape) }))
	}
}

// sizes reports whether all elements of v are known not to be zero.
func (s *site) sizes(v *ir.Value) bool {
	s.c.facts.Extend(v)
	x, ok := s.c.facts.Ints(v)
	if !ok {
		return false
	}
	for _, e := range x {
		if n, ok := e.Const(); !ok || n == 0 {
			return false
		}
	}
	return true
}

// empty is an empty tensor of n's element type.
func (s *site) empty(shape *ir.Value) *ir.Value {
	d := s.needDType(s.n.Operand(0))
	t := numberOf(d, 0)
	if t == nil {
		s.refuse("an empty tensor of type %s cannot be made", d)
		return shape
	}
	return s.opa("ConstantOfShape", attrs(ir.TensorAttr("value", t.Reshape([]int64{1}))), shape)
}

// shapeDown: a part of the shape is a slice of it.
func shapeDown(s *site) {
	start, end := s.int("start"), s.n.Attr("end")
	if start == 0 && end == nil {
		s.n.RemoveAttr("start")
		return
	}
	to := int64(math.MaxInt64)
	if end != nil {
		to = end.Int()
	}
	s.replace(s.slice(s.shapeOf(s.in(0)), 0, start, to, 1))
}

// identityDown: where Identity takes tensors only, the uses of others go to what it is of.
func identityDown(s *site) {
	t := s.typ(s.in(0))
	if t == nil || t.Kind == ir.KindTensor {
		return
	}
	if s.n.Result(0).IsOutput() {
		s.refuse("opset %d has no Identity of %s, which an output needs", s.to, spell(t))
		return
	}
	s.replace(s.in(0))
}

// constantDown states the value as a tensor, the only form of version 11.
func constantDown(s *site) {
	if len(s.n.Attrs()) != 1 {
		return
	}
	a := s.n.Attrs()[0]
	if a.Name == "value" || a.Name == "sparse_value" {
		return
	}
	t := s.n.Result(0).Const()
	if t == nil {
		s.refuse("attribute %s came with opset 12", a.Name)
		return
	}
	s.n.RemoveAttr(a.Name)
	s.n.SetAttr(ir.TensorAttr("value", t))
}

// castLikeDown needs to know the type.
func castLikeDown(s *site) {
	d := s.dtype(s.in(1))
	if d == ir.Undefined {
		s.refuse("the type to cast to is not known")
		return
	}
	list := append(attrs(ir.IntAttr("to", int64(d))), s.n.Attrs()...)
	s.replace(s.opa("Cast", list, s.in(0)))
}

// roundModeDown drops round_mode where it says nothing: it is for float8e8m0 only, which the version before does not have.
func roundModeDown(s *site) { s.n.RemoveAttr("round_mode") }

// constantOfShapeDown makes a type that cannot be filled in by a cast.
func constantOfShapeDown(s *site) {
	a := s.n.Attr("value").Tensor()
	if a == nil {
		return
	}
	switch d := a.DType(); d {
	case ir.BFloat16:
		bits, err := ir.Elements[uint16](a)
		if err != nil || len(bits) != 1 {
			s.refuse("its value cannot be read")
			return
		}
		v := math.Float32frombits(uint32(bits[0]) << 16)
		s.replace(s.cast(s.opa("ConstantOfShape", attrs(ir.TensorAttr("value", ir.TensorOf([]float32{v}))), s.in(0)), d))
	case ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ:
		s.replace(s.op("Expand", s.constant(a.Reshape([]int64{})), s.in(0)))
	}
}

// dtypeDown makes what is not made in bfloat16 by a cast.
func dtypeDown(s *site) {
	x := s.n.Result(0)
	if s.dtype(x) != ir.BFloat16 {
		if s.n.NumOperands() > 0 && s.dtype(s.in(0)) == ir.BFloat16 {
			s.operand(0, s.cast(s.in(0), ir.Float32))
			if s.n.Attr("dtype") == nil {
				s.n.SetAttr(ir.IntAttr("dtype", int64(ir.BFloat16)))
				dtypeDown(s)
			}
		}
		return
	}
	in := s.n.Operands()
	for i, v := range in {
		in[i] = s.cast(v, ir.Float32)
	}
	list := attrs(ir.IntAttr("dtype", int64(ir.Float32)))
	for _, a := range s.n.Attrs() {
		if a.Name != "dtype" {
			list = append(list, a)
		}
	}
	s.tolerant()
	s.replace(s.opa("Cast", attrs(ir.IntAttr("to", int64(ir.BFloat16))), s.opa(s.n.Op().Type, list, in...)))
}

// bitCastDown knows only the cast to the same type.
func bitCastDown(s *site) {
	if d := s.dtype(s.in(0)); d != ir.Undefined && int64(d) == s.int("to") {
		s.replace(s.op("Identity", s.in(0)))
		return
	}
	s.refuse("no operator before opset 26 gives bits another type")
}

// spaceToDepthDown spells out the order that came with version 28.
func spaceToDepthDown(s *site) {
	if s.str("mode") == "DCR" {
		s.n.RemoveAttr("mode")
		return
	}
	x, b := s.in(0), s.int("blocksize")
	n, c, h, w := s.dim(x, 0), s.dim(x, 1), s.dim(x, 2), s.dim(x, 3)
	bs := s.vec(b)
	h, w = s.op("Div", h, bs), s.op("Div", w, bs)
	y := s.keepEmpty(x, s.concat(0, n, c, h, bs, w, bs))
	y = s.transpose(y, 0, 1, 3, 5, 2, 4)
	s.replace(s.keepEmpty(y, s.concat(0, n, s.op("Mul", c, s.vec(b*b)), h, w)))
}

// gatherNDDown gives the indices the coordinates of the batch dimensions.
func gatherNDDown(s *site) {
	b := s.int("batch_dims")
	if b == 0 {
		s.n.RemoveAttr("batch_dims")
		return
	}
	index := s.in(1)
	q := s.needRank(index)
	if s.why != "" {
		return
	}
	parts := make([]*ir.Value, 0, b+1)
	lead := s.concat(0, s.slice(s.shapeOf(index), 0, 0, int64(q-1), 1), s.vec(1))
	for i := range b {
		n := s.size(index, i)
		at := s.op("Range", s.scalar64(0), n, s.scalar64(1))
		axes := []int64{}
		for a := range int64(q) {
			if a != i {
				axes = append(axes, a)
			}
		}
		parts = append(parts, s.op("Expand", s.unsqueeze(at, axes...), lead))
	}
	s.replace(s.op("GatherND", s.in(0), s.concat(-1, append(parts, index)...)))
}

// triluDown masks one side of the diagonal.
func triluDown(s *site) {
	x := s.in(0)
	k := s.in(1)
	if k == nil {
		k = s.scalar64(0)
	}
	row := s.unsqueeze(s.op("Range", s.scalar64(0), s.size(x, -2), s.scalar64(1)), 1)
	col := s.unsqueeze(s.op("Range", s.scalar64(0), s.size(x, -1), s.scalar64(1)), 0)
	edge := s.op("Add", row, s.keepScalar(k))
	drop := s.op("Less", col, edge) // the upper part keeps col >= row + k
	if s.int("upper") == 0 {
		drop = s.op("Greater", col, edge)
	}
	s.replace(s.op("Where", drop, s.like(x, 0), x))
}

// keepScalar is v, which has one element, as a scalar.
func (s *site) keepScalar(v *ir.Value) *ir.Value {
	if s.rank(v) == 0 {
		return v
	}
	return s.op("Reshape", v, s.vec())
}
