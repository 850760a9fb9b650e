package ort

import (
	"fmt"
	"unsafe"

	"github.com/onnxopt/onnxopt/ir"
)

// Numbers of ONNXType.
const (
	onnxTensor   = 1
	onnxSequence = 2
	onnxMap      = 3
)

// feed makes the library's values of a run. They use the elements of Go tensors in place, which stay pinned until free.
type feed struct {
	scratch
	s      *session
	values []uintptr // to be released
}

// free gives the values back and unpins what they used.
func (f *feed) free() {
	for _, v := range f.values {
		f.s.release(fnReleaseValue, v)
	}
	f.scratch.free()
}

// keep notes that v is to be released.
func (f *feed) keep(v uintptr) uintptr {
	f.values = append(f.values, v)
	return v
}

// value makes a value of d, which is given where the type t is declared (nil: none).
func (f *feed) value(d ir.Datum, t *ir.Type) (uintptr, error) {
	switch d := d.(type) {
	case *ir.Tensor:
		if d.DType() == ir.String {
			return f.strings(d)
		}
		return f.tensor(d)
	case *ir.Sequence:
		return f.sequence(d, t)
	case *ir.Map:
		return f.mapping(d)
	case *ir.Optional:
		if isNil(d.Item) {
			if t == nil || t.Kind != ir.KindOptional {
				t = d.Type()
			}
			return f.s.nothingOf(t)
		}
		if t != nil && t.Kind == ir.KindOptional {
			t = t.Of
		}
		return f.value(d.Item, t)
	}
	return 0, fmt.Errorf("a value of type %T", d)
}

// tensor makes a tensor over the elements of t. They are copied only where they are not aligned.
func (f *feed) tensor(t *ir.Tensor) (uintptr, error) {
	code, ok := toElement(t.DType())
	if !ok {
		return 0, fmt.Errorf("ONNX Runtime has no element type %s", t.DType())
	}
	b, err := t.Bytes()
	if err != nil {
		return 0, err
	}
	if size := uintptr(t.DType().Bits() / 8); size > 1 && uintptr(unsafe.Pointer(unsafe.SliceData(b)))%min(size, 8) != 0 {
		b = append(make([]byte, 0, len(b)), b...)
	}
	data := first(&f.scratch, b)
	if data == 0 { // an empty tensor, and null is refused
		data = addr(&f.scratch, new(uint64))
	}
	shape := t.Shape()
	var v uintptr
	err = f.s.try(fnCreateTensorWithData, f.s.memory, data, uintptr(len(b)),
		first(&f.scratch, shape), uintptr(len(shape)), code, addr(&f.scratch, &v))
	return f.keep(v), err
}

// strings makes a tensor of strings in the library's memory.
func (f *feed) strings(t *ir.Tensor) (uintptr, error) {
	s, err := t.Strings()
	if err != nil {
		return 0, err
	}
	shape := t.Shape()
	const elementString = uintptr(ir.String)
	var v uintptr
	if err := f.s.try(fnCreateTensorAsOrtValue, f.s.allocator, first(&f.scratch, shape), uintptr(len(shape)),
		elementString, addr(&f.scratch, &v)); err != nil {
		return 0, err
	}
	f.keep(v)
	buffer := new(uintptr)
	at := addr(&f.scratch, buffer)
	for i, x := range s {
		if err := f.s.try(fnGetResizedStringElement, v, uintptr(i), uintptr(len(x)), at); err != nil {
			return 0, err
		}
		copy(unsafe.Slice((*byte)(pointer(*buffer)), len(x)), x)
	}
	return v, nil
}

func (f *feed) sequence(d *ir.Sequence, t *ir.Type) (uintptr, error) {
	var of *ir.Type
	if t != nil && t.Kind == ir.KindSequence {
		of = t.Of
	}
	if len(d.Items) == 0 {
		if of == nil {
			t = d.Type()
		}
		return f.s.nothingOf(t)
	}
	items := make([]uintptr, len(d.Items))
	for i, x := range d.Items {
		if isNil(x) {
			return 0, fmt.Errorf("item %d is missing", i)
		}
		var err error
		if items[i], err = f.value(x, of); err != nil {
			return 0, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return f.compose(items, onnxSequence)
}

// mapping makes a map of a vector of keys and one of values.
func (f *feed) mapping(d *ir.Map) (uintptr, error) {
	if d.Keys == nil || d.Keys.Len() != int64(len(d.Values)) {
		return 0, fmt.Errorf("a map whose keys and values differ in number")
	}
	values, err := join(d.Values, d.Of)
	if err != nil {
		return 0, err
	}
	k, err := f.value(d.Keys, nil)
	if err != nil {
		return 0, err
	}
	v, err := f.value(values, nil)
	if err != nil {
		return 0, err
	}
	return f.compose([]uintptr{k, v}, onnxMap)
}

func (f *feed) compose(parts []uintptr, kind uintptr) (uintptr, error) {
	var v uintptr
	err := f.s.try(fnCreateValue, first(&f.scratch, parts), uintptr(len(parts)), kind, addr(&f.scratch, &v))
	return f.keep(v), err
}

// join makes a vector of the single elements of a map's values.
func join(values []ir.Datum, of *ir.Type) (*ir.Tensor, error) {
	dtype := of.DType()
	var bytes []byte
	var text []string
	for i, d := range values {
		t, ok := d.(*ir.Tensor)
		if !ok || t == nil || t.Len() != 1 || (dtype != ir.Undefined && t.DType() != dtype) {
			return nil, fmt.Errorf("value %d of a map is not one element of type %s", i, dtype)
		}
		dtype = t.DType()
		if dtype == ir.String {
			s, err := t.Strings()
			if err != nil {
				return nil, err
			}
			text = append(text, s...)
			continue
		}
		b, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		bytes = append(bytes, b...)
	}
	shape := []int64{int64(len(values))}
	if dtype == ir.String {
		return ir.NewStringTensor(shape, text), nil
	}
	return ir.NewTensor(dtype, shape, bytes), nil
}

// toElement is the number of ONNXTensorElementDataType. It is that of TensorProto up to Float4E2M1; then the order differs.
func toElement(d ir.DType) (uintptr, bool) {
	switch d {
	case ir.Uint2:
		return 24, true
	case ir.Int2:
		return 25, true
	case ir.Float8E8M0:
		return 26, true
	}
	return uintptr(d), d.Valid() && d <= ir.Float4E2M1
}

// fromElement is the inverse of toElement; Undefined for an unknown number.
func fromElement(n int32) ir.DType {
	switch n {
	case 24:
		return ir.Uint2
	case 25:
		return ir.Int2
	case 26:
		return ir.Float8E8M0
	}
	if n < 0 || n > int32(ir.Float4E2M1) {
		return ir.Undefined
	}
	return ir.DType(n)
}
