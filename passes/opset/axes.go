package opset

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// axesUp makes attribute axes operand 1.
func axesUp(s *site) { s.attrToOperand("axes") }

// attrToOperand makes a list of integers operand 1. A reference to a function's attribute becomes a Constant that holds it.
func (s *site) attrToOperand(name string) {
	a := s.n.Attr(name)
	if a == nil {
		return
	}
	v := (*ir.Value)(nil)
	if a.Ref != "" {
		v = s.opa("Constant", attrs(ir.RefAttr("value_ints", ir.AttrInts, a.Ref)))
	} else {
		v = s.vec(a.Ints()...)
	}
	s.operand(1, v)
	s.n.RemoveAttr(name)
}

// operandToAttr makes operand 1 a list of integers; ok is false if it is not known.
func (s *site) operandToAttr(name string) (ok bool) {
	x, ok := s.known(s.in(1))
	if !ok {
		return false
	}
	s.n.SetAttr(ir.IntsAttr(name, slices.Clone(x)))
	s.trim(1)
	return true
}

// squeezeDown: axes that are computed become the shape of a Reshape.
func squeezeDown(s *site) {
	if s.in(1) == nil {
		s.trim(1)
		return
	}
	if s.operandToAttr("axes") {
		return
	}
	x := s.in(0)
	shape := s.shapeOf(x)
	rank := s.op("Size", shape)
	keep := s.op("Not", s.among(s.op("Range", s.scalar64(0), rank, s.scalar64(1)), s.fromFront(s.in(1), rank)))
	s.replace(s.reshapeAway(x, s.opa("Compress", attrs(ir.IntAttr("axis", 0)), shape, keep)))
}

// reshapeAway is a Reshape of a version that takes a dimension of zero for one to copy, to a shape without zeros unless x is empty.
func (s *site) reshapeAway(x, shape *ir.Value) *ir.Value { return s.keepEmpty(x, shape) }

// fromFront counts axes from the front; axes is a vector, rank a scalar.
func (s *site) fromFront(axes, rank *ir.Value) *ir.Value {
	axes = s.cast(axes, ir.Int64)
	return s.op("Where", s.op("Less", axes, s.scalar64(0)), s.op("Add", axes, rank), axes)
}

// among tells for each element of a vector whether it is an element of another one.
func (s *site) among(x, list *ir.Value) *ir.Value {
	eq := s.op("Equal", s.unsqueeze(x, 1), s.unsqueeze(list, 0))
	n := s.reduce("ReduceSum", s.cast(eq, ir.Int32), false, 1)
	return s.op("Greater", n, s.number(ir.Int32, 0))
}

// unsqueezeDown: axes that are computed become the shape of a Reshape.
func unsqueezeDown(s *site) {
	if s.operandToAttr("axes") {
		return
	}
	x, axes := s.in(0), s.in(1)
	shape := s.shapeOf(x)
	rank := s.op("Add", s.op("Size", shape), s.op("Size", axes))
	one := s.among(s.op("Range", s.scalar64(0), rank, s.scalar64(1)), s.fromFront(axes, rank))
	// The k-th dimension that is not new is the k-th of x; one more at the end, for the index of new ones may be beyond.
	old := s.opa("CumSum", nil, s.cast(s.op("Not", one), ir.Int64), s.scalar64(0))
	at := s.op("Max", s.cast(s.op("Sub", old, s.scalar64(1)), ir.Float32), s.number(ir.Float32, 0)) // Max of integers came with 12
	dims := s.gather(0, s.concat(0, shape, s.vec(1)), s.cast(at, ir.Int64))
	s.replace(s.reshapeAway(x, s.op("Where", one, s.scalar64(1), dims)))
}

// reduceDown makes operand axes an attribute again.
func reduceDown(s *site) {
	axes := s.in(1)
	known, isKnown := s.known(axes)
	empty := axes == nil || isKnown && len(known) == 0
	switch noop := s.int("noop_with_empty_axes") != 0; {
	case empty && noop:
		s.replace(s.elementwise(s.in(0)))
	case empty:
		s.n.RemoveAttr("noop_with_empty_axes")
		s.trim(1)
	case isKnown:
		s.n.RemoveAttr("noop_with_empty_axes")
		s.operandToAttr("axes")
	default:
		s.reduceComputed(noop)
	}
}

// elementwise is what a reduction does along no axis.
func (s *site) elementwise(x *ir.Value) *ir.Value {
	switch s.n.Op().Type {
	case "ReduceL1":
		return s.op("Abs", x)
	case "ReduceL2":
		return s.op("Abs", x)
	case "ReduceLogSum":
		return s.op("Log", x)
	case "ReduceSumSquare":
		return s.op("Mul", x, x)
	case "ReduceSum", "ReduceMean", "ReduceLogSumExp":
		s.tolerant() // a sum that starts from zero is not -0
	}
	return s.op("Identity", x)
}

// reduceComputed reduces along axes that are computed. Each axis of the operand is the only axis of one branch of an If, in turn; sums of
// squares, exponentials and the like are made before and after.
func (s *site) reduceComputed(noop bool) {
	x, axes := s.in(0), s.in(1)
	r := s.needRank(x)
	size := int64(-1)
	if d := s.shape(axes); len(d) == 1 && d[0].IsStatic() {
		size = d[0].Size
	}
	if s.why != "" {
		return
	}
	if size < 0 {
		s.refuse("its axes are computed, and how many there are is not known")
		return
	}
	if size == 0 { // an operand of a known shape without elements
		s.trim(1)
		reduceEmpty(s, noop)
		return
	}
	typ := s.n.Op().Type
	step, before, after := typ, "", ""
	switch typ {
	case "ReduceL1":
		step, before = "ReduceSum", "Abs"
	case "ReduceL2":
		step, before, after = "ReduceSum", "square", "Sqrt"
	case "ReduceSumSquare":
		step, before = "ReduceSum", "square"
	case "ReduceLogSum":
		step, after = "ReduceSum", "Log"
	}
	if typ != "ReduceMax" && typ != "ReduceMin" {
		s.tolerant()
	}
	switch before {
	case "Abs":
		x = s.op("Abs", x)
	case "square":
		x = s.op("Mul", x, x)
	}
	from := s.fromFront(axes, s.scalar64(int64(r)))
	in := s.among(s.op("Range", s.scalar64(0), s.scalar64(int64(r)), s.scalar64(1)), from)
	for a := range int64(r) {
		x = s.either(s.gather(0, in, s.scalar64(a)), func(b *site) *ir.Value { return b.reduce(step, x, true, a) },
			func(b *site) *ir.Value { return b.op("Identity", x) })
	}
	switch after {
	case "Sqrt":
		if d := s.dtype(s.in(0)); d.IsInt() {
			x = s.cast(s.op("Sqrt", s.cast(x, ir.Float64)), d)
		} else {
			x = s.op("Sqrt", x)
		}
	case "Log":
		x = s.op("Log", x)
	}
	if s.int("keepdims") == 0 {
		shape := s.shapeOf(x)
		x = s.reshapeAway(x, s.opa("Compress", attrs(ir.IntAttr("axis", 0)), shape, s.op("Not", in)))
	}
	s.replace(x)
}

// reduceEmpty reduces along an empty list of axes.
func reduceEmpty(s *site, noop bool) {
	if noop {
		s.replace(s.elementwise(s.in(0)))
		return
	}
	s.n.RemoveAttr("noop_with_empty_axes")
}

// either is an If of one result.
func (s *site) either(cond *ir.Value, yes, no func(*site) *ir.Value) *ir.Value {
	branch := func(name string, f func(*site) *ir.Value) *ir.Attr {
		g := s.g.NewSubgraph(name)
		b := *s
		b.g = g
		v := f(&b)
		if b.why != "" {
			s.refuse("%s", b.why)
		}
		g.AddOutput(name+"_out", v, nil)
		return ir.GraphAttr(name+"_branch", g)
	}
	return s.opa("If", attrs(branch("then", yes), branch("else", no)), cond)
}

// Split.

func splitUp(s *site) { s.attrToOperand("split") }

// splitDown: sizes that are computed become Slice nodes.
func splitDown(s *site) {
	if s.in(1) == nil {
		s.trim(1)
		return
	}
	if s.operandToAttr("split") {
		return
	}
	sizes := s.cast(s.in(1), ir.Int64)
	s.pieces(sizes)
}

// pieces replaces n by slices of sizes that are computed.
func (s *site) pieces(sizes *ir.Value) {
	x, axis := s.in(0), s.int("axis")
	ends := s.op("CumSum", sizes, s.scalar64(0))
	starts := s.op("Sub", ends, sizes)
	out := make([]*ir.Value, s.n.NumResults())
	for i, v := range s.n.Results() {
		if v != nil {
			out[i] = s.op("Slice", x, s.slice(starts, 0, int64(i), int64(i)+1, 1), s.slice(ends, 0, int64(i), int64(i)+1, 1), s.vec(axis))
		}
	}
	s.replace(out...)
}

// splitNumUp: without sizes, the number of parts has to be stated.
func splitNumUp(s *site) {
	if s.in(1) == nil {
		s.n.SetAttr(ir.IntAttr("num_outputs", int64(s.n.NumResults())))
	}
}

// splitNumDown states the sizes unless all are equal: with num_outputs the last part may be smaller.
func splitNumDown(s *site) {
	if s.in(1) != nil || s.n.Attr("num_outputs") == nil {
		s.n.RemoveAttr("num_outputs")
		return
	}
	k := int64(s.n.NumResults())
	s.n.RemoveAttr("num_outputs")
	d := s.shape(s.in(0))
	if d != nil {
		a, ok := s.axis(s.int("axis"), len(d))
		if !ok {
			return
		}
		if d[a].IsStatic() {
			n := d[a].Size
			if n%k == 0 {
				return
			}
			part := (n + k - 1) / k
			sizes := make([]int64, k)
			for i := range sizes {
				sizes[i] = min(part, max(0, n-int64(i)*part))
			}
			s.operand(1, s.vec(sizes...))
			return
		}
	}
	n := s.dim(s.in(0), s.int("axis"))
	part := s.op("Div", s.op("Add", n, s.vec(k-1)), s.vec(k))
	parts := make([]*ir.Value, k)
	for i := range parts {
		parts[i] = part
	}
	parts[k-1] = s.op("Sub", n, s.op("Mul", part, s.vec(k-1)))
	s.operand(1, s.concat(0, parts...))
}
