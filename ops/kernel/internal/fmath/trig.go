package fmath

import (
	"math"
	"math/bits"
)

// Sin returns the sine of x radians; ±0 for ±0, NaN for ±Inf and NaN.
func Sin(x float64) float64 {
	if math.Abs(x) < 0x1p-27 {
		return x
	}
	r, rl, q := reduce(x)
	var h, l float64
	if q&1 == 0 {
		h, l = sinPair(r, rl)
	} else {
		h, l = cosPair(r, rl)
	}
	return negateIf(h+l, q)
}

// Cos returns the cosine of x radians; 1 for ±0, NaN for ±Inf and NaN.
func Cos(x float64) float64 {
	r, rl, q := reduce(x)
	var h, l float64
	if q&1 == 0 {
		h, l = cosPair(r, rl)
	} else {
		h, l = sinPair(r, rl)
	}
	return negateIf(h+l, q+1)
}

// negateIf returns -x if q, a count of quarter turns, is 2 or 3 modulo 4. It does without a branch, which would be unpredictable.
func negateIf(x float64, q int) float64 {
	return math.Float64frombits(math.Float64bits(x) ^ uint64(q&2)<<62)
}

// Tan returns the tangent of x radians; ±0 for ±0, NaN for ±Inf and NaN.
func Tan(x float64) float64 {
	if math.Abs(x) < 0x1p-27 {
		return x
	}
	r, rl, q := reduce(x)
	sh, sl := sinPair(r, rl)
	ch, cl := cosPair(r, rl)
	if q&1 != 0 {
		sh, sl, ch, cl = -ch, -cl, sh, sl
	}
	sh, sl = quickTwoSum(sh, sl)
	ch, cl = quickTwoSum(ch, cl)
	h, l := quo(sh, sl, ch, cl)
	return h + l
}

// sinPair returns sin(r+rl) as a pair, for |r| <= pi/4 and |rl| of the order of half a unit in the last place of r.
func sinPair(r, rl float64) (h, l float64) {
	// r**2 in two parts, the first exact: it enters the largest term.
	a := head(r)
	b := float64((r - a) * (r + a))
	a = float64(a * a)
	z := float64(r * r)
	z2 := float64(z * z)
	p := madd(z2, madd(z, sinC5, sinC4), madd(z, sinC3, sinC2))
	p = float64(z2*madd(z, p, sinC1)) + float64(b*sinC0)
	return r, float64(r*float64(a*sinC0)) + (float64(r*p) + float64(rl*(1-float64(0.5*z))))
}

// cosPair is like sinPair for the cosine.
func cosPair(r, rl float64) (h, l float64) {
	// r**2/2 in two parts, the first exact.
	a := head(r)
	b := float64(float64(0.5*(r-a)) * (r + a))
	a = float64(0.5 * float64(a*a))
	z := float64(r * r)
	z2 := float64(z * z)
	p := madd(z2, madd(z2, madd(z, cosC5, cosC4), madd(z, cosC3, cosC2)), madd(z, cosC1, cosC0))
	h, l = quickTwoSum(1, -a)
	return h, l + (float64(z2*p) - (b + float64(r*rl)))
}

// reduce returns r + rl = x - q*pi/2 with |r| <= pi/4 but for rounding; q counts modulo 4. r is NaN for infinities and NaN.
func reduce(x float64) (r, rl float64, q int) {
	a := math.Abs(x)
	switch {
	case a < math.Pi/4:
		return x, 0, 0
	case a < 0x1p26:
		// Cody and Waite, "Software Manual for the Elementary Functions" (1980): products with the first two parts of pi/2
		// are exact.
		s := float64(x*twoOverPi) + roundShift
		n := s - roundShift
		h, l := twoSum(x-float64(n*halfPi1), -float64(n*halfPi2))
		r, rl = quickTwoSum(h, l-float64(n*halfPi3))
		if math.Abs(r) > 0x1p-14 {
			return r, rl, int(math.Float64bits(s))
		}
	case !(a <= math.MaxFloat64):
		return math.NaN(), 0, 0
	}
	r, rl, q = reduceExactly(a)
	if x < 0 {
		return -r, -rl, -q
	}
	return r, rl, q
}

// reduceExactly is reduce for x >= 1/2: Payne and Hanek, "Radian reduction for trigonometric functions" (1983). Of the product
// of x = m * 2**e and 2/pi only the bits from weight 2 down to 2**-190 are formed; higher ones count multiples of 2 pi.
func reduceExactly(x float64) (r, rl float64, q int) {
	b := math.Float64bits(x)
	m := b&(1<<52-1) | 1<<52
	first := int(b>>52) - 1023 - 52 + 62 // number of the first bit of twoOverPiBits whose weight times 2**e is 2
	w, s := first>>6, uint(first&63)
	word := func(i int) uint64 { return twoOverPiBits[w+i]<<s | twoOverPiBits[w+i+1]>>1>>(63-s) }
	// The low 192 bits of the product, the last 190 of them behind the binary point.
	c1, p0 := bits.Mul64(m, word(2))
	c2, p1 := bits.Mul64(m, word(1))
	p1, carry := bits.Add64(p1, c1, 0)
	p2 := m*word(0) + c2 + carry
	q = int(p2 >> 62)
	// The fraction as a signed number of 192 bits, in [-1/2, 1/2).
	f2, f1, f0 := p2<<2|p1>>62, p1<<2|p0>>62, p0<<2
	sign := 1.0
	if f2>>63 != 0 {
		q++
		sign = -1
		f0, carry = bits.Sub64(0, f0, 0)
		f1, carry = bits.Sub64(0, f1, carry)
		f2, _ = bits.Sub64(0, f2, carry)
	}
	// No float64 is closer to a multiple of pi/2 than 2**-62 or so: f2 is at least nearly never 0, and never f2 and f1 both.
	shift := uint(bits.LeadingZeros64(f2))
	if shift == 64 {
		f2, f1, f0 = f1, f0, 0
		shift += uint(bits.LeadingZeros64(f2))
	}
	z := shift & 63
	f2, f1 = f2<<z|f1>>1>>(63-z), f1<<z|f0>>1>>(63-z)
	unit := sign * math.Float64frombits(uint64(1023-int(shift))<<52)
	h := float64(float64(f2>>11) * 0x1p-53 * unit)
	l := float64(float64(f2<<53>>1|f1>>12) * 0x1p-116 * unit)
	r, rl = twoProd(h, halfPiHi)
	rl += float64(h*halfPiLo) + float64(l*halfPiHi)
	r, rl = quickTwoSum(r, rl)
	return r, rl, q
}
