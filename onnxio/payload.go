package onnxio

import (
	"encoding/binary"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// form says how a TensorProto stores its elements.
type form uint8

const (
	formRaw     form = iota // data is the elements: raw_data, packed floats, a part of a data file
	formFields              // a field of numbers or strings, to be decoded
	formSegment             // a part of a tensor that lies elsewhere; nobody reads it
)

// record is the source of a tensor that was read: its message, and where its elements are.
type record struct {
	src   *source // of data, the model's or a data file's
	body  []byte
	meta  *ir.Meta
	data  []byte
	ext   *location // where data lies if in a data file
	count int64     // elements
	field wire.Num  // of formFields
	dtype ir.DType
	form  form
}

func (r *record) origin() *record { return r }

// recordOf is the source of t, nil if t was not read from a file or is not as it was read.
func recordOf(t *ir.Tensor) *record {
	if p, ok := t.Payload().(interface{ origin() *record }); ok {
		return p.origin()
	}
	return nil
}

// uncachedSize is the size from which decoded elements are decoded each time rather than kept.
const uncachedSize = 16 << 20

func (r *record) payload() ir.Payload {
	if r.ext != nil {
		return beside{mapped{r}}
	}
	if r.form == formRaw || r.dtype.ByteLen(r.count) >= uncachedSize {
		return mapped{r}
	}
	return decoded{r}
}

// mapped is a payload that is a slice of a file, or too large to keep.
type mapped struct{ *record }

// Uncached tells ir not to keep the bytes.
func (mapped) Uncached() {}

// decoded is a payload that ir keeps once it is decoded.
type decoded struct{ *record }

// Bytes returns the elements. A file that changed since it was opened is an error.
func (r *record) Bytes() ([]byte, error) {
	if err := r.src.check(r.data); err != nil {
		return nil, err
	}
	switch r.form {
	case formRaw:
		return r.data, nil
	case formSegment:
		return nil, fmt.Errorf("the tensor is a segment of another, which is not supported")
	}
	var b []byte
	err := Guard(func() (err error) {
		b, err = r.decode()
		return err
	})
	return b, err
}

// Strings returns the elements of a tensor of strings.
func (r *record) Strings() ([]string, error) {
	if err := r.src.check(nil); err != nil {
		return nil, err
	}
	s := make([]string, 0, r.count)
	err := Guard(func() error {
		for f, err := range wire.Fields(r.body) {
			if err != nil {
				return err
			}
			if f.Num == tensorStrings && f.IsBytes() {
				s = append(s, string(f.Body))
			}
		}
		return nil
	})
	return s, err
}

// decode reads the elements from a field of numbers.
func (r *record) decode() ([]byte, error) {
	switch r.field {
	case tensorFloats:
		return r.floats()
	case tensorDoubles:
		return r.doubles()
	}
	want := r.count
	if _, each := dataField(r.dtype); each > 1 {
		want = (want + each - 1) / each
	}
	vs := make([]int64, 0, want)
	for f, err := range wire.Fields(r.body) {
		if err == nil && f.Num == r.field {
			vs, err = wire.Ints(vs, f)
		}
		if err != nil {
			return nil, err
		}
	}
	if int64(len(vs)) != want {
		return nil, fmt.Errorf("it needs %d numbers and has %d", want, len(vs))
	}
	switch r.dtype.Bits() {
	case 64:
		return narrow[int64](vs), nil
	case 32:
		return narrow[int32](vs), nil
	case 16:
		return narrow[int16](vs), nil
	}
	return narrow[int8](vs), nil
}

func (r *record) floats() ([]byte, error) {
	b := make([]byte, 0, r.dtype.ByteLen(r.count))
	for f, err := range wire.Fields(r.body) {
		switch {
		case err != nil:
			return nil, err
		case f.Num != r.field:
		case f.IsBytes():
			b = append(b, f.Body...)
		default:
			b = binary.LittleEndian.AppendUint32(b, uint32(f.Uint))
		}
	}
	return b, nil
}

func (r *record) doubles() ([]byte, error) {
	b := make([]byte, 0, r.dtype.ByteLen(r.count))
	for f, err := range wire.Fields(r.body) {
		switch {
		case err != nil:
			return nil, err
		case f.Num != r.field:
		case f.IsBytes():
			b = append(b, f.Body...)
		default:
			b = binary.LittleEndian.AppendUint64(b, f.Uint)
		}
	}
	return b, nil
}

// narrow gives decoded varints the width of the element type.
func narrow[T int8 | int16 | int32 | int64](vs []int64) []byte {
	r := make([]T, len(vs))
	for i, v := range vs {
		r[i] = T(v)
	}
	return ir.AsBytes(r)
}
