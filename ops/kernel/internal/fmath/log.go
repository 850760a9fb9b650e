package fmath

import "math"

// The logarithm is reduced by a table of rough reciprocals and their logarithms, so that a polynomial of a small argument
// remains: Tang, "Table-driven implementation of the logarithm function in IEEE floating-point arithmetic" (1990). The
// reciprocals have 12 bits and thus the reduced argument is exact in two parts.

// logReduce returns k, r and an entry t of the table with (xh+xl) * 2**-k * t.inv = 1 + (rh+rl), |r| <= 1/128, for normal xh > 0.
func logReduce(xh, xl float64) (k, rh, rl float64, t *struct{ inv, hi, lo float64 }) {
	bits := math.Float64bits(xh)
	d := bits - logFirst
	e := d &^ (1<<52 - 1) // the exponent in place
	t = &logTable[d>>45&127]
	m := math.Float64frombits(bits - e)
	mh := head(m)
	rl = float64((m - mh) * t.inv)
	if xl != 0 {
		rl += float64(float64(xl*math.Float64frombits(1023<<52-e)) * t.inv)
	}
	rh, rl = twoSum(float64(mh*t.inv)-1, rl)
	return float64(int64(d) >> 52), rh, rl, t
}

// logTail returns (log(1+r) - r + r**2/2) / r**3.
func logTail(r, r2 float64) float64 {
	return madd(r2, madd(r2, madd(r2, logC6, madd(r, logC5, logC4)), madd(r, logC3, logC2)), madd(r, logC1, logC0))
}

// logOf returns log(xh+xl) for positive finite xh; xl = 0 if xh is subnormal.
func logOf(xh, xl float64) float64 {
	shift := 0.0
	if xh < 0x1p-1022 {
		xh, shift = xh*0x1p54, 54
	}
	k, r, rl, t := logReduce(xh, xl)
	k -= shift
	h, l := quickTwoSum(float64(k*ln2Hi)+t.hi, r)
	r2 := float64(r * r)
	return h + (float64(r2*madd(r, logTail(r, r2), -0.5)) + (l + (float64(k*ln2Lo) + (t.lo + rl))))
}

// logPair returns log(x) as a pair of relative error below 2**-65, for positive finite x.
func logPair(x float64) (h, l float64) {
	shift := 0.0
	if x < 0x1p-1022 {
		x, shift = x*0x1p54, 54
	}
	k, r, rl, t := logReduce(x, 0)
	k -= shift
	// r**2/2 in two parts, the first exact.
	a := head(r)
	b := float64(0.5 * float64((r-a)*(r+a)))
	a = float64(0.5 * float64(a*a))
	h, e1 := quickTwoSum(float64(k*ln2Hi)+t.hi, r)
	h, e2 := quickTwoSum(h, -a)
	r2 := float64(r * r)
	l = float64(float64(r2*r)*logTail(r, r2)) - b + (float64(k*ln2Lo) + (t.lo + float64(rl*(1-r))))
	return quickTwoSum(h, e2+(e1+l))
}

// Log returns the natural logarithm; -Inf for ±0, +Inf for +Inf, NaN below 0 and for NaN.
func Log(x float64) float64 {
	switch {
	case x > 0 && x <= math.MaxFloat64:
		return logOf(x, 0)
	case x == 0:
		return math.Inf(-1)
	case x < 0:
		return math.NaN()
	}
	return x
}

// log1pOf returns log(1 + (xh+xl)) for finite xh > -1.
func log1pOf(xh, xl float64) float64 {
	if math.Abs(xh) <= 0x1p-8 {
		r2 := float64(xh * xh)
		return xh + (float64(r2*madd(xh, logTail(xh, r2), -0.5)) + float64(xl*(1-xh)))
	}
	h, l := twoSum(1, xh)
	return logOf(h, l+xl)
}

// Log1p returns log(1 + x), also where 1 + x would round; -Inf for -1, +Inf for +Inf, NaN below -1 and for NaN.
func Log1p(x float64) float64 {
	switch {
	case math.Abs(x) < 0x1p-54:
		return x
	case x > -1 && x < 0x1p54:
		return log1pOf(x, 0)
	case x > -1 && x <= math.MaxFloat64:
		return logOf(x, 0)
	case x == -1:
		return math.Inf(-1)
	case x < -1:
		return math.NaN()
	}
	return x
}
