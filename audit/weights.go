package audit

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// constants looks at the elements of all constants.
func (r *Report) constants(m *ir.Model) {
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			if v.NumUses() == 0 {
				r.add(Unused, Note, tensorPlace(v), "%d bytes that no node uses", max(v.Const().ByteLen(), 0))
			}
			r.tensor(tensorPlace(v), v.Const())
		}
		for _, s := range g.Inputs() {
			if t := s.Value().Default(); t != nil {
				r.tensor(tensorPlace(s.Value()), t)
			}
		}
		for n := range g.Nodes() {
			for _, a := range n.Attrs() {
				r.attr(n, a)
			}
		}
	}
}

func (r *Report) attr(n *ir.Node, a *ir.Attr) {
	where := place(n) + ", attribute " + a.Name
	if t := a.Tensor(); t != nil {
		r.tensor(where, t)
	}
	for _, t := range a.Tensors() {
		r.tensor(where, t)
	}
	var vs []float32
	switch a.Kind {
	case ir.AttrFloat:
		vs = []float32{a.Float()}
	case ir.AttrFloats:
		vs = a.Floats()
	}
	for _, v := range vs {
		if v != v {
			r.add(NaN, Danger, where, "it is NaN")
			return
		}
	}
}

// specials counts what is no finite number.
type specials struct{ nan, inf, negative, zero, all int64 }

// tensor looks for NaN and infinities.
func (r *Report) tensor(where string, t *ir.Tensor) {
	if !t.DType().IsFloat() || t.DType().Bits() < 16 || t.ByteLen() < 0 || t.ByteLen() > r.o.MaxMemory {
		return
	}
	b, err := t.Bytes()
	if err != nil {
		r.add(Unreadable, Danger, where, "%v", err)
		return
	}
	s := count(t.DType(), b)
	if s.nan > 0 {
		r.add(NaN, Danger, where, "%d of %d elements are NaN", s.nan, s.all)
	}
	switch {
	case s.inf == 0:
	case s.negative == s.inf && s.inf+s.zero == s.all: // what attention adds to scores that are not to count
		r.add(Infinite, Note, where, "a mask: %d of %d elements are -inf, the others 0", s.inf, s.all)
	case s.all == 1:
		r.add(Infinite, Note, where, "the only element is infinite")
	default:
		r.add(Infinite, Danger, where, "%d of %d elements are infinite", s.inf, s.all)
	}
}

// count goes over little-endian elements by their bits: IEEE 754 binary16, 32 and 64, and bfloat16.
func count(d ir.DType, b []byte) (s specials) {
	var exponent, sign uint64
	size := d.Bits() / 8
	switch d {
	case ir.Float16:
		exponent, sign = 0x7c00, 1<<15
	case ir.BFloat16:
		exponent, sign = 0x7f80, 1<<15
	case ir.Float32:
		exponent, sign = uint64(math.Float32bits(float32(math.Inf(1)))), 1<<31
	case ir.Float64:
		exponent, sign = math.Float64bits(math.Inf(1)), 1<<63
	default:
		return s
	}
	s.all = int64(len(b) / size)
	for i := 0; i+size <= len(b); i += size {
		var x uint64
		for k := size - 1; k >= 0; k-- {
			x = x<<8 | uint64(b[i+k])
		}
		switch magnitude := x &^ sign; {
		case magnitude == 0:
			s.zero++
		case magnitude < exponent:
		case magnitude > exponent:
			s.nan++
		default:
			s.inf++
			if x&sign != 0 {
				s.negative++
			}
		}
	}
	return s
}
