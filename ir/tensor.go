package ir

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"
)

// Payload supplies the elements of a tensor. Implementations are safe for concurrent use and return the same elements
// each time. A payload backed by a file loads nothing before it is asked.
type Payload interface {
	// Bytes returns the elements in row-major order, little-endian; elements below eight bits are packed, the first in
	// the low bits; bools take a byte. The caller must not change them. It is not called for string tensors.
	Bytes() ([]byte, error)
	// Strings returns the elements of a string tensor.
	Strings() ([]string, error)
}

// Tensor is an immutable dense array. A sparse initializer is a Tensor whose payload is expanded on demand.
type Tensor struct {
	dtype   DType
	shape   []int64
	payload Payload
	bytes   atomic.Pointer[[]byte]
	name    string // the TensorProto's own name where it stands in an attribute; no meaning
	meta    *Meta
}

// NewTensor returns a tensor over data, which is not copied and must not change afterwards. The length is checked when the
// elements are read, so that a lazily loaded tensor can be made without touching its bytes.
func NewTensor(dtype DType, shape []int64, data []byte) *Tensor {
	t := &Tensor{dtype: dtype, shape: slices.Clone(shape), payload: memory(nil)}
	t.bytes.Store(&data)
	return t
}

// NewLazyTensor returns a tensor whose elements p supplies.
func NewLazyTensor(dtype DType, shape []int64, p Payload) *Tensor {
	return &Tensor{dtype: dtype, shape: slices.Clone(shape), payload: p}
}

// NewStringTensor returns a tensor of strings.
func NewStringTensor(shape []int64, s []string) *Tensor {
	return &Tensor{dtype: String, shape: slices.Clone(shape), payload: stringPayload(s)}
}

// Scalar lists the Go types that stand for element types of a whole number of bytes. Float16 and bfloat16 are read as
// uint16 bit patterns, bools and float8 as uint8.
type Scalar interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | complex64 | complex128
}

// TensorOf returns a tensor over s, which is not copied. Its element type is that of the Go type (uint8 is Uint8, not Bool).
// With no shape given it is a vector; an explicitly empty non-nil shape gives a scalar.
func TensorOf[T Scalar](s []T, shape ...int64) *Tensor {
	if shape == nil {
		shape = []int64{int64(len(s))}
	}
	return NewTensor(dtypeOf[T](), shape, AsBytes(s))
}

// ScalarOf returns a tensor of rank 0.
func ScalarOf[T Scalar](v T) *Tensor { return NewTensor(dtypeOf[T](), []int64{}, AsBytes([]T{v})) }

func dtypeOf[T Scalar]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case complex64:
		return Complex64
	}
	return Complex128
}

// AsBytes views s as little-endian bytes without a copy.
func AsBytes[T Scalar](s []T) []byte {
	var z T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(z)))
}

// DType is the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Shape is the list of dimensions; empty, and never nil, for a scalar: TensorOf(s, t.Shape()...) has the shape of t. The caller must
// not change it.
func (t *Tensor) Shape() []int64 {
	if t.shape == nil {
		return []int64{}
	}
	return t.shape
}

// Rank is the number of dimensions.
func (t *Tensor) Rank() int { return len(t.shape) }

// Len is the number of elements, or -1 if a dimension is negative or the product overflows.
func (t *Tensor) Len() int64 { return NumElements(t.shape) }

// ByteLen is the number of bytes the elements take by type and shape, -1 for strings and overflow.
func (t *Tensor) ByteLen() int64 { return t.dtype.ByteLen(t.Len()) }

// Type is the tensor's type with static dimensions.
func (t *Tensor) Type() *Type { return TensorType(t.dtype, StaticShape(t.shape...)) }

// Payload is what the tensor was made with; a reader recognises its own by it. It is nil-safe to type-assert.
func (t *Tensor) Payload() Payload { return t.payload }

// Name is the name a tensor in an attribute carries in the file. It has no meaning.
func (t *Tensor) Name() string { return t.name }

// Meta is the tensor's documentation and metadata, nil if there is none.
func (t *Tensor) Meta() *Meta { return t.meta }

// WithName returns a tensor of the same elements that carries a name and metadata.
func (t *Tensor) WithName(name string, meta *Meta) *Tensor {
	u := &Tensor{dtype: t.dtype, shape: t.shape, payload: t.payload, name: name, meta: meta}
	u.bytes.Store(t.bytes.Load())
	return u
}

// Reshape returns a tensor over the same elements. It panics if the number of elements differs.
func (t *Tensor) Reshape(shape []int64) *Tensor {
	if NumElements(shape) != t.Len() {
		panic(fmt.Sprintf("ir: reshape of %v to %v", t.shape, shape))
	}
	u := &Tensor{dtype: t.dtype, shape: slices.Clone(shape), payload: reshaped{t}}
	u.bytes.Store(t.bytes.Load())
	return u
}

type reshaped struct{ t *Tensor }

func (r reshaped) Bytes() ([]byte, error)     { return r.t.Bytes() }
func (r reshaped) Strings() ([]string, error) { return r.t.Strings() }

// Bytes returns the elements as Payload.Bytes describes. The length agrees with type and shape, or there is an error.
func (t *Tensor) Bytes() ([]byte, error) {
	b := t.bytes.Load()
	if b == nil {
		if t.dtype == String {
			return nil, errors.New("a string tensor has no bytes")
		}
		r, err := t.payload.Bytes()
		if err != nil {
			return nil, err
		}
		if _, file := t.payload.(Uncached); file {
			return r, t.checkLen(r)
		}
		t.bytes.Store(&r)
		b = &r
	}
	return *b, t.checkLen(*b)
}

// Uncached marks payloads whose bytes are cheap to get again (a slice of a mapped file) or too large to keep.
type Uncached interface{ Uncached() }

func (t *Tensor) checkLen(b []byte) error {
	if n := t.ByteLen(); n != int64(len(b)) {
		return fmt.Errorf("tensor of type %s and shape %v needs %d bytes and has %d", t.dtype, t.shape, n, len(b))
	}
	return nil
}

// Strings returns the elements of a string tensor.
func (t *Tensor) Strings() ([]string, error) {
	if t.dtype != String {
		return nil, fmt.Errorf("a tensor of type %s has no strings", t.dtype)
	}
	s, err := t.payload.Strings()
	if err == nil && int64(len(s)) != t.Len() {
		err = fmt.Errorf("string tensor of shape %v has %d elements", t.shape, len(s))
	}
	return s, err
}

// Elements views the elements of t as []T, without a copy where the processor can read them as they lie. T must have the size of the element type:
// uint16 reads float16, bfloat16, int16 and uint16. The caller must not change them.
func Elements[T Scalar](t *Tensor) ([]T, error) {
	var z T
	size := int(unsafe.Sizeof(z))
	if t.dtype.Bits() != size*8 {
		return nil, fmt.Errorf("tensor of type %s read as %T", t.dtype, z)
	}
	b, err := t.Bytes()
	if err != nil || len(b) == 0 {
		return nil, err
	}
	if !unalignedLoads && uintptr(unsafe.Pointer(unsafe.SliceData(b)))%unsafe.Alignof(z) != 0 {
		r := make([]T, len(b)/size)
		copy(AsBytes(r), b)
		return r, nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/size), nil
}

// NumElements is the product of shape, or -1 if a dimension is negative or the product overflows.
func NumElements(shape []int64) int64 {
	n := int64(1)
	zero := false
	for _, d := range shape {
		switch {
		case d < 0:
			return -1
		case d == 0:
			zero = true
		case n > (1<<62)/d:
			n = -1
		case n > 0:
			n *= d
		}
	}
	if zero {
		return 0
	}
	return n
}

type memory []byte

func (m memory) Bytes() ([]byte, error)   { return m, nil }
func (memory) Strings() ([]string, error) { return nil, errors.New("not a string tensor") }

type stringPayload []string

func (stringPayload) Bytes() ([]byte, error)       { return nil, errors.New("a string tensor has no bytes") }
func (s stringPayload) Strings() ([]string, error) { return s, nil }

// SparseTensor is a sparse constant in COO form as ONNX stores it: values [NNZ], indices [NNZ] (linear) or [NNZ, rank].
type SparseTensor struct {
	Values, Indices *Tensor
	Dims            []int64
	Extra           Extra
}
