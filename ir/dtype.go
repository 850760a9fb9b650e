package ir

import "strings"

// DType is an element type. The numbers are those of TensorProto.DataType.
type DType uint8

// The element types of ONNX up to opset 28.
const (
	Undefined DType = iota
	Float32
	Uint8
	Int8
	Uint16
	Int16
	Int32
	Int64
	String
	Bool
	Float16
	Float64
	Uint32
	Uint64
	Complex64
	Complex128
	BFloat16
	Float8E4M3FN
	Float8E4M3FNUZ
	Float8E5M2
	Float8E5M2FNUZ
	Uint4
	Int4
	Float4E2M1
	Float8E8M0
	Uint2
	Int2
	Float6E2M3
	Float6E3M2
	numDTypes
)

// dtypeInfo holds the name as the textual syntax and op schemas spell it, and the size in bits (0 for strings).
var dtypeInfo = [numDTypes]struct {
	name string
	bits uint8
}{
	Undefined: {"undefined", 0},
	Float32:   {"float", 32}, Float64: {"double", 64}, Float16: {"float16", 16}, BFloat16: {"bfloat16", 16},
	Int2: {"int2", 2}, Int4: {"int4", 4}, Int8: {"int8", 8}, Int16: {"int16", 16}, Int32: {"int32", 32}, Int64: {"int64", 64},
	Uint2: {"uint2", 2}, Uint4: {"uint4", 4}, Uint8: {"uint8", 8}, Uint16: {"uint16", 16}, Uint32: {"uint32", 32}, Uint64: {"uint64", 64},
	Bool: {"bool", 8}, String: {"string", 0},
	Complex64: {"complex64", 64}, Complex128: {"complex128", 128},
	Float4E2M1: {"float4e2m1", 4}, Float6E2M3: {"float6e2m3", 6}, Float6E3M2: {"float6e3m2", 6},
	Float8E4M3FN: {"float8e4m3fn", 8}, Float8E4M3FNUZ: {"float8e4m3fnuz", 8},
	Float8E5M2: {"float8e5m2", 8}, Float8E5M2FNUZ: {"float8e5m2fnuz", 8}, Float8E8M0: {"float8e8m0", 8},
}

// Valid reports whether d is an element type this package knows, Undefined excluded.
func (d DType) Valid() bool { return d > Undefined && d < numDTypes }

// String is the name in ONNX's textual syntax ("float", "int64", "bfloat16").
func (d DType) String() string {
	if d >= numDTypes {
		return "unknown"
	}
	return dtypeInfo[d].name
}

// Bits is the size of one element in bits, 0 for strings and invalid types.
func (d DType) Bits() int {
	if d >= numDTypes {
		return 0
	}
	return int(dtypeInfo[d].bits)
}

// IsFloat reports whether d is a real floating-point type of any width.
func (d DType) IsFloat() bool {
	switch d {
	case Float32, Float64, Float16, BFloat16, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0, Float4E2M1, Float6E2M3, Float6E3M2:
		return true
	}
	return false
}

// IsInt reports whether d is an integer type of any width, bool excluded.
func (d DType) IsInt() bool { return d.IsSigned() || d.IsUnsigned() }

// IsSigned reports whether d is a signed integer type.
func (d DType) IsSigned() bool {
	switch d {
	case Int2, Int4, Int8, Int16, Int32, Int64:
		return true
	}
	return false
}

// IsUnsigned reports whether d is an unsigned integer type.
func (d DType) IsUnsigned() bool {
	switch d {
	case Uint2, Uint4, Uint8, Uint16, Uint32, Uint64:
		return true
	}
	return false
}

// ParseDType is the inverse of String; it also takes the names of TensorProto.DataType ("FLOAT", "INT64").
func ParseDType(s string) (DType, bool) {
	s = strings.ToLower(s)
	for d := Float32; d < numDTypes; d++ {
		if dtypeInfo[d].name == s {
			return d, true
		}
	}
	return Undefined, false
}

// ByteLen is the number of bytes that n elements of d take, sub-byte elements packed. It is -1 if that overflows, n is
// negative or d has no fixed size.
func (d DType) ByteLen(n int64) int64 {
	bits := int64(d.Bits())
	if bits == 0 || n < 0 || n > (1<<62)/bits {
		return -1
	}
	return (n*bits + 7) / 8
}
