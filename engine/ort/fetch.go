package ort

import (
	"fmt"
	"unsafe"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// fetch copies the library's values out of its memory.
type fetch struct {
	scratch
	s     *session
	total int64 // bytes copied
}

// datum is the content of the value v where the type t is declared (nil: none). It is nil where v holds nothing and no
// optional is declared.
func (f *fetch) datum(v uintptr, t *ir.Type) (ir.Datum, error) {
	if v == 0 {
		return nil, fmt.Errorf("the library gave no value")
	}
	optional := t != nil && t.Kind == ir.KindOptional
	has, err := ask[int32](f, fnHasValue, v)
	if err != nil {
		return nil, err
	}
	if has == 0 {
		if optional {
			return &ir.Optional{Elem: t.Of}, nil
		}
		return nil, nil
	}
	if optional {
		d, err := f.content(v, t.Of)
		return &ir.Optional{Elem: t.Of, Item: d}, err
	}
	return f.content(v, t)
}

// ask calls a function that gives one T about the handle h.
func ask[T any](f *fetch, fn int, h uintptr) (T, error) {
	r := new(T)
	err := f.s.try(fn, h, addr(&f.scratch, r))
	return *r, err
}

// content is the content of a value that is there.
func (f *fetch) content(v uintptr, t *ir.Type) (ir.Datum, error) {
	kind, err := ask[int32](f, fnGetValueType, v)
	if err != nil {
		return nil, err
	}
	switch kind {
	case onnxTensor:
		return f.tensor(v)
	case onnxSequence:
		return f.sequence(v, t)
	case onnxMap:
		return f.mapping(v)
	}
	return nil, fmt.Errorf("a value of a kind that cannot be read (ONNXType %d)", kind)
}

func (f *fetch) tensor(v uintptr) (*ir.Tensor, error) {
	dtype, shape, err := f.tensorType(v)
	if err != nil {
		return nil, err
	}
	if dtype == ir.String {
		return f.strings(v, shape)
	}
	n := dtype.ByteLen(ir.NumElements(shape))
	if n < 0 {
		return nil, fmt.Errorf("a tensor of %s %v", dtype, shape)
	}
	if err := f.count(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if n > 0 {
		data, err := ask[uintptr](f, fnGetTensorMutableData, v)
		if err != nil {
			return nil, err
		}
		copy(b, unsafe.Slice((*byte)(pointer(data)), n))
	}
	return ir.NewTensor(dtype, shape, b), nil
}

func (f *fetch) tensorType(v uintptr) (ir.DType, []int64, error) {
	info, err := ask[uintptr](f, fnGetTensorTypeAndShape, v)
	if err != nil {
		return 0, nil, err
	}
	defer f.s.release(fnReleaseTensorTypeAndShape, info)
	code, err := ask[int32](f, fnGetTensorElementType, info)
	if err != nil {
		return 0, nil, err
	}
	dtype := fromElement(code)
	if !dtype.Valid() {
		return 0, nil, fmt.Errorf("a tensor of an unknown element type (ONNXTensorElementDataType %d)", code)
	}
	rank, err := ask[uintptr](f, fnGetDimensionsCount, info)
	if err != nil {
		return 0, nil, err
	}
	shape := make([]int64, rank)
	if rank > 0 {
		err = f.s.try(fnGetDimensions, info, first(&f.scratch, shape), rank)
	}
	return dtype, shape, err
}

func (f *fetch) strings(v uintptr, shape []int64) (*ir.Tensor, error) {
	n := ir.NumElements(shape)
	total, err := ask[uintptr](f, fnGetStringTensorDataLength, v)
	if err != nil {
		return nil, err
	}
	if err := f.count(int64(total) + n*int64(unsafe.Sizeof(""))); err != nil {
		return nil, err
	}
	if n == 0 {
		return ir.NewStringTensor(shape, nil), nil
	}
	text, starts := make([]byte, total+1), make([]uintptr, n)
	if err := f.s.try(fnGetStringTensorContent, v, first(&f.scratch, text), total, first(&f.scratch, starts), uintptr(n)); err != nil {
		return nil, err
	}
	all := string(text[:total])
	s := make([]string, n)
	for i := range s {
		end := total
		if i+1 < len(s) {
			end = starts[i+1]
		}
		s[i] = all[starts[i]:end]
	}
	return ir.NewStringTensor(shape, s), nil
}

// part is element i of a sequence, or the keys (0) or values (1) of a map. The caller releases it.
func (f *fetch) part(v, i uintptr) (uintptr, error) {
	p := new(uintptr)
	err := f.s.try(fnGetValue, v, i, f.s.allocator, addr(&f.scratch, p))
	return *p, err
}

func (f *fetch) sequence(v uintptr, t *ir.Type) (ir.Datum, error) {
	n, err := ask[uintptr](f, fnGetValueCount, v)
	if err != nil {
		return nil, err
	}
	r := &ir.Sequence{Items: make([]ir.Datum, n)}
	if t != nil && t.Kind == ir.KindSequence {
		r.Elem = t.Of
	}
	for i := range r.Items {
		p, err := f.part(v, uintptr(i))
		if err != nil {
			return nil, err
		}
		r.Items[i], err = f.datum(p, r.Elem)
		f.s.release(fnReleaseValue, p)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		if r.Elem == nil && r.Items[i] != nil {
			r.Elem = r.Items[i].Type().WithoutShapes()
		}
	}
	return r, nil
}

func (f *fetch) mapping(v uintptr) (ir.Datum, error) {
	var parts [2]*ir.Tensor
	for i := range parts {
		p, err := f.part(v, uintptr(i))
		if err != nil {
			return nil, err
		}
		parts[i], err = f.tensor(p)
		f.s.release(fnReleaseValue, p)
		if err != nil {
			return nil, err
		}
	}
	r := &ir.Map{Keys: parts[0], Of: ir.TensorType(parts[1].DType(), ir.StaticShape())}
	var err error
	r.Values, err = split(parts[1])
	if err == nil && int64(len(r.Values)) != r.Keys.Len() {
		err = fmt.Errorf("a map of %d keys and %d values", r.Keys.Len(), len(r.Values))
	}
	return r, err
}

// split makes a scalar of each element.
func split(t *ir.Tensor) ([]ir.Datum, error) {
	scalar := []int64{}
	r := make([]ir.Datum, t.Len())
	if t.DType() == ir.String {
		s, err := t.Strings()
		for i := range s {
			r[i] = ir.NewStringTensor(scalar, s[i:i+1])
		}
		return r, err
	}
	b, err := t.Bytes()
	size := t.DType().Bits() / 8
	if err != nil || size == 0 {
		return nil, fmt.Errorf("values of a map of %s cannot be read (%v)", t.DType(), err)
	}
	for i := range r {
		r[i] = ir.NewTensor(t.DType(), scalar, b[i*size:(i+1)*size])
	}
	return r, nil
}

// count adds n to what the run's outputs take.
func (f *fetch) count(n int64) error {
	f.total += n
	if f.s.limit > 0 && f.total > f.s.limit {
		return engine.ErrMemory
	}
	return nil
}
