package opset

import "github.com/onnxopt/onnxopt/ir"

// optionalGetDown: of what is no optional, the element is the value itself.
func optionalGetDown(s *site) {
	t := s.typ(s.in(0))
	switch {
	case t != nil && (t.Kind == ir.KindTensor || t.Kind == ir.KindSequence):
		s.replace(s.op("Identity", s.in(0)))
	case s.to < 15:
		s.refuse("optional types came with opset 15")
	}
}

// optionalHasDown: what is no optional is there, and what is omitted is not.
func optionalHasDown(s *site) {
	t := s.typ(s.in(0))
	is := func(b byte) { s.replace(s.op("Identity", s.constant(ir.NewTensor(ir.Bool, []int64{}, []byte{b})))) }
	switch {
	case s.in(0) == nil:
		is(0)
	case t != nil && (t.Kind == ir.KindTensor || t.Kind == ir.KindSequence):
		is(1)
	case s.to < 15:
		s.refuse("optional types came with opset 15")
	}
}

// sequenceMapDown walks the sequence in a Loop and appends to a sequence for each result.
func sequenceMapDown(s *site) {
	body := s.n.Attr("body").Graph()
	types := make([]ir.DType, s.n.NumResults())
	for i, o := range body.Outputs() {
		if i >= len(types) {
			break
		}
		if types[i] = s.dtype(o.Value()); types[i] == ir.Undefined {
			types[i] = o.Type().DType()
		}
		if types[i] == ir.Undefined {
			s.refuse("the element type of result %d is not known", i)
			return
		}
	}
	n := s.op("SequenceLength", s.in(0))
	start := []*ir.Value{n, nil}
	for _, d := range types {
		start = append(start, s.opa("SequenceEmpty", attrs(ir.IntAttr("dtype", int64(d)))))
	}
	g := s.g.NewSubgraph("map")
	b := *s
	b.g = g
	i := g.AddInput("i", ir.TensorType(ir.Int64, ir.Shape{}))
	cond := g.AddInput("cond_in", ir.TensorType(ir.Bool, ir.Shape{}))
	var done []*ir.Value
	for _, d := range types {
		done = append(done, g.AddInput("mapped", ir.SequenceOf(ir.TensorType(d, nil))))
	}
	in := make([]*ir.Value, s.n.NumOperands())
	for k := range in {
		x := s.in(k)
		t := s.typ(x)
		switch {
		case t == nil:
			s.refuse("the type of operand %d is not known", k)
			return
		case t.Kind == ir.KindSequence:
			in[k] = b.op("SequenceAt", x, i)
		default:
			in[k] = b.op("Identity", x)
		}
	}
	g.AddOutput("cond_out", b.op("Identity", cond), nil)
	before := map[*ir.Node]bool{}
	for k := range g.Nodes() {
		before[k] = true
	}
	out := body.CopyInto(g, nil, in)
	for k := range g.Nodes() {
		if !before[k] {
			s.c.origins[k] = k.Origin()
			s.c.source[k] = s.c.place(s.n)
			s.c.made = append(s.c.made, k)
		}
	}
	for k := range types {
		g.AddOutput("mapped_out", b.op("SequenceInsert", done[k], out[k]), nil)
	}
	s.replace(s.node("Loop", start, len(types), ir.GraphAttr("body", g)).Results()...)
}
