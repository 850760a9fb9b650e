package fmath

import "math"

// Sinh returns the hyperbolic sine; ±0 for ±0, ±Inf for ±Inf, NaN for NaN.
func Sinh(x float64) float64 {
	a := math.Abs(x)
	if a <= 0.5 {
		z := float64(x * x)
		z2 := float64(z * z)
		p := madd(z2, madd(z2, madd(z, sinhC5, sinhC4), madd(z, sinhC3, sinhC2)), madd(z, sinhC1, sinhC0))
		return x + float64(float64(x*z)*p)
	}
	if !(a < 40) {
		return math.Copysign(halfExp(a), x)
	}
	h, l, r, rl := expAndInverse(a)
	h, e := quickTwoSum(h, -r)
	return math.Copysign(h+(e+(l-rl)), x)
}

// Cosh returns the hyperbolic cosine; 1 for ±0, +Inf for ±Inf, NaN for NaN.
func Cosh(x float64) float64 {
	a := math.Abs(x)
	if !(a < 40) {
		return halfExp(a)
	}
	h, l, r, rl := expAndInverse(a)
	h, e := quickTwoSum(h, r)
	return h + (e + (l + rl))
}

// halfExp returns e**a / 2 for a >= 40 and NaN for NaN.
func halfExp(a float64) float64 {
	if !(a < 711) {
		return a * math.Inf(1)
	}
	h, l, k := expPair(a, 0)
	return scale(h, l, k-1)
}

// expAndInverse returns e**a / 2 as a pair and e**-a / 2 likewise, for a in [0, 40].
func expAndInverse(a float64) (h, l, r, rl float64) {
	h, l, k := expPair(a, 0)
	f := power(k - 1)
	h, l = float64(h*f), float64(l*f)
	r, rl = quo(0.25, 0, h, l)
	return h, l, r, rl
}

// Tanh returns the hyperbolic tangent; ±0 for ±0, ±1 for ±Inf, NaN for NaN.
func Tanh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case a < 0x1p-28:
		return x
	case a > 20:
		return math.Copysign(1, x)
	case a > 1.5:
		return math.Copysign(1-2/(1+Exp(2*a)), x)
	case x != x:
		return x
	}
	// tanh(a) = (e**2a - 1) / (e**2a + 1)
	h, l := expm1Pair(2 * a)
	d, e := twoSum(2, h)
	h, l = quo(h, l, d, e+l)
	return math.Copysign(h+l, x)
}

// Asinh returns the inverse hyperbolic sine; ±0 for ±0, ±Inf for ±Inf, NaN for NaN.
func Asinh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case a < 0x1p-28:
		return x
	case a > 0x1p28:
		return math.Copysign(logTwice(a), x)
	case x != x:
		return x
	}
	// log(a + s) or log(1 + a + a**2/(1+s)), s = sqrt(1 + a**2)
	p, e := twoProd(a, a)
	h, l := twoSum(1, p)
	h, l = root(h, l+e)
	if a > 0.5 {
		h, e = quickTwoSum(h, a)
		return math.Copysign(logOf(h, e+l), x)
	}
	h, l2 := quickTwoSum(h, 1)
	h, l = quo(p, e, h, l2+l)
	h, l2 = quickTwoSum(a, h)
	return math.Copysign(log1pOf(h, l+l2), x)
}

// Acosh returns the inverse hyperbolic cosine; +Inf for +Inf, NaN below 1 and for NaN.
func Acosh(x float64) float64 {
	switch {
	case !(x >= 1):
		return math.NaN()
	case x > 0x1p28:
		return logTwice(x)
	}
	// log(x + sqrt(x**2 - 1)) or log(1 + t + sqrt(2t + t**2)), t = x - 1
	if x > 2 {
		p, e := twoProd(x, x)
		h, l := quickTwoSum(p, -1)
		h, l = root(h, l+e)
		h, e = quickTwoSum(x, h)
		return logOf(h, e+l)
	}
	t := x - 1
	p, e := twoProd(t, t)
	h, l := twoSum(float64(2*t), p)
	h, l = root(h, l+e)
	h, e = twoSum(t, h)
	return log1pOf(h, e+l)
}

// logTwice returns log(2a) for a >= 2**28, for which it is asinh and acosh.
func logTwice(a float64) float64 {
	if a > math.MaxFloat64 {
		return a
	}
	if a > 0x1p1000 {
		h, l := logPair(a)
		h, e := twoSum(ln2Hi, h)
		return h + (e + (l + ln2Lo))
	}
	return logOf(2*a, 0)
}

// Atanh returns the inverse hyperbolic tangent; ±0 for ±0, ±Inf for ±1, NaN beyond and for NaN.
func Atanh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case a < 0x1p-28:
		return x
	case a == 1:
		return math.Copysign(math.Inf(1), x)
	case !(a < 1):
		return math.NaN()
	}
	// log(1 + 2a/(1-a)) / 2
	d, e := twoSum(1, -a)
	h, l := quo(2*a, 0, d, e)
	return math.Copysign(0.5*log1pOf(h, l), x)
}
