package onnxio

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// typeRope is a TypeProto.
func typeRope(t *ir.Type) wire.Rope {
	m := wire.NewMessage(nil)
	switch t.Kind {
	case ir.KindTensor:
		m.Set(typeTensor, wire.Sub(typeTensor, tensorTypeRope(t), wire.Field{}))
	case ir.KindSparse:
		m.Set(typeSparse, wire.Sub(typeSparse, tensorTypeRope(t), wire.Field{}))
	case ir.KindSequence:
		m.Set(typeSequence, wire.Sub(typeSequence, nestedTypeRope(ofType, t), wire.Field{}))
	case ir.KindOptional:
		m.Set(typeOptional, wire.Sub(typeOptional, nestedTypeRope(ofType, t), wire.Field{}))
	case ir.KindMap:
		m.Set(typeMap, wire.Sub(typeMap, nestedTypeRope(mapValue, t), wire.Field{}))
	case ir.KindOpaque:
		o := wire.NewMessage(nil)
		o.Str(opaqueDomain, t.Domain)
		o.Str(opaqueName, t.Name)
		m.Set(typeOpaque, wire.Sub(typeOpaque, o.Rope(), wire.Field{}))
	}
	m.Str(typeDenotation, t.Denotation)
	return m.Rope()
}

func tensorTypeRope(t *ir.Type) wire.Rope {
	m := wire.NewMessage(nil)
	m.Int(tensorTypeElem, int64(t.Elem))
	if t.Shape.Known() {
		var dims []wire.Rope
		for _, d := range t.Shape {
			dims = append(dims, wire.Sub(shapeDim, dimRope(d), wire.Field{}))
		}
		shape := wire.NewMessage(nil)
		shape.Set(shapeDim, dims...)
		m.Set(tensorTypeShape, wire.Sub(tensorTypeShape, shape.Rope(), wire.Field{}))
	}
	return m.Rope()
}

func dimRope(d ir.Dim) wire.Rope {
	m := wire.NewMessage(nil)
	if d.IsStatic() { // a size of zero is written, too
		m.SetInts(dimValue, []int64{d.Size})
	} else {
		m.Str(dimParam, d.Param)
	}
	m.Str(dimDenotation, d.Denotation)
	return m.Rope()
}

func nestedTypeRope(of wire.Num, t *ir.Type) wire.Rope {
	m := wire.NewMessage(nil)
	if t.Kind == ir.KindMap {
		m.Int(mapKey, int64(t.Elem))
	}
	if t.Of != nil {
		m.Set(of, wire.Sub(of, typeRope(t.Of), wire.Field{}))
	}
	return m.Rope()
}

// sameType reports whether t and u state the same, denotations included.
func sameType(t, u *ir.Type) bool {
	if t == u || t == nil || u == nil {
		return t == u
	}
	return t.Equal(u) && t.Denotation == u.Denotation && (t.Of == nil || sameType(t.Of, u.Of)) &&
		slices.EqualFunc(t.Shape, u.Shape, func(a, b ir.Dim) bool { return a.Denotation == b.Denotation })
}

// putMeta declares documentation and metadata where they are not those that were read.
func putMeta(m *wire.Message, doc, props wire.Num, now, read *ir.Meta) {
	if now == read {
		return
	}
	m.Str(doc, now.DocString())
	var items []wire.Rope
	if now != nil {
		for _, p := range now.Props {
			items = append(items, entryRope(props, p.Key, p.Value))
		}
	}
	m.Set(props, items...)
}

// entryRope is a StringStringEntryProto as field num.
func entryRope(num wire.Num, key, value string) wire.Rope {
	m := wire.NewMessage(nil)
	m.Strs(entryKey, []string{key})
	m.Strs(entryValue, []string{value})
	return wire.Sub(num, m.Rope(), wire.Field{})
}

// infoRope is a ValueInfoProto as field num, laid out by src. The type is written where it is not the one that was read.
func infoRope(num wire.Num, src wire.Field, name string, now, read *ir.Type, meta, readMeta *ir.Meta) wire.Rope {
	m := wire.NewMessage(src.Body)
	m.Str(infoName, name)
	switch {
	case sameType(now, read):
	case now == nil:
		m.Set(infoType)
	default:
		m.Set(infoType, wire.Sub(infoType, typeRope(now), wire.Field{}))
	}
	putMeta(m, infoDoc, infoProps, meta, readMeta)
	return wire.Sub(num, m.Rope(), src)
}
