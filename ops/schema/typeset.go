package schema

import (
	"math/bits"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// TypeSet is a set of types that a type variable ranges over. Bit d of a mask stands for element type d.
type TypeSet struct {
	Tensor, Seq, Opt, OptSeq uint32 // tensor(d), seq(tensor(d)), optional(tensor(d)), optional(seq(tensor(d)))
	Other                    uint8  // bit i stands for otherTypes[i]
}

// otherTypes are the map types in the order of the bits of TypeSet.Other.
var otherTypes = [...]struct {
	key, value ir.DType
	seq        bool
}{
	{ir.Int64, ir.Float64, false},
	{ir.Int64, ir.Float32, false},
	{ir.Int64, ir.String, false},
	{ir.String, ir.Float64, false},
	{ir.String, ir.Float32, false},
	{ir.String, ir.Int64, false},
	{ir.Int64, ir.Float32, true},
	{ir.String, ir.Float32, true},
}

// Contains reports whether t can be in s: what t leaves open does not count against it.
func (s *TypeSet) Contains(t *ir.Type) bool {
	if t == nil {
		return true
	}
	switch t.Kind {
	case ir.KindNone:
		return true
	case ir.KindTensor:
		return hasElem(s.Tensor, t)
	case ir.KindSequence:
		return s.Seq != 0 && hasElem(s.Seq, t.Of) || s.hasMap(t.Of, true)
	case ir.KindOptional:
		switch {
		case t.Of == nil:
			return s.Opt != 0 || s.OptSeq != 0
		case t.Of.Kind == ir.KindSequence:
			return hasElem(s.OptSeq, t.Of.Of)
		}
		return hasElem(s.Opt, t.Of)
	case ir.KindMap:
		return s.hasMap(t, false)
	}
	return false
}

func hasElem(mask uint32, t *ir.Type) bool {
	switch {
	case t == nil || t.Kind == ir.KindNone:
		return mask != 0
	case t.Kind != ir.KindTensor:
		return false
	}
	return t.Elem == ir.Undefined && mask != 0 || mask>>t.Elem&1 != 0
}

func (s *TypeSet) hasMap(t *ir.Type, seq bool) bool {
	if t == nil || t.Kind != ir.KindMap {
		return false
	}
	for i, o := range otherTypes {
		if s.Other>>i&1 != 0 && o.seq == seq && o.key == t.Elem && (t.Of == nil || t.Of.DType() == o.value) {
			return true
		}
	}
	return false
}

// Only is the type of a set of one, without shapes; nil for larger sets.
func (s *TypeSet) Only() *ir.Type {
	n := bits.OnesCount32(s.Tensor) + bits.OnesCount32(s.Seq) + bits.OnesCount32(s.Opt) + bits.OnesCount32(s.OptSeq) + bits.OnesCount8(s.Other)
	if n != 1 {
		return nil
	}
	return s.first()
}

func (s *TypeSet) first() *ir.Type {
	elem := func(mask uint32) *ir.Type { return ir.TensorType(ir.DType(bits.TrailingZeros32(mask)), nil) }
	switch {
	case s.Tensor != 0:
		return elem(s.Tensor)
	case s.Seq != 0:
		return ir.SequenceOf(elem(s.Seq))
	case s.Opt != 0:
		return ir.OptionalOf(elem(s.Opt))
	case s.OptSeq != 0:
		return ir.OptionalOf(ir.SequenceOf(elem(s.OptSeq)))
	case s.Other != 0:
		o := otherTypes[bits.TrailingZeros8(s.Other)]
		t := ir.MapOf(o.key, ir.TensorType(o.value, ir.Shape{}))
		if o.seq {
			return ir.SequenceOf(t)
		}
		return t
	}
	return nil
}

// OnlyKind is the constructor that all types of the set share, KindNone if they do not.
func (s *TypeSet) OnlyKind() ir.TypeKind {
	kind := ir.KindNone
	for _, k := range []struct {
		kind ir.TypeKind
		in   bool
	}{
		{ir.KindTensor, s.Tensor != 0},
		{ir.KindSequence, s.Seq != 0 || s.Other>>6 != 0},
		{ir.KindOptional, s.Opt|s.OptSeq != 0},
		{ir.KindMap, s.Other&0x3f != 0},
	} {
		if k.in && kind != ir.KindNone {
			return ir.KindNone
		} else if k.in {
			kind = k.kind
		}
	}
	return kind
}

// String lists the types in the standard's notation, by constructor and number of the element type.
func (s *TypeSet) String() string {
	var r []string
	each := func(mask uint32, before, after string) {
		for ; mask != 0; mask &= mask - 1 {
			r = append(r, before+ir.DType(bits.TrailingZeros32(mask)).String()+after)
		}
	}
	each(s.Tensor, "tensor(", ")")
	each(s.Seq, "seq(tensor(", "))")
	each(s.Opt, "optional(tensor(", "))")
	each(s.OptSeq, "optional(seq(tensor(", ")))")
	for i, o := range otherTypes {
		if s.Other>>i&1 != 0 {
			m := "map(" + o.key.String() + ", " + o.value.String() + ")"
			if o.seq {
				m = "seq(" + m + ")"
			}
			r = append(r, m)
		}
	}
	return strings.Join(r, ", ")
}
