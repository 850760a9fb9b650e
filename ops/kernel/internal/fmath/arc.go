package fmath

import "math"

// asinTail returns (asin(x)/x - 1) / x**2 for z = x**2 <= 1/4.
func asinTail(z float64) float64 {
	z2 := float64(z * z)
	z4 := float64(z2 * z2)
	low := madd(z2, madd(z, asinC3, asinC2), madd(z, asinC1, asinC0))
	mid := madd(z2, madd(z, asinC7, asinC6), madd(z, asinC5, asinC4))
	top := madd(z2, madd(z, asinC11, asinC10), madd(z, asinC9, asinC8))
	return madd(z4, madd(z4, madd(z4, asinC12, top), mid), low)
}

// arcOfRest returns asin(s) for s = sqrt((1-a)/2) as a pair, which is acos(a)/2, for a in [1/2, 1].
func arcOfRest(a float64) (h, l float64) {
	z := 0.5 * (1 - a)
	h, l = root(z, 0)
	return h, l + float64(float64(h*z)*asinTail(z))
}

// Asin returns the arc sine; ±0 for ±0, NaN beyond ±1 and for NaN.
func Asin(x float64) float64 {
	a := math.Abs(x)
	switch {
	case a <= 0.5:
		z := float64(x * x)
		return x + float64(float64(x*z)*asinTail(z))
	case !(a <= 1):
		return math.NaN()
	}
	h, l := arcOfRest(a)
	h, e := twoSum(halfPiHi, -float64(2*h))
	return math.Copysign(h+(e+(halfPiLo-float64(2*l))), x)
}

// Acos returns the arc cosine; NaN beyond ±1 and for NaN.
func Acos(x float64) float64 {
	a := math.Abs(x)
	switch {
	case a <= 0.5:
		z := float64(x * x)
		h, l := quickTwoSum(halfPiHi, -x)
		return h + (l + (halfPiLo - float64(float64(x*z)*asinTail(z))))
	case !(a <= 1):
		return math.NaN()
	}
	h, l := arcOfRest(a)
	if x > 0 {
		return 2 * (h + l)
	}
	h, e := quickTwoSum(halfPiHi, -h)
	return 2 * (h + (e + (halfPiLo - l)))
}

// Atan returns the arc tangent; ±pi/2 for ±Inf, ±0 for ±0, NaN for NaN.
func Atan(x float64) float64 {
	// atan(a) = atan(c) + atan((a-c) / (1+a*c)), c from a table, 0 or infinite
	a := math.Abs(x)
	var t, h, l float64
	switch {
	case a < 0x1p-4:
		t = a
	case a < 0x1p4:
		e := &atanTable[(math.Float64bits(a)>>49-(1023-4)<<3)&63]
		t, h, l = (a-e.c)/(1+float64(a*e.c)), e.hi, e.lo
	default:
		t, h, l = -1/a, halfPiHi, halfPiLo
	}
	z := float64(t * t)
	z2 := float64(z * z)
	p := madd(z2, madd(z2, atanC4, madd(z, atanC3, atanC2)), madd(z, atanC1, atanC0))
	h, e := quickTwoSum(h, t)
	return math.Copysign(h+(float64(float64(t*z)*p)+(e+l)), x)
}
