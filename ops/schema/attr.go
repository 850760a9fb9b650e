package schema

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// AttrSpec is a formal attribute.
type AttrSpec struct {
	Name     string
	Kind     ir.AttrKind
	Required bool
	def      uint8 // index in defaultTable, 0 for none
}

// defaultValue is the default of an attribute; the field that its kind names counts.
type defaultValue struct {
	i            int64
	f            float32
	negativeZero bool // f is -0
	s            string
	ints         []int64
	strs         []string
}

// Attrs are the formal attributes, sorted by name. The caller must not change them.
func (s *Schema) Attrs() []AttrSpec {
	return attrTable[s.attrs.first : int(s.attrs.first)+int(s.attrs.n)]
}

// Attr is the formal attribute of that name, nil if there is none. It is safe on nil.
func (s *Schema) Attr(name string) *AttrSpec {
	if s == nil {
		return nil
	}
	list := s.Attrs()
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// HasDefault reports whether the standard states a default. It is safe on nil.
func (a *AttrSpec) HasDefault() bool { return a != nil && a.def != 0 }

func (a *AttrSpec) value() *defaultValue {
	if a == nil {
		return &defaultTable[0]
	}
	return &defaultTable[a.def]
}

// The accessors return the default, or the zero value if there is none or a is nil.

// Int is the default of an INT attribute.
func (a *AttrSpec) Int() int64 { return a.value().i }

// Float is the default of a FLOAT attribute.
func (a *AttrSpec) Float() float32 {
	v := a.value()
	if v.negativeZero {
		return float32(math.Copysign(0, -1))
	}
	return v.f
}

// Str is the default of a STRING attribute.
func (a *AttrSpec) Str() string { return a.value().s }

// Ints is the default of an INTS attribute. The caller must not change it.
func (a *AttrSpec) Ints() []int64 { return a.value().ints }

// Strs is the default of a STRINGS attribute. The caller must not change it.
func (a *AttrSpec) Strs() []string { return a.value().strs }

// Default is the default as an attribute, nil if there is none.
func (a *AttrSpec) Default() *ir.Attr {
	if !a.HasDefault() {
		return nil
	}
	switch a.Kind {
	case ir.AttrInt:
		return ir.IntAttr(a.Name, a.Int())
	case ir.AttrFloat:
		return ir.FloatAttr(a.Name, a.Float())
	case ir.AttrString:
		return ir.StringAttr(a.Name, a.Str())
	case ir.AttrInts:
		return ir.IntsAttr(a.Name, a.Ints())
	case ir.AttrStrings:
		return ir.StringsAttr(a.Name, a.Strs())
	}
	return nil
}
