package kernel

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// Float16ToFloat32 is the value of an IEEE binary16 bit pattern, exactly.
func Float16ToFloat32(h uint16) float32 {
	sign, exp, man := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp == 0:
		f := float32(man) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// Float32ToFloat16 rounds to the nearest binary16, ties to even; too large values become infinite, NaN stays NaN.
func Float32ToFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x1ff)
	case b >= 0x47800000: // 65536 and above
		return sign | 0x7c00
	case b < 0x33000000: // below half the smallest subnormal
		return sign
	case b < 0x38800000: // subnormal: shift the significand with its hidden bit
		shift := 126 - b>>23
		man := b&0x7fffff | 0x800000
		return sign | uint16(roundShift(man, shift))
	}
	return sign | uint16(roundShift(b-112<<23, 13))
}

// roundShift is v >> n rounded to nearest, ties to even, for 0 < n < 32.
func roundShift(v, n uint32) uint32 {
	return (v + (1<<(n-1) - 1) + v>>n&1) >> n
}

// BFloat16ToFloat32 is the value of a bfloat16 bit pattern, exactly.
func BFloat16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// Float32ToBFloat16 rounds to the nearest bfloat16, ties to even; NaN stays NaN.
func Float32ToBFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// oddFloat32 rounds to float32 so that a further rounding to a format of at most 22 bits of significand gives what one
// rounding of x gives: an inexact result has its last bit set (round to odd; Boldo and Melquiond 2008).
func oddFloat32(x float64) float32 {
	f := float32(x)
	if float64(f) == x || f != f {
		return f
	}
	b := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(x) {
		b--
	}
	return math.Float32frombits(b | 1)
}

// minifloat describes a float format of at most eight bits: sign, exponent, significand.
type minifloat struct {
	man, bias int
	top       uint8 // bit pattern of the largest finite value
	inf       uint8 // pattern of infinity, 0 if there is none
	nan       uint8 // pattern of NaN, 0 if there is none
	sign      uint8 // the sign bit
	noNegZero bool  // "UZ": the pattern of -0 is NaN
}

// format8 is the format of a type, as the ONNX specification tabulates them ("Float stored in 8 bits").
func format8(d ir.DType) (minifloat, bool) {
	switch d {
	case ir.Float8E4M3FN:
		return minifloat{man: 3, bias: 7, top: 0x7e, nan: 0x7f, sign: 0x80}, true
	case ir.Float8E4M3FNUZ:
		return minifloat{man: 3, bias: 8, top: 0x7f, nan: 0x80, sign: 0x80, noNegZero: true}, true
	case ir.Float8E5M2:
		return minifloat{man: 2, bias: 15, top: 0x7b, inf: 0x7c, nan: 0x7f, sign: 0x80}, true
	case ir.Float8E5M2FNUZ:
		return minifloat{man: 2, bias: 16, top: 0x7f, nan: 0x80, sign: 0x80, noNegZero: true}, true
	case ir.Float4E2M1:
		return minifloat{man: 1, bias: 1, top: 0x7, sign: 0x8}, true
	}
	return minifloat{}, false
}

// decode is the value of a bit pattern, exactly.
func (m minifloat) decode(b uint8) float32 {
	abs := b &^ m.sign
	switch {
	case m.noNegZero && b == m.sign, !m.noNegZero && abs > m.top && (m.inf == 0 || abs > m.inf):
		return float32(math.NaN())
	case m.inf != 0 && abs == m.inf:
		return float32(math.Inf(1 - 2*int(b>>7)))
	}
	exp, man := int(abs>>m.man), int(abs)&(1<<m.man-1)
	if exp == 0 {
		exp = 1
	} else {
		man |= 1 << m.man
	}
	v := math.Ldexp(float64(man), exp-m.bias-m.man)
	if b&m.sign != 0 {
		v = -v
	}
	return float32(v)
}

// encode rounds to nearest, ties to even. Values beyond the largest and infinities become the largest finite value if
// saturate is set, else infinity or, in formats without it, NaN. NaN in a format that has none becomes -0.
func (m minifloat) encode(x float32, saturate bool) uint8 {
	sign := uint8(0)
	if math.Signbit(float64(x)) {
		sign = m.sign
	}
	a := math.Abs(float64(x))
	if a != a {
		switch {
		case m.nan == 0:
			return m.sign
		case m.noNegZero:
			return m.nan
		}
		return sign | m.nan
	}
	e := 1 - m.bias
	if _, x := math.Frexp(a); a != 0 && x-1 > e {
		e = x - 1
	}
	q := math.RoundToEven(math.Ldexp(a, m.man-e)) // units of the last place; may carry into the next exponent
	b := math.Inf(1)
	if q < float64(int(4)<<m.man) {
		b = q + float64((e-1+m.bias)<<m.man)
	}
	switch {
	case b == 0 && m.noNegZero:
		return 0
	case b <= float64(m.top):
		return sign | uint8(b)
	case saturate || m.nan == 0:
		return sign | m.top
	case m.inf != 0:
		return sign | m.inf
	case m.noNegZero:
		return m.nan
	}
	return sign | m.nan
}

// e8m0ToFloat32 is the value of a float8e8m0 pattern: 2**(b-127); 255 is NaN.
func e8m0ToFloat32(b uint8) float32 {
	if b == 0xff {
		return float32(math.NaN())
	}
	return float32(math.Ldexp(1, int(b)-127))
}

// float32ToE8M0 rounds a magnitude to a power of two: mode is "up", "down" or "nearest" (ties up). The sign is ignored, as in
// the OCP microscaling formats. Zero and values out of range give the nearest power if saturate is set, else NaN.
func float32ToE8M0(x float32, mode string, saturate bool) uint8 {
	a := math.Abs(float64(x))
	switch {
	case a != a:
		return 0xff
	case math.IsInf(a, 0) && !saturate:
		return 0xff
	case math.IsInf(a, 0):
		return 0xfe
	case a == 0 && !saturate:
		return 0xff
	case a == 0:
		return 0
	}
	frac, e := math.Frexp(a) // a = frac * 2**e, 0.5 <= frac < 1
	e--
	if mode == "up" && frac > 0.5 || mode == "nearest" && frac >= 0.75 {
		e++
	}
	switch b := e + 127; {
	case b > 0xfe && !saturate:
		return 0xff
	case b > 0xfe:
		return 0xfe
	case b < 0 && !saturate:
		return 0xff
	default:
		return uint8(max(b, 0))
	}
}
