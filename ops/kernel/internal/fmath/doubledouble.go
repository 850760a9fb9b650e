package fmath

import "math"

// Sums of two float64 carry intermediate results of about 106 bits: Dekker, "A floating-point technique for extending the
// available precision" (1971); Knuth, "The Art of Computer Programming", volume 2, section 4.2.2. A pair h, l stands for h + l
// with |l| of the order of half a unit in the last place of h.

// madd returns x*y + z, rounded twice. The conversion keeps the compiler from fusing the operations.
func madd(x, y, z float64) float64 { return float64(x*y) + z }

// twoSum returns a + b rounded and its rounding error, exactly.
func twoSum(a, b float64) (s, e float64) {
	s = a + b
	t := s - a
	return s, (a - (s - t)) + (b - t)
}

// quickTwoSum is twoSum where a is 0 or |a| >= |b|.
func quickTwoSum(a, b float64) (s, e float64) {
	s = a + b
	return s, b - (s - a)
}

// head returns x without the low 27 bits of its significand, so that products of heads are exact.
func head(x float64) float64 { return math.Float64frombits(math.Float64bits(x) &^ (1<<27 - 1)) }

// twoProd returns a*b rounded and its rounding error, which is itself precise to 2**-78 of the product.
func twoProd(a, b float64) (p, e float64) {
	ah, bh := head(a), head(b)
	p = float64(a * b)
	return p, (float64(ah*bh) - p) + (float64(ah*(b-bh)) + float64((a-ah)*b))
}

// quo returns the quotient of two pairs; h may be off by two units in its last place, for which l makes up.
func quo(nh, nl, dh, dl float64) (h, l float64) {
	inv := 1 / dh
	h = float64(nh * inv)
	p, e := twoProd(h, dh)
	return h, float64((((nh - p) - e) + (nl - float64(h*dl))) * inv)
}

// root returns the square root of a pair of positive value; 0 for 0.
func root(xh, xl float64) (h, l float64) {
	h = math.Sqrt(xh)
	if h == 0 {
		return 0, 0
	}
	inv := 0.5 / h
	p, e := twoProd(h, h)
	return h, float64((((xh - p) - e) + xl) * inv)
}

// scale returns (h+l) * 2**k rounded once, also where the result is subnormal or overflows, for h in [1/4, 4] and |k| <= 1100.
func scale(h, l float64, k int) float64 {
	switch {
	case k > 1020:
		return float64((h+l)*0x1p1020) * power(k-1020)
	case k >= -1020:
		return (h + l) * power(k)
	}
	if one := power(-1022 - k); h < one {
		// The unit in the last place of numbers from one to 2*one is that of the result.
		s, e := quickTwoSum(one, h)
		return float64(((s+(e+l))-one)*power(k+1020)) * 0x1p-1020
	}
	return float64((h+l)*power(k+1020)) * 0x1p-1020
}

// power returns 2**k for -1023 < k < 1024.
func power(k int) float64 { return math.Float64frombits(uint64(k+1023) << 52) }
