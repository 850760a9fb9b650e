package onnxio

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// The methods below tell writers of other notations what the reader's records hold; see package keep.

// Identity makes the record a keep.Identity.
func (s *slotExtra) Identity() (name string, m *ir.Meta, pos int64, ok bool) {
	if s.identity == nil {
		return "", nil, 0, false
	}
	b := s.identity.field.Body
	m, _ = meta(b, nodeDoc, nodeProps)
	return string(wire.Last(b, nodeName)), m, s.identity.pos, true
}

// Outer makes the record a keep.Outer.
func (s *slotExtra) Outer() bool { return s.outer }

// Shadows makes the record a keep.Shadowing.
func (x *graphExtra) Shadows(name string) bool { return x.shadows[name] }

// Source makes the record a keep.Source.
func (v *valueExtra) Source() string { return v.name }

// SourceResult makes the record a keep.Results.
func (x *nodeExtra) SourceResult(i int) string {
	for f := range wire.Fields(x.field.Body) {
		if f.Num == nodeOutputs && f.IsBytes() {
			if i == 0 {
				return string(f.Body)
			}
			i--
		}
	}
	return ""
}

// Quantization makes the record a keep.Quantization.
func (v *valueExtra) Quantization() (r []ir.Prop) {
	for _, a := range v.quant {
		r = append(r, quantProps(a.field)...)
	}
	return r
}

// Bound makes the record a keep.Quantization.
func (v *valueExtra) Bound(name string) bool {
	return slices.ContainsFunc(v.quant, func(a annotation) bool { return slices.Contains(a.bound, name) })
}

// quantProps reads quant_parameter_tensor_names of a TensorAnnotation that was checked on reading.
func quantProps(f wire.Field) (r []ir.Prop) {
	for p := range wire.Fields(f.Body) {
		if p.Num == quantParameters && p.IsBytes() {
			if k, v, err := entry(p.Body); err == nil {
				r = append(r, ir.Prop{Key: k, Value: v})
			}
		}
	}
	return r
}

// Unbound makes the record a keep.Unbound.
func (x *graphExtra) Unbound() (r []keep.Info) {
	rd := &reader{types: map[string]*ir.Type{}}
	for _, u := range x.unbound {
		if u.num == graphQuant {
			r = append(r, keep.Info{Name: u.name, Quant: quantProps(u.field)})
		} else if i, err := rd.info(u.field.Body); err == nil {
			r = append(r, keep.Info{Name: u.name, Type: i.typ, Meta: i.meta})
		}
	}
	return r
}
