package opset

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

func attentionDown(s *site) { s.attention() }

// attentionDown24 drops the key lengths that came with version 24 where they are not given.
func attentionDown24(s *site) {
	if s.in(6) != nil {
		s.attention()
	}
}

// attentionDown25 drops the window that came with version 25 where it is not bounded.
func attentionDown25(s *site) {
	if s.int("left_window_size") >= 0 || s.int("right_window_size") >= 0 {
		s.attention()
	}
}

// heads is a tensor [batch, heads, length, size] of one that may be [batch, length, heads*size].
func (s *site) heads(x *ir.Value, n int64) *ir.Value {
	switch s.needRank(x) {
	case 4:
		return x
	case 3:
		return s.transpose(s.reshape(x, s.vec(0, 0, n, -1)), 0, 2, 1, 3)
	}
	s.refuse("its operands have neither three nor four dimensions")
	return x
}

// attention spells out softmax(scale*Q*K' + bias)*V. 16-bit floats are computed with in 32 bits.
func (s *site) attention() {
	s.tolerant()
	d := s.needDType(s.in(0))
	merged := s.needRank(s.in(0)) == 3
	q := s.heads(s.in(0), s.int("q_num_heads"))
	k, v := s.heads(s.in(1), s.int("kv_num_heads")), s.heads(s.in(2), s.int("kv_num_heads"))
	if s.why != "" {
		return
	}
	past := s.scalar64(0)
	if c := s.in(4); c != nil {
		past = s.size(c, 2)
		k = s.concat(2, c, k)
	}
	if c := s.in(5); c != nil {
		v = s.concat(2, c, v)
	}
	out := make([]*ir.Value, 4)
	if s.used(1) {
		out[1] = s.op("Identity", k)
	}
	if s.used(2) {
		out[2] = s.op("Identity", v)
	}
	w := d
	if d.Bits() == 16 {
		w = ir.Float32
	}
	keys, queries := s.dim(k, 2), s.dim(q, 2)
	qf, kf, vf := s.cast(q, w), s.cast(s.shared(k, q), w), s.cast(s.shared(v, q), w)
	p := s.op("Mul", s.op("MatMul", qf, s.transpose(kf, 0, 1, 3, 2)), s.attentionScale(q, w))
	if c := s.float32("softcap"); c > 0 {
		limit := s.number(w, float64(c))
		p = s.op("Mul", limit, s.op("Tanh", s.op("Div", p, limit)))
	}
	mode, qk := s.int("qk_matmul_output_mode"), p
	limited := false
	if m := s.in(3); m != nil {
		limited = true
		p = s.op("Add", p, s.attentionMask(m, keys, w))
	}
	if h := s.hidden(past, queries, keys); h != nil {
		limited = true
		p = s.op("Where", h, s.number(w, math.Inf(-1)), p)
	}
	if mode == 2 {
		qk = p
	}
	y := s.opa("Softmax", attrs(ir.IntAttr("axis", -1)), p)
	if limited { // a query that sees no key gives zeros
		none := s.op("Equal", s.reduce("ReduceMax", p, true, -1), s.number(w, math.Inf(-1)))
		y = s.op("Where", none, s.number(w, 0), y)
	}
	if mode == 3 {
		qk = y
	}
	if s.used(3) {
		out[3] = s.cast(qk, d)
		if out[3] == qk {
			out[3] = s.op("Identity", qk)
		}
	}
	y = s.cast(s.op("MatMul", y, vf), d)
	if merged {
		y = s.reshape(s.transpose(y, 0, 2, 1, 3), s.vec(0, 0, -1))
	}
	out[0] = y
	s.replace(out...)
}

// shared repeats each head of x for the heads of q that use it.
func (s *site) shared(x, q *ir.Value) *ir.Value {
	a, b := s.dim(x, 1), s.dim(q, 1)
	n, known := s.known(a)
	m, also := s.known(b)
	if known && also && n[0] == m[0] {
		return x
	}
	group := s.op("Div", b, a)
	batch, length, size := s.dim(x, 0), s.dim(x, 2), s.dim(x, 3)
	y := s.op("Expand", s.unsqueeze(x, 2), s.concat(0, batch, a, group, length, size))
	return s.keepEmpty(y, s.concat(0, batch, b, length, size))
}

func (s *site) attentionScale(q *ir.Value, w ir.DType) *ir.Value {
	if a := s.n.Attr("scale"); a != nil {
		return s.number(w, float64(a.Float()))
	}
	size := s.dim(q, 3)
	if n, ok := s.known(size); ok {
		return s.number(w, 1/math.Sqrt(float64(n[0])))
	}
	return s.op("Reciprocal", s.op("Sqrt", s.cast(s.squeeze(size, 0), w)))
}

// attentionMask is a mask as numbers to add. One that is shorter than the keys hides the rest.
func (s *site) attentionMask(m, keys *ir.Value, w ir.DType) *ir.Value {
	d := s.dtype(m)
	if d == ir.Bool {
		m = s.op("Where", m, s.number(w, 0), s.number(w, math.Inf(-1)))
	} else {
		m = s.cast(m, w)
	}
	r := s.needRank(m)
	if s.why != "" || r == 0 {
		return m
	}
	have := s.dim(m, -1)
	n, known := s.known(have)
	t, also := s.known(keys)
	if known && also && n[0] == t[0] || s.sameDim(m, have, keys) {
		return m
	}
	lead := s.vec(make([]int64, 2*r-1)...)
	pads := s.concat(0, lead, s.op("Sub", keys, have))
	return s.op("Pad", m, pads, s.number(w, math.Inf(-1)))
}

// sameDim reports whether two vectors of one size are known to be equal.
func (s *site) sameDim(_, a, b *ir.Value) bool {
	s.c.facts.Extend(a)
	s.c.facts.Extend(b)
	x, ok := s.c.facts.Ints(a)
	y, also := s.c.facts.Ints(b)
	return ok && also && len(x) == 1 && len(y) == 1 && x[0].Same(y[0])
}

// hidden tells which keys a query does not see for its position, nil if it sees all.
func (s *site) hidden(past, queries, keys *ir.Value) *ir.Value {
	limit := func(name string) int64 {
		if s.old.Attr(name) == nil {
			return -1
		}
		return s.int(name)
	}
	left, right, causal, valid := limit("left_window_size"), limit("right_window_size"), s.int("is_causal") != 0, s.in(6)
	if left < 0 && right < 0 && !causal && valid == nil {
		return nil
	}
	j := s.op("Range", s.scalar64(0), s.scalar(keys), s.scalar64(1))
	i := s.unsqueeze(s.op("Range", s.scalar64(0), s.scalar(queries), s.scalar64(1)), 1)
	var r *ir.Value
	or := func(v *ir.Value) {
		if r == nil {
			r = v
		} else {
			r = s.op("Or", r, v)
		}
	}
	if valid != nil {
		valid = s.unsqueeze(s.cast(valid, ir.Int64), 1, 2, 3)
		past = s.op("Sub", valid, queries)
		or(s.op("Not", s.op("Less", j, valid)))
	}
	ahead := s.op("Sub", s.op("Add", i, past), j)
	if causal {
		or(s.op("Less", ahead, s.scalar64(0)))
	}
	if left >= 0 {
		or(s.op("Greater", ahead, s.scalar64(left)))
	}
	if right >= 0 {
		or(s.op("Less", ahead, s.scalar64(-right)))
	}
	return r
}

// rotaryDown turns pairs of elements by the angle of their position.
func rotaryDown(s *site) {
	s.tolerant()
	x := s.in(0)
	r := s.needRank(x)
	cos, sin := s.in(1), s.in(2)
	var y *ir.Value // [batch, length, heads, size]
	switch r {
	case 3:
		if s.int("num_heads") <= 0 {
			s.refuse("the number of heads is not given")
		}
		y = s.reshape(x, s.vec(0, 0, s.int("num_heads"), -1))
	case 4:
		y = s.transpose(x, 0, 2, 1, 3)
	default:
		s.refuse("its operand has neither three nor four dimensions")
	}
	if s.why != "" {
		return
	}
	if p := s.in(3); p != nil {
		cos, sin = s.gather(0, cos, p), s.gather(0, sin, p)
	}
	cos, sin = s.unsqueeze(cos, 2), s.unsqueeze(sin, 2)
	turned, rest := y, (*ir.Value)(nil)
	if n := s.int("rotary_embedding_dim"); n > 0 {
		turned, rest = s.slice(y, 3, 0, n, 1), s.slice(y, 3, n, math.MaxInt64, 1)
	}
	var a, b *ir.Value
	interleaved := s.int("interleaved") != 0
	if interleaved {
		a, b = s.slice(turned, 3, 0, math.MaxInt64, 2), s.slice(turned, 3, 1, math.MaxInt64, 2)
	} else {
		half := s.op("Div", s.dim(turned, 3), s.vec(2))
		a = s.op("Slice", turned, s.vec(0), half, s.vec(3))
		b = s.op("Slice", turned, half, s.vec(math.MaxInt64), s.vec(3))
	}
	re := s.op("Sub", s.op("Mul", cos, a), s.op("Mul", sin, b))
	im := s.op("Add", s.op("Mul", sin, a), s.op("Mul", cos, b))
	if interleaved {
		turned = s.reshape(s.concat(-1, s.unsqueeze(re, 4), s.unsqueeze(im, 4)), s.vec(0, 0, 0, -1))
	} else {
		turned = s.concat(3, re, im)
	}
	if rest != nil {
		turned = s.concat(3, turned, rest)
	}
	if r == 3 {
		s.replace(s.keepEmpty(turned, s.shapeOf(x)))
		return
	}
	s.replace(s.transpose(turned, 0, 2, 1, 3))
}

// tensorScatterDown writes the update at positions counted from the write index of each batch entry.
func tensorScatterDown(s *site) {
	x, u, w := s.in(0), s.in(1), s.in(2)
	r := s.needRank(x)
	k, ok := s.axis(s.int("axis"), max(r, 1))
	if s.why != "" || !ok {
		return
	}
	at := func(k int) []int64 { // all axes but k
		axes := []int64{}
		for i := range r {
			if i != k {
				axes = append(axes, int64(i))
			}
		}
		return axes
	}
	pos := s.unsqueeze(s.op("Range", s.scalar64(0), s.size(u, int64(k)), s.scalar64(1)), at(k)...)
	if w != nil {
		pos = s.op("Add", pos, s.unsqueeze(s.cast(w, ir.Int64), at(0)...))
	}
	if s.str("mode") == "circular" {
		pos = s.op("Mod", pos, s.dim(x, int64(k)))
	}
	pos = s.op("Expand", pos, s.shapeOf(u))
	s.replace(s.opa("ScatterElements", attrs(ir.IntAttr("axis", int64(k))), x, pos, u))
}

// causalConvDown puts the state, zeros at first, in front of the sequence.
func causalConvDown(s *site) {
	s.tolerant()
	x, w, bias, past := s.in(0), s.in(1), s.in(2), s.in(3)
	ws := s.shape(w)
	if len(ws) != 3 || !ws[0].IsStatic() || !ws[2].IsStatic() {
		s.refuse("the shape of its weights is not known")
		return
	}
	d, k := s.needDType(x), ws[2].Size
	if s.why != "" {
		return
	}
	if past == nil {
		past = s.op("Expand", s.number(d, 0), s.concat(0, s.dim(x, 0), s.vec(ws[0].Size, k-1)))
	}
	z := s.concat(2, past, x)
	y := s.opa("Conv", attrs(ir.IntAttr("group", ws[0].Size)), z, w, bias)
	if a := s.str("activation"); a == "silu" || a == "swish" {
		y = s.swish(y, 1)
	}
	state := (*ir.Value)(nil)
	if s.used(1) {
		n := s.dim(z, 2)
		state = s.op("Slice", z, s.op("Sub", n, s.vec(k-1)), n, s.vec(2))
	}
	s.replace(y, state)
}
