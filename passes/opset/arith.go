package opset

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// argDown finds the last of equal elements in the reversed axis.
func argDown(s *site) {
	if s.int("select_last_index") == 0 {
		s.n.RemoveAttr("select_last_index")
		return
	}
	x, axis := s.in(0), s.int("axis")
	back := s.slice(x, axis, -1, math.MinInt64+1, -1)
	i := s.opa(s.n.Op().Type, attrs(ir.IntAttr("axis", axis), ir.IntAttr("keepdims", s.int("keepdims"))), back)
	s.replace(s.op("Sub", s.op("Sub", s.size(x, axis), s.scalar64(1)), i))
}

// clipDown: version 11 takes floats only.
func clipDown(s *site) {
	if d := s.dtype(s.in(0)); d == ir.Undefined || d.IsFloat() {
		return
	}
	x := s.in(0)
	if lo := s.in(1); lo != nil {
		x = s.op("Where", s.op("Less", x, lo), lo, x)
	}
	if hi := s.in(2); hi != nil {
		x = s.op("Where", s.op("Less", hi, x), hi, x)
	}
	if x == s.in(0) {
		x = s.op("Identity", x)
	}
	s.replace(x)
}

// maxDown: versions before 12 take floats only.
func maxDown(s *site) {
	if d := s.dtype(s.in(0)); d == ir.Undefined || d.IsFloat() {
		return
	}
	first, typ := s.in(0), "Less"
	if s.n.Op().Type == "Max" {
		typ = "Greater"
	}
	if s.n.NumOperands() == 1 {
		s.replace(s.op("Identity", first))
		return
	}
	for _, x := range s.n.Operands()[1:] {
		first = s.op("Where", s.op(typ, first, x), first, x)
	}
	s.replace(first)
}

// powDown: versions before 12 take one float type. Powers of integers are made in double and are exact up to 2^53.
func powDown(s *site) {
	x, y := s.in(0), s.in(1)
	dx, dy := s.dtype(x), s.dtype(y)
	if dx == dy && dx.IsFloat() || dx == ir.Undefined || dy == ir.Undefined {
		return
	}
	s.tolerant()
	w := ir.Float64
	if dx.IsFloat() && dx != ir.BFloat16 {
		w = dx
	}
	z := s.op("Pow", s.cast(x, w), s.cast(y, w))
	if dx.IsInt() {
		z = s.op("Round", z)
	}
	s.replace(s.cast(z, dx))
}

// modDown: version 13 has fmod=0 for integers only.
func modDown(s *site) {
	d := s.dtype(s.in(0))
	if s.int("fmod") != 0 || d.IsInt() {
		return
	}
	if d == ir.Undefined {
		s.refuse("the element type of its operand is not known")
		return
	}
	s.tolerant()
	a, b := s.in(0), s.in(1)
	zero := s.number(d, 0)
	r := s.opa("Mod", attrs(ir.IntAttr("fmod", 1)), a, b)
	wrong := s.op("And", s.op("Not", s.op("Equal", r, zero)), s.op("Xor", s.op("Less", r, zero), s.op("Less", b, zero)))
	r = s.op("Where", wrong, s.op("Add", r, b), r)
	s.replace(s.op("Mul", s.op("Abs", r), s.op("Sign", b))) // a zero has the sign of the divisor, too
}

// bitShiftDown shifts the bits of a signed integer as those of an unsigned one; to the right, those of ~x if x is negative.
func bitShiftDown(s *site) {
	x, y := s.in(0), s.in(1)
	d := s.needDType(x)
	if s.why != "" || d.IsUnsigned() {
		return
	}
	w, u := ir.Int32, ir.Uint32
	if d == ir.Int64 {
		w, u = ir.Int64, ir.Uint64
	}
	shift := func(v *ir.Value) *ir.Value {
		return s.cast(s.opa("BitShift", s.n.Attrs(), s.cast(v, u), s.cast(y, u)), w)
	}
	x = s.cast(x, w)
	if s.str("direction") == "LEFT" {
		s.replace(s.cast(shift(x), d))
		return
	}
	not := func(v *ir.Value) *ir.Value { return s.op("Sub", s.number(w, -1), v) }
	neg := s.op("Less", x, s.number(w, 0))
	z := shift(s.op("Where", neg, not(x), x))
	s.replace(s.cast(s.op("Where", neg, not(z), z), d))
}

// rangeDown drops the type of the computation where it is that of the operands.
func rangeDown(s *site) {
	st := s.int("stash_type")
	s.n.RemoveAttr("stash_type")
	if d := s.dtype(s.in(0)); (d == ir.Float16 || d == ir.BFloat16) && st != 0 {
		in := s.n.Operands()
		for i := range in {
			in[i] = s.cast(in[i], ir.DType(st))
		}
		s.replace(s.cast(s.op("Range", in...), d))
	}
}

// cumProdDown multiplies in a Scan.
func cumProdDown(s *site) {
	x := s.in(0)
	ax, ok := s.known(s.in(1))
	r := s.needRank(x)
	d := s.needDType(x)
	if !ok || len(ax) != 1 {
		s.refuse("its axis is computed, and Scan takes an attribute")
	}
	if s.why != "" {
		return
	}
	k, ok := s.axis(ax[0], r)
	if !ok {
		return
	}
	// The state is the product of one slice; its shape is that of x without the axis.
	dims := make([]*ir.Value, 0, r)
	for i := range r {
		if i != k {
			dims = append(dims, s.dim(x, int64(i)))
		}
	}
	shape := s.vec()
	if len(dims) > 0 {
		shape = s.concat(0, dims...)
	}
	one := s.op("Expand", s.number(d, 1), shape)
	g := s.g.NewSubgraph("product")
	b := *s
	b.g = g
	state := g.AddInput("state", ir.TensorType(d, nil))
	elem := g.AddInput("element", ir.TensorType(d, nil))
	p := b.op("Mul", state, elem)
	g.AddOutput("state_out", p, nil)
	if s.int("exclusive") != 0 {
		g.AddOutput("product", b.op("Identity", state), nil)
	} else {
		g.AddOutput("product", b.op("Identity", p), nil)
	}
	dir := s.int("reverse")
	n := s.node("Scan", []*ir.Value{one, x}, 2, ir.GraphAttr("body", g), ir.IntAttr("num_scan_inputs", 1),
		ir.IntsAttr("scan_input_axes", []int64{int64(k)}), ir.IntsAttr("scan_output_axes", []int64{int64(k)}),
		ir.IntsAttr("scan_input_directions", []int64{dir}), ir.IntsAttr("scan_output_directions", []int64{dir}))
	if d.IsFloat() {
		s.tolerant()
	}
	s.replace(n.Result(1))
}

// bitwiseNotDown is -1 - x, which for unsigned types is the largest number less x.
func bitwiseNotDown(s *site) {
	x := s.in(0)
	d := s.needDType(x)
	if s.why != "" {
		return
	}
	ones := make([]byte, max(d.Bits()/8, 1))
	for i := range ones {
		ones[i] = 0xff
	}
	s.replace(s.op("Sub", s.constant(ir.NewTensor(d, []int64{}, ones)), x))
}
