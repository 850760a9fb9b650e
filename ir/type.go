package ir

import (
	"slices"
	"strconv"
	"strings"
)

// TypeKind says which of ONNX's type constructors a Type is.
type TypeKind uint8

// The type constructors of TypeProto.
const (
	KindNone TypeKind = iota // a TypeProto that states nothing
	KindTensor
	KindSparse
	KindSequence
	KindOptional
	KindMap
	KindOpaque
)

// Type is the type of a value. Types are immutable and shared; a nil *Type means that nothing is known.
type Type struct {
	Kind         TypeKind
	Elem         DType  // tensor, sparse: the element type, Undefined if unknown; map: the key type
	Shape        Shape  // tensor, sparse
	Of           *Type  // sequence and optional: the element; map: the value
	Domain, Name string // opaque
	Denotation   string // TypeProto.denotation
}

// Shape is a list of dimensions. nil means unknown rank; an empty non-nil Shape is a scalar's.
type Shape []Dim

// Dim is one dimension: a static size (Param empty, Size >= 0), a symbol (Param), or unknown (Size < 0, Param empty).
// Use Static, Symbol and Unknown to make one: the zero Dim has size 0.
type Dim struct {
	Size       int64
	Param      string
	Denotation string
}

// Static is a dimension of known size.
func Static(n int64) Dim { return Dim{Size: n} }

// Symbol is a dimension known by name: equal names mean equal sizes within one run.
func Symbol(name string) Dim { return Dim{Size: -1, Param: name} }

// UnknownDim is a dimension nothing is known about.
func UnknownDim() Dim { return Dim{Size: -1} }

// IsStatic reports whether the size is known.
func (d Dim) IsStatic() bool { return d.Param == "" && d.Size >= 0 }

// Same reports whether d and e are surely equal: the same size or the same symbol.
func (d Dim) Same(e Dim) bool {
	return d.IsStatic() && e.IsStatic() && d.Size == e.Size || d.Param != "" && d.Param == e.Param
}

// String is the dimension as the textual syntax writes it ("3", "N", "?").
func (d Dim) String() string {
	switch {
	case d.Param != "":
		return d.Param
	case d.Size >= 0:
		return strconv.FormatInt(d.Size, 10)
	}
	return "?"
}

// StaticShape is a Shape of known sizes. It is never nil.
func StaticShape(dims ...int64) Shape {
	s := make(Shape, len(dims))
	for i, d := range dims {
		s[i] = Static(d)
	}
	return s
}

// Known reports whether the rank is known.
func (s Shape) Known() bool { return s != nil }

// Ints returns the sizes if all are static.
func (s Shape) Ints() ([]int64, bool) {
	if s == nil {
		return nil, false
	}
	r := make([]int64, len(s))
	for i, d := range s {
		if !d.IsStatic() {
			return nil, false
		}
		r[i] = d.Size
	}
	return r, true
}

// Equal reports whether both shapes state the same; two unknown dimensions state the same but are not surely equal (see Same).
func (s Shape) Equal(t Shape) bool {
	return (s == nil) == (t == nil) && slices.EqualFunc(s, t, func(a, b Dim) bool {
		return a.Param == b.Param && (a.Param != "" || a.Size == b.Size || a.Size < 0 && b.Size < 0)
	})
}

// Same reports whether both shapes are surely equal at run time.
func (s Shape) Same(t Shape) bool {
	return s != nil && t != nil && slices.EqualFunc(s, t, Dim.Same)
}

// String is the shape as "[1,3,H,?]", or "?" for unknown rank.
func (s Shape) String() string {
	if s == nil {
		return "?"
	}
	p := make([]string, len(s))
	for i, d := range s {
		p[i] = d.String()
	}
	return "[" + strings.Join(p, ",") + "]"
}

// TensorType is the type of a dense tensor; a nil shape means unknown rank.
func TensorType(elem DType, shape Shape) *Type {
	return &Type{Kind: KindTensor, Elem: elem, Shape: shape}
}

// SequenceOf is the type of a sequence.
func SequenceOf(t *Type) *Type { return &Type{Kind: KindSequence, Of: t} }

// OptionalOf is the type of an optional.
func OptionalOf(t *Type) *Type { return &Type{Kind: KindOptional, Of: t} }

// MapOf is the type of a map.
func MapOf(key DType, value *Type) *Type { return &Type{Kind: KindMap, Elem: key, Of: value} }

// IsTensor reports whether t is known to be a dense tensor. It is safe on nil.
func (t *Type) IsTensor() bool { return t != nil && t.Kind == KindTensor }

// DType is the element type of a tensor, Undefined if not known. It is safe on nil.
func (t *Type) DType() DType {
	if t == nil || t.Kind != KindTensor && t.Kind != KindSparse {
		return Undefined
	}
	return t.Elem
}

// TensorShape is the shape of a tensor, nil if not known. It is safe on nil.
func (t *Type) TensorShape() Shape {
	if t == nil || t.Kind != KindTensor && t.Kind != KindSparse {
		return nil
	}
	return t.Shape
}

// WithoutShapes is t without shapes and denotations: kinds and element types alone. It is safe on nil.
func (t *Type) WithoutShapes() *Type {
	if t == nil {
		return nil
	}
	return &Type{Kind: t.Kind, Elem: t.Elem, Of: t.Of.WithoutShapes(), Domain: t.Domain, Name: t.Name}
}

// WithoutSymbols is the type with unknown dimensions in place of named ones: names mean one size only within one graph.
func (t *Type) WithoutSymbols() *Type {
	if t == nil {
		return nil
	}
	r := *t
	r.Of = t.Of.WithoutSymbols()
	r.Shape = slices.Clone(t.Shape)
	for i, d := range r.Shape {
		if d.Param != "" {
			r.Shape[i] = UnknownDim()
		}
	}
	return &r
}

// Equal reports whether both state the same, denotations aside. It is safe on nil.
func (t *Type) Equal(u *Type) bool {
	if t == nil || u == nil {
		return t == u
	}
	return t.Kind == u.Kind && t.Elem == u.Elem && t.Shape.Equal(u.Shape) && t.Of.Equal(u.Of) && t.Domain == u.Domain && t.Name == u.Name
}

// String is the type in ONNX's textual syntax. It is safe on nil.
func (t *Type) String() string {
	if t == nil {
		return "?"
	}
	switch t.Kind {
	case KindTensor:
		switch {
		case t.Shape == nil:
			return t.Elem.String() + "[]"
		case len(t.Shape) == 0:
			return t.Elem.String()
		}
		return t.Elem.String() + t.Shape.String()
	case KindSparse:
		return "sparse_tensor(" + t.Elem.String() + t.Shape.String() + ")"
	case KindSequence:
		return "seq(" + t.Of.String() + ")"
	case KindOptional:
		return "optional(" + t.Of.String() + ")"
	case KindMap:
		return "map(" + t.Elem.String() + ", " + t.Of.String() + ")"
	case KindOpaque:
		return "opaque(" + t.Domain + "," + t.Name + ")"
	}
	return "?"
}

// Merge returns what t and u state together and whether they can both be true. Static sizes win over symbols, symbols
// over unknown dimensions; of two symbols t's stays. It is safe on nil.
func (t *Type) Merge(u *Type) (*Type, bool) {
	switch {
	case t == nil || t.Kind == KindNone:
		return u, true
	case u == nil || u.Kind == KindNone || t == u:
		return t, true
	case t.Kind != u.Kind || t.Domain != u.Domain || t.Name != u.Name:
		return t, false
	case t.Elem != u.Elem && t.Elem != Undefined && u.Elem != Undefined:
		return t, false
	}
	r := *t
	if r.Elem == Undefined {
		r.Elem = u.Elem
	}
	of, ok := t.Of.Merge(u.Of)
	if !ok {
		return t, false
	}
	r.Of = of
	if r.Shape, ok = t.Shape.merge(u.Shape); !ok {
		return t, false
	}
	if r.Denotation == "" {
		r.Denotation = u.Denotation
	}
	if r.Equal(t) {
		return t, true
	}
	return &r, true
}

func (s Shape) merge(t Shape) (Shape, bool) {
	if s == nil {
		return t, true
	}
	if t == nil {
		return s, true
	}
	if len(s) != len(t) {
		return s, false
	}
	r := slices.Clone(s)
	for i, d := range t {
		switch {
		case r[i].IsStatic() && d.IsStatic():
			if r[i].Size != d.Size {
				return s, false
			}
		case d.IsStatic(), r[i].Param == "" && !r[i].IsStatic():
			den := r[i].Denotation
			if r[i] = d; d.Denotation == "" {
				r[i].Denotation = den
			}
		}
	}
	return r, true
}
