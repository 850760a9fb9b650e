package fmath

import "math"

// The error function is a polynomial around 0; elsewhere its complement is exp(-x**2) times a function that varies slowly, for
// which there is a table of polynomials.

// erfSmall returns erf(xh+xl) as a pair, for |xh| < 1/2.
func erfSmall(xh, xl float64) (h, l float64) {
	z := float64(xh * xh)
	z2 := float64(z * z)
	z4 := float64(z2 * z2)
	low := madd(z2, madd(z, erfC3, erfC2), madd(z, erfC1, erfC0))
	top := madd(z2, madd(z, erfC7, erfC6), madd(z, erfC5, erfC4))
	p := erfHi + (erfLo + float64(z*madd(z4, madd(z4, erfC8, top), low)))
	return quickTwoSum(xh, float64(xh*p)+float64((1+erfHi)*float64(xl*(1-z))))
}

// erfcPair returns erfc(xh+xl) as (h+l) * 2**k, for xh in [1/2, 28].
func erfcPair(xh, xl float64) (h, l float64, k int) {
	p, e := twoProd(xh, xh)
	eh, el, k := expPair(-p, -(e + float64(2*float64(xh*xl))))
	b := math.Float64bits(xh)
	t := &erfcTable[(b>>49-(1023-1)<<3)%uint64(len(erfcTable))]
	c := math.Float64frombits(b&^(1<<49-1) | 1<<48) // the centre of the interval
	d := (xh - c) + xl
	d2 := float64(d * d)
	d4 := float64(d2 * d2)
	low := madd(d2, madd(d, t[5], t[4]), madd(d, t[3], t[2]))
	mid := madd(d2, madd(d, t[9], t[8]), madd(d, t[7], t[6]))
	top := madd(d2, t[12], madd(d, t[11], t[10]))
	gh, gl := quickTwoSum(t[0], t[1]+float64(d*madd(d4, madd(d4, top, mid), low)))
	h, l = twoProd(eh, gh)
	return h, l + (float64(el*gh) + float64(eh*gl)), k
}

// Erf returns the error function; ±0 for ±0, ±1 for ±Inf, NaN for NaN.
func Erf(x float64) float64 {
	a := math.Abs(x)
	switch {
	case a < 0.5:
		h, l := erfSmall(a, 0)
		return math.Copysign(h+l, x)
	case a > 6:
		return math.Copysign(1, x)
	case x != x:
		return x
	}
	h, l, k := erfcPair(a, 0)
	f := power(k)
	h, e := quickTwoSum(1, -float64(h*f))
	return math.Copysign(h+(e-float64(l*f)), x)
}

// Erfc returns 1 - erf(x) without cancellation; 0 for +Inf, 2 for -Inf, NaN for NaN.
func Erfc(x float64) float64 {
	if x != x {
		return x
	}
	h, l, k := erfcOf(x, 0)
	return scale(h, l, k)
}

// erfcOf returns erfc(xh+xl) as (h+l) * 2**k, for all xh but NaN.
func erfcOf(xh, xl float64) (h, l float64, k int) {
	switch {
	case xh > 28:
		return 0, 0, 0
	case xh < -6:
		return 2, 0, 0
	case math.Abs(xh) < 0.5:
		h, l = erfSmall(xh, xl)
		h, e := quickTwoSum(1, -h)
		return h, e - l, 0
	case xh > 0:
		return erfcPair(xh, xl)
	}
	h, l, k = erfcPair(-xh, -xl)
	f := power(k)
	h, e := quickTwoSum(2, -float64(h*f))
	return h, e - float64(l*f), 0
}

// Gelu returns x/2 * (1 + erf(x/sqrt(2))); -0 for -Inf, +Inf for +Inf, NaN for NaN.
func Gelu(x float64) float64 {
	switch {
	case x != x || x > 9:
		return x
	case x < -40:
		return math.Copysign(0, -1)
	}
	p, e := twoProd(-x, sqrtHalfHi)
	h, l, k := erfcOf(p, e-float64(x*sqrtHalfLo))
	a := math.Abs(x)
	ph, pl := twoProd(a, h)
	return math.Copysign(scale(ph, pl+float64(a*l), k-1), x)
}

// GeluTanh returns x/2 * (1 + tanh(u)) = x / (1 + e**-2u), u = sqrt(2/pi) * (x + 0.044715 x**3), the approximation of Gelu;
// -0 for -Inf, +Inf for +Inf, NaN for NaN.
func GeluTanh(x float64) float64 {
	if x < -100 {
		return math.Copysign(0, -1)
	}
	const c = 0.7978845608028654 // sqrt(2/pi)
	u := float64(c * (x + float64(0.044715*float64(float64(x*x)*x))))
	return x * Sigmoid(2*u)
}
