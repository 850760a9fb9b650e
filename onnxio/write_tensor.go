package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// tensor is a TensorProto as field num. src is the field it was read from, if any; with movable set its elements may go to a
// data file.
func (w *writer) tensor(num wire.Num, t *ir.Tensor, name string, src wire.Field, movable bool) (wire.Rope, error) {
	r, err := w.tensorMessage(t, name, movable)
	return wire.Sub(num, r, src), err
}

// tensorMessage is a TensorProto, laid out as it was read if it was.
func (w *writer) tensorMessage(t *ir.Tensor, name string, movable bool) (wire.Rope, error) {
	r := recordOf(t)
	m := wire.NewMessage(nil)
	var read *ir.Meta
	if r != nil {
		m, read = wire.NewMessage(r.body), r.meta
	}
	m.Str(tensorName, name)
	putMeta(m, tensorDoc, tensorProps, t.Meta(), read)
	var err error
	switch at := w.placed(t, movable); {
	case at != nil:
		at.declare(m)
	case r != nil && r.ext != nil && r.body == nil && w.keeps(r):
		declareExternal(m, t.Payload().(keep.External).External())
	case r != nil && (r.ext == nil || w.keeps(r)):
		return m.Rope(), nil
	case r != nil:
		m.Put(tensorExternal, wire.Rope{})
		m.Put(tensorLocation, wire.Rope{})
		err = elements(m, t)
	default:
		err = elements(m, t)
	}
	if err != nil {
		return wire.Rope{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	if r == nil || r.body == nil {
		m.SetInts(tensorDims, t.Shape())
		m.Int(tensorDType, int64(t.DType()))
	}
	return m.Rope(), nil
}

// keeps reports whether elements in a data file stay where they are. Those that came from another model's files do not.
func (w *writer) keeps(r *record) bool {
	if w.data != nil {
		return false
	}
	x := extraOf[modelExtra](w.m.Extra)
	return x != nil && x.data.open[r.ext.name] == r.ext.file
}

// elements declares t's elements in the message itself.
func elements(m *wire.Message, t *ir.Tensor) error {
	if t.DType() == ir.String {
		s, err := t.Strings()
		if err != nil {
			return err
		}
		m.Strs(tensorStrings, s)
		return nil
	}
	n := t.ByteLen()
	if n < 0 || !t.DType().Valid() {
		return fmt.Errorf("it has type %s and shape %v", t.DType(), brief(t.Shape()))
	}
	m.Put(tensorRaw, wire.Lazy(tensorRaw, n, t))
	return nil
}

// sparse is a SparseTensorProto as field num, laid out as it was read if it was.
func (w *writer) sparse(num wire.Num, t *ir.Tensor, name string, src wire.Field) (wire.Rope, error) {
	s := sparseOf(t)
	p, _ := t.Payload().(sparsePayload)
	m := wire.NewMessage(p.body)
	for _, part := range []struct {
		num  wire.Num
		t    *ir.Tensor
		name string
	}{{sparseValues, s.Values, name}, {sparseIndices, s.Indices, s.Indices.Name()}} {
		r, err := w.tensorMessage(part.t, part.name, false)
		if err != nil {
			return r, err
		}
		field, _ := wire.One(p.body, part.num)
		m.Set(part.num, wire.Sub(part.num, r, field))
	}
	if p.body == nil {
		m.SetInts(sparseDims, s.Dims)
	}
	return wire.Sub(num, m.Rope(), src), nil
}

// sparseOf is the coordinate form that t is stored in, nil if it is not.
func sparseOf(t *ir.Tensor) *ir.SparseTensor {
	if p, ok := t.Payload().(keep.Sparse); ok {
		return p.Sparse()
	}
	return nil
}
