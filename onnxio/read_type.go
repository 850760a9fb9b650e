package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// maxTypeDepth bounds how deep sequences, optionals and maps nest.
const maxTypeDepth = 64

// typ reads a TypeProto. Equal bytes give the same *ir.Type.
func (rd *reader) typ(b []byte, depth int) (*ir.Type, error) {
	if t, ok := rd.types[string(b)]; ok {
		return t, nil
	}
	if depth > maxTypeDepth {
		return nil, wire.Errorf(b, "types nest more than %d deep", maxTypeDepth)
	}
	t := &ir.Type{}
	var member wire.Num // the last member of the oneof counts
	for f, err := range wire.Fields(b) {
		if err != nil {
			return nil, err
		}
		switch {
		case !f.IsBytes():
		case f.Num == typeDenotation:
			t.Denotation = string(f.Body)
		case f.Num <= typeOptional:
			member = f.Num
		}
	}
	body, _ := wire.Get(b, member)
	if err := rd.member(t, member, body, depth); err != nil {
		return nil, err
	}
	rd.types[string(b)] = t
	return t, nil
}

// member fills in the constructor of t.
func (rd *reader) member(t *ir.Type, num wire.Num, body []byte, depth int) error {
	switch num {
	case typeTensor:
		t.Kind = ir.KindTensor
		return wire.In(rd.tensorType(t, body), "tensor_type")
	case typeSparse:
		t.Kind = ir.KindSparse
		return wire.In(rd.tensorType(t, body), "sparse_tensor_type")
	case typeSequence:
		t.Kind = ir.KindSequence
		return wire.In(rd.nestedType(t, ofType, body, depth), "sequence_type")
	case typeOptional:
		t.Kind = ir.KindOptional
		return wire.In(rd.nestedType(t, ofType, body, depth), "optional_type")
	case typeMap:
		t.Kind = ir.KindMap
		return wire.In(rd.nestedType(t, mapValue, body, depth), "map_type")
	case typeOpaque:
		t.Kind = ir.KindOpaque
		t.Domain, t.Name = string(wire.Last(body, opaqueDomain)), string(wire.Last(body, opaqueName))
	}
	return nil
}

func (rd *reader) tensorType(t *ir.Type, body []byte) error {
	for f, err := range wire.Fields(body) {
		switch {
		case err != nil:
			return err
		case f.Num == tensorTypeElem && f.IsVarint():
			if t.Elem, err = dtype(f); err != nil {
				return wire.In(err, "elem_type")
			}
		case f.Num == tensorTypeShape && f.IsBytes():
			t.Shape = ir.Shape{}
		}
	}
	if t.Shape == nil {
		return nil
	}
	shape, _ := wire.Get(body, tensorTypeShape)
	for f, err := range wire.Fields(shape) {
		if err != nil {
			return wire.In(err, "shape")
		}
		if f.Num == shapeDim && f.IsBytes() {
			d, err := dim(f.Body)
			if err != nil {
				return wire.In(err, fmt.Sprintf("shape.dim[%d]", len(t.Shape)))
			}
			t.Shape = append(t.Shape, d)
		}
	}
	return nil
}

// dim reads a Dimension. Some exporters write -1 for an unknown size.
func dim(b []byte) (ir.Dim, error) {
	d := ir.UnknownDim()
	for f, err := range wire.Fields(b) {
		switch {
		case err != nil:
			return d, err
		case f.Num == dimValue && f.IsVarint():
			if f.Int() < -1 {
				return d, wire.Errorf(f.Raw, "size %d", f.Int())
			}
			d.Size, d.Param = f.Int(), ""
		case f.Num == dimParam && f.IsBytes():
			d.Size, d.Param = -1, string(f.Body)
		case f.Num == dimDenotation && f.IsBytes():
			d.Denotation = string(f.Body)
		}
	}
	return d, nil
}

func (rd *reader) nestedType(t *ir.Type, of wire.Num, body []byte, depth int) error {
	for f, err := range wire.Fields(body) {
		if err != nil {
			return err
		}
		if t.Kind == ir.KindMap && f.Num == mapKey && f.IsVarint() {
			if t.Elem, err = dtype(f); err != nil {
				return wire.In(err, "key_type")
			}
		}
	}
	elem, ok := wire.Get(body, of)
	if !ok {
		return nil
	}
	var err error
	t.Of, err = rd.typ(elem, depth+1)
	return err
}

// dtype reads an element type.
func dtype(f wire.Field) (ir.DType, error) {
	v := f.Int32()
	if d := ir.DType(v); v == 0 || v > 0 && v < 256 && d.Valid() {
		return d, nil
	}
	return ir.Undefined, wire.Errorf(f.Raw, "unknown element type %d", v)
}

// info is what a ValueInfoProto says.
type info struct {
	name string
	typ  *ir.Type
	meta *ir.Meta
}

func (rd *reader) info(b []byte) (r info, err error) {
	for f, err := range wire.Fields(b) {
		if err != nil {
			return r, err
		}
		if f.Num == infoName && f.IsBytes() {
			r.name = string(f.Body)
		}
	}
	if t, ok := wire.Get(b, infoType); ok {
		if r.typ, err = rd.typ(t, 0); err != nil {
			return r, wire.In(err, fmt.Sprintf("type of %q", r.name))
		}
	}
	r.meta, err = meta(b, infoDoc, infoProps)
	return r, err
}

// meta reads documentation and metadata_props; nil if there are none.
func meta(b []byte, doc, props wire.Num) (*ir.Meta, error) {
	var m *ir.Meta
	for f, err := range wire.Fields(b) {
		switch {
		case err != nil:
			return nil, err
		case f.IsBytes() && f.Num == doc && len(f.Body) > 0:
			if m == nil {
				m = &ir.Meta{}
			}
			m.Doc = string(f.Body)
		case f.IsBytes() && f.Num == props:
			if m == nil {
				m = &ir.Meta{}
			}
			k, v, err := entry(f.Body)
			if err != nil {
				return nil, wire.In(err, "metadata_props")
			}
			m.Props = append(m.Props, ir.Prop{Key: k, Value: v})
		}
	}
	return m, nil
}

// entry reads a StringStringEntryProto.
func entry(b []byte) (key, value string, err error) {
	for f, err := range wire.Fields(b) {
		switch {
		case err != nil:
			return "", "", err
		case f.Num == entryKey && f.IsBytes():
			key = string(f.Body)
		case f.Num == entryValue && f.IsBytes():
			value = string(f.Body)
		}
	}
	return key, value, nil
}
