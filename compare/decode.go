package compare

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// integer is element i of an array of integers or bools as 64 bits, sign-extended if the type is signed.
func integer(d ir.DType, b []byte, i int64) uint64 {
	var v uint64
	bits := d.Bits()
	switch bits {
	case 2, 4:
		per := int64(8 / bits)
		v = uint64(b[i/per]) >> (uint(i%per) * uint(bits)) & (1<<bits - 1)
	case 8:
		v = uint64(b[i])
	case 16:
		v = uint64(binary.LittleEndian.Uint16(b[2*i:]))
	case 32:
		v = uint64(binary.LittleEndian.Uint32(b[4*i:]))
	default:
		v = binary.LittleEndian.Uint64(b[8*i:])
	}
	if d.IsSigned() {
		shift := 64 - uint(bits)
		v = uint64(int64(v<<shift) >> shift)
	}
	return v
}

// realDecoder returns the function that reads element i of an array of a floating-point type (part i of a complex one) as a
// float64, which holds every value of these types exactly. It is nil for other types.
func realDecoder(d ir.DType) func(b []byte, i int64) float64 {
	switch d {
	case ir.Float32, ir.Complex64:
		return func(b []byte, i int64) float64 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		}
	case ir.Float64, ir.Complex128:
		return func(b []byte, i int64) float64 {
			return math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
	case ir.BFloat16:
		return func(b []byte, i int64) float64 {
			return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16))
		}
	case ir.Float16:
		return func(b []byte, i int64) float64 {
			return ieee(uint32(binary.LittleEndian.Uint16(b[2*i:])), 5, 10)
		}
	case ir.Float8E5M2:
		return func(b []byte, i int64) float64 { return ieee(uint32(b[i]), 5, 2) }
	case ir.Float8E4M3FN:
		return func(b []byte, i int64) float64 {
			if b[i]&0x7f == 0x7f {
				return math.NaN()
			}
			return minifloat(uint32(b[i]), 4, 3, 7)
		}
	case ir.Float8E4M3FNUZ:
		return func(b []byte, i int64) float64 { return unsignedZero(b[i], 4, 3, 8) }
	case ir.Float8E5M2FNUZ:
		return func(b []byte, i int64) float64 { return unsignedZero(b[i], 5, 2, 16) }
	case ir.Float8E8M0:
		return func(b []byte, i int64) float64 {
			if b[i] == 0xff {
				return math.NaN()
			}
			return math.Ldexp(1, int(b[i])-127)
		}
	case ir.Float4E2M1:
		return func(b []byte, i int64) float64 {
			return minifloat(uint32(b[i/2])>>(4*uint(i%2))&0xf, 2, 1, 1)
		}
	case ir.Float6E2M3:
		return func(b []byte, i int64) float64 { return minifloat(sixBits(b, i), 2, 3, 1) }
	case ir.Float6E3M2:
		return func(b []byte, i int64) float64 { return minifloat(sixBits(b, i), 3, 2, 3) }
	}
	return nil
}

// sixBits is element i of a sequence of six bits each, four in three bytes, the lowest bits first.
func sixBits(b []byte, i int64) uint32 {
	at, shift := 6*i/8, uint(6*i%8)
	v := uint32(b[at])
	if shift > 2 {
		v |= uint32(b[at+1]) << 8
	}
	return v >> shift & 0x3f
}

// minifloat is the number of a sign bit, e bits of exponent and m of fraction, with subnormals and no special values.
func minifloat(v uint32, e, m uint, bias int) float64 {
	exp := int(v >> m & (1<<e - 1))
	frac := float64(v & (1<<m - 1))
	if exp > 0 {
		frac += float64(uint32(1) << m)
		exp--
	}
	r := math.Ldexp(frac, exp+1-bias-int(m))
	if v>>(e+m)&1 == 1 {
		r = -r
	}
	return r
}

// ieee is minifloat where the largest exponent stands for infinities and NaN.
func ieee(v uint32, e, m uint) float64 {
	if v>>m&(1<<e-1) == 1<<e-1 {
		if v&(1<<m-1) != 0 {
			return math.NaN()
		}
		return math.Inf(1 - 2*int(v>>(e+m)&1))
	}
	return minifloat(v, e, m, 1<<(e-1)-1)
}

// unsignedZero is minifloat where the code of −0 stands for NaN.
func unsignedZero(b byte, e, m uint, bias int) float64 {
	if b == 0x80 {
		return math.NaN()
	}
	return minifloat(uint32(b), e, m, bias)
}

// numbers reads the elements of a tensor of integers, bools or real floats.
func numbers(t *ir.Tensor) ([]float64, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	d := t.DType()
	at := realDecoder(d)
	switch {
	case d.IsSigned():
		at = func(b []byte, i int64) float64 { return float64(int64(integer(d, b, i))) }
	case d.IsUnsigned() || d == ir.Bool:
		at = func(b []byte, i int64) float64 { return float64(integer(d, b, i)) }
	}
	if at == nil || d == ir.Complex64 || d == ir.Complex128 {
		return nil, fmt.Errorf("elements of type %s are no real numbers", d)
	}
	r := make([]float64, t.Len())
	for i := range r {
		r[i] = at(b, int64(i))
	}
	return r, nil
}
