package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
	"google.golang.org/protobuf/encoding/protowire"
)

// tensor reads a TensorProto's header. Its elements stay where they are; that there are enough bytes for the declared shape
// is checked here, before anybody could allocate for it.
func (rd *reader) tensor(b []byte) (*ir.Tensor, error) {
	r := record{src: rd.src, body: b}
	var h header
	for f, err := range wire.Fields(b) {
		if err == nil {
			err = h.add(f)
		}
		if err != nil {
			return nil, err
		}
	}
	if !h.dtype.Valid() {
		return nil, wire.Errorf(b, "tensor %q has no element type", h.name)
	}
	n := ir.NumElements(h.dims)
	if n < 0 {
		return nil, wire.Errorf(b, "tensor %q has shape %v", h.name, brief(h.dims))
	}
	m, err := meta(b, tensorDoc, tensorProps)
	if err != nil {
		return nil, err
	}
	r.meta, r.dtype, r.count = m, h.dtype, n
	if err := rd.storage(&r, &h); err != nil {
		return nil, fmt.Errorf("tensor %q of type %s and shape %v: %w", h.name, h.dtype, brief(h.dims), err)
	}
	t := ir.NewLazyTensor(h.dtype, h.dims, r.payload())
	if h.name != "" || m != nil {
		t = t.WithName(h.name, m)
	}
	return t, nil
}

// header is what a TensorProto says apart from its elements.
type header struct {
	name     string
	dims     []int64
	dtype    ir.DType
	external bool
	segment  bool
	location map[string]string
	twice    bool // external_data states the place more than once
	fields   [tensorUint64s + 1]int
	data     wire.Field // the last field that holds elements
	bytes    int64      // of all fields that hold elements
}

func (h *header) add(f wire.Field) (err error) {
	switch f.Num {
	case tensorDims:
		h.dims, err = wire.Ints(h.dims, f)
	case tensorDType:
		if f.IsVarint() {
			h.dtype, err = dtype(f)
		}
	case tensorName:
		if f.IsBytes() {
			h.name = string(f.Body)
		}
	case tensorSegment:
		h.segment = h.segment || f.IsBytes()
	case tensorLocation:
		if f.IsVarint() {
			h.external = f.Uint == 1
		}
	case tensorExternal:
		if f.IsBytes() {
			err = h.addLocation(f.Body)
		}
	case tensorRaw, tensorStrings:
		if f.IsBytes() {
			h.addData(f, len(f.Body))
		}
	case tensorFloats, tensorDoubles, tensorInt32s, tensorInt64s, tensorUint64s:
		if f.IsBytes() {
			if len(f.Body) > 0 {
				h.addData(f, len(f.Body))
			}
		} else {
			h.addData(f, len(f.Raw)-protowire.SizeTag(f.Num))
		}
	}
	return err
}

func (h *header) addData(f wire.Field, n int) {
	h.fields[f.Num]++
	h.data = f
	h.bytes += int64(n)
}

func (h *header) addLocation(b []byte) error {
	k, v, err := entry(b)
	if err != nil {
		return wire.In(err, "external_data")
	}
	h.setLocation(k, v)
	return nil
}

func (h *header) setLocation(k, v string) {
	if h.location == nil {
		h.location = map[string]string{}
	}
	_, had := h.location[k]
	h.twice = h.twice || had && (k == "location" || k == "offset" || k == "length")
	h.location[k] = v
}

// storage finds the elements and checks that their number can be right.
func (rd *reader) storage(r *record, h *header) error {
	kinds := 0
	for _, n := range h.fields {
		if n > 0 {
			kinds++
		}
	}
	switch {
	case h.segment:
		r.form = formSegment
		return nil
	case h.external && h.dtype == ir.String:
		return fmt.Errorf("strings cannot stand in a data file")
	case h.external:
		return rd.external(r, h)
	case kinds > 1:
		return fmt.Errorf("its elements are stated twice, in different fields")
	case h.fields[tensorRaw] > 0 && h.dtype == ir.String:
		return fmt.Errorf("raw_data cannot hold strings")
	case h.fields[tensorRaw] > 0:
		r.form, r.data = formRaw, h.data.Body
		return r.wantBytes(int64(len(r.data)))
	}
	return r.typed(h)
}

// typed is storage in one of the fields of numbers or strings.
func (r *record) typed(h *header) error {
	field, each := dataField(r.dtype)
	r.field = field
	if h.data.Num != 0 && h.data.Num != field {
		return fmt.Errorf("its elements stand in field %d and not in field %d", h.data.Num, field)
	}
	count := r.count
	switch field {
	case tensorStrings:
		r.form = formFields
		if int64(h.fields[field]) != count {
			return fmt.Errorf("it needs %d elements and has %d", count, h.fields[field])
		}
		return nil
	case tensorFloats, tensorDoubles:
		r.form = formFields
		if h.fields[field] == 1 && h.data.IsBytes() { // packed: the very bytes
			r.form, r.data = formRaw, h.data.Body
		}
		return r.wantBytes(h.bytes)
	}
	// Varints take one to ten bytes; the exact count is known when they are decoded.
	r.form = formFields
	if each > 1 {
		count = (count + each - 1) / each
	}
	if h.bytes < count || h.bytes/10 > count {
		return fmt.Errorf("it needs %d numbers and has %d bytes of them", count, h.bytes)
	}
	if h.bytes <= eagerCount {
		_, err := r.decode()
		return err
	}
	return nil
}

// eagerCount is up to how many bytes varints are decoded on reading to see whether their number is right.
const eagerCount = 4096

func (r *record) wantBytes(n int64) error {
	if want := r.dtype.ByteLen(r.count); want != n {
		if want < 0 {
			return fmt.Errorf("its size overflows")
		}
		return fmt.Errorf("it needs %d bytes and has %d", want, n)
	}
	return nil
}

// dataField is the field that holds elements of a type other than as raw_data, and how many elements one number holds.
func dataField(d ir.DType) (num wire.Num, each int64) {
	switch d {
	case ir.Float32, ir.Complex64:
		return tensorFloats, 1
	case ir.Float64, ir.Complex128:
		return tensorDoubles, 1
	case ir.Int64:
		return tensorInt64s, 1
	case ir.Uint32, ir.Uint64:
		return tensorUint64s, 1
	case ir.String:
		return tensorStrings, 1
	}
	return tensorInt32s, max(1, int64(8/d.Bits()))
}

// brief shortens long shapes in messages.
func brief(dims []int64) any {
	if len(dims) > 16 {
		return fmt.Sprintf("%v (%d dimensions)", dims[:16], len(dims))
	}
	return dims
}
