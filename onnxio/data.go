package onnxio

import (
	"fmt"
	"io"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// Field numbers and kinds of onnx-data.proto: SequenceProto, OptionalProto and MapProto.
const (
	dataName  wire.Num = 1
	dataKind  wire.Num = 2
	firstItem wire.Num = 3 // tensors; then sparse tensors, sequences, maps, optionals

	mapKeys       wire.Num = 3
	mapStringKeys wire.Num = 4
	mapValues     wire.Num = 5

	kindTensor   = 1
	kindSparse   = 2
	kindSequence = 3
	kindMap      = 4
	kindOptional = 5
)

// ReadTensor reads a TensorProto, as files of test data hold one. b must not change while the tensor is in use.
func ReadTensor(b []byte) (*ir.Tensor, error) {
	d, _, err := ReadDatum(b, nil)
	if err != nil {
		return nil, err
	}
	return d.(*ir.Tensor), nil
}

// ReadDatum reads a TensorProto, SequenceProto, OptionalProto or MapProto. Which of them b holds does not show in it, so that
// the type has to be known; nil stands for a tensor. Sparse tensors are given in dense form. b must not change while
// the value is in use.
func ReadDatum(b []byte, t *ir.Type) (d ir.Datum, name string, err error) {
	src := &source{data: b[:len(b):len(b)], size: int64(len(b))}
	rd := &reader{src: src, files: newDataFiles(Options{}), strings: map[string]string{}, types: map[string]*ir.Type{}}
	kind := kindTensor
	if t != nil {
		k, ok := map[ir.TypeKind]int{ir.KindTensor: kindTensor, ir.KindSparse: kindSparse, ir.KindSequence: kindSequence,
			ir.KindMap: kindMap, ir.KindOptional: kindOptional}[t.Kind]
		if !ok {
			return nil, "", fmt.Errorf("values of type %s cannot be read", t)
		}
		kind = k
	}
	d, name, err = rd.datum(b, kind, t, 0)
	return d, name, wire.Locate(err, b)
}

// datum reads a message of one of the kinds. t may be nil.
func (rd *reader) datum(b []byte, kind int, t *ir.Type, depth int) (ir.Datum, string, error) {
	if depth > maxTypeDepth {
		return nil, "", wire.Errorf(b, "values nest more than %d deep", maxTypeDepth)
	}
	switch kind {
	case kindTensor:
		x, err := rd.tensor(b)
		if err != nil {
			return nil, "", err
		}
		return x, x.Name(), nil
	case kindSparse:
		s, name, err := rd.sparse(b)
		if err != nil {
			return nil, "", err
		}
		return sparseConst(b, s), name, nil
	case kindMap:
		return rd.mapDatum(b, t, depth)
	}
	c, err := rd.container(b, t, depth)
	if err != nil {
		return nil, "", err
	}
	if kind == kindSequence {
		return &ir.Sequence{Elem: c.elem, Items: c.items}, c.name, nil
	}
	o := &ir.Optional{Elem: c.elem}
	if len(c.items) > 1 {
		return nil, "", wire.Errorf(b, "an optional holds %d values", len(c.items))
	}
	if len(c.items) == 1 {
		o.Item = c.items[0]
	}
	return o, c.name, nil
}

// container is what SequenceProto and OptionalProto have in common.
type container struct {
	name  string
	elem  *ir.Type
	items []ir.Datum
}

func (rd *reader) container(b []byte, t *ir.Type, depth int) (c container, err error) {
	if t != nil {
		c.elem = t.Of
	}
	kind := 0
	for f, err := range wire.Fields(b) {
		switch {
		case err != nil:
			return c, err
		case f.Num == dataName && f.IsBytes():
			c.name = string(f.Body)
		case f.Num == dataKind && f.IsVarint():
			kind = int(f.Int32())
		}
	}
	for f := range wire.Fields(b) {
		k := int(f.Num-firstItem) + kindTensor
		if !f.IsBytes() || k < kindTensor || k > kindOptional {
			continue
		}
		if kind != 0 && k != kind {
			return c, wire.Errorf(f.Raw, "a value of kind %d among those of kind %d", k, kind)
		}
		d, _, err := rd.datum(f.Body, k, c.elem, depth+1)
		if err != nil {
			return c, wire.In(err, fmt.Sprintf("[%d]", len(c.items)))
		}
		c.items = append(c.items, d)
	}
	if c.elem == nil && len(c.items) > 0 {
		c.elem = c.items[0].Type()
	}
	return c, nil
}

func (rd *reader) mapDatum(b []byte, t *ir.Type, depth int) (ir.Datum, string, error) {
	m := &ir.Map{}
	var ints []int64
	var strs []string
	name, key := "", ir.Undefined
	for f, err := range wire.Fields(b) {
		if err == nil {
			switch {
			case f.Num == dataName && f.IsBytes():
				name = string(f.Body)
			case f.Num == dataKind && f.IsVarint():
				key, err = dtype(f)
			case f.Num == mapKeys:
				ints, err = wire.Ints(ints, f)
			case f.Num == mapStringKeys && f.IsBytes():
				strs = append(strs, string(f.Body))
			}
		}
		if err != nil {
			return nil, "", err
		}
	}
	var seq *ir.Type
	if t != nil {
		seq, m.Of = ir.SequenceOf(t.Of), t.Of
	}
	values, _ := wire.Get(b, mapValues)
	c, err := rd.container(values, seq, depth+1)
	if err != nil {
		return nil, "", wire.In(err, "values")
	}
	m.Values = c.items
	if m.Of == nil {
		m.Of = c.elem
	}
	if key == ir.String {
		m.Keys = ir.NewStringTensor([]int64{int64(len(strs))}, strs)
	} else if m.Keys, err = integerKeys(key, ints); err != nil {
		return nil, "", err
	}
	if m.Keys.Len() != int64(len(m.Values)) {
		return nil, "", wire.Errorf(b, "a map has %d keys and %d values", m.Keys.Len(), len(m.Values))
	}
	return m, name, nil
}

func integerKeys(d ir.DType, ks []int64) (*ir.Tensor, error) {
	shape := []int64{int64(len(ks))}
	if !d.IsInt() || d.Bits() < 8 {
		return nil, fmt.Errorf("maps with keys of type %s cannot be read", d)
	}
	switch d.Bits() {
	case 64:
		return ir.NewTensor(d, shape, narrow[int64](ks)), nil
	case 32:
		return ir.NewTensor(d, shape, narrow[int32](ks)), nil
	case 16:
		return ir.NewTensor(d, shape, narrow[int16](ks)), nil
	}
	return ir.NewTensor(d, shape, narrow[int8](ks)), nil
}

// WriteTensor writes a TensorProto.
func WriteTensor(out io.Writer, name string, t *ir.Tensor) error { return WriteDatum(out, name, t) }

// WriteDatum writes what ReadDatum reads. Maps are not supported.
func WriteDatum(out io.Writer, name string, d ir.Datum) error {
	return Guard(func() error {
		w := &writer{data: &dataPlan{}}
		r, err := w.datum(name, d)
		if err != nil {
			return err
		}
		_, err = r.WriteTo(out)
		return err
	})
}

// datum is the message of a value.
func (w *writer) datum(name string, d ir.Datum) (r wire.Rope, err error) {
	var elem *ir.Type
	var items []ir.Datum
	switch d := d.(type) {
	case *ir.Tensor:
		return w.tensorMessage(d, name, false)
	case *ir.Sequence:
		elem, items = d.Elem, d.Items
	case *ir.Optional:
		elem = d.Elem
		if d.Item != nil {
			items = []ir.Datum{d.Item}
		}
	default:
		return r, fmt.Errorf("values of type %T cannot be written", d)
	}
	m := wire.NewMessage(nil)
	m.Str(dataName, name)
	kind := kindTensor
	if elem != nil {
		kind = map[ir.TypeKind]int{ir.KindSequence: kindSequence, ir.KindOptional: kindOptional, ir.KindMap: kindMap}[elem.Kind]
		kind = max(kind, kindTensor) // sparse tensors are written dense
	}
	m.Int(dataKind, int64(kind))
	num := firstItem + wire.Num(kind-kindTensor)
	var fields []wire.Rope
	for _, it := range items {
		b, err := w.datum("", it)
		if err != nil {
			return r, err
		}
		fields = append(fields, wire.Sub(num, b, wire.Field{}))
	}
	m.Set(num, fields...)
	return m.Rope(), nil
}
