package fmath

import "math"

// The exponential function is reduced to a table of powers of two and a short polynomial: Tang, "Table-driven implementation
// of the exponential function in IEEE floating-point arithmetic" (1989).

const (
	expOverflow  = 0x1.62e42fefa39efp+9 // the largest argument with a finite exponential
	expUnderflow = -746                 // below, exponentials round to 0
	roundShift   = 0x1.8p52             // adding it rounds to an integer, held by the low bits of the sum
)

// expTail returns (e**r - 1 - r) / r**2.
func expTail(r, r2 float64) float64 {
	return madd(r2, madd(r2, expC4, madd(r, expC3, expC2)), madd(r, expC1, expC0))
}

// Exp returns e**x; 0 for -Inf, +Inf for +Inf, NaN for NaN.
func Exp(x float64) float64 {
	if !(math.Abs(x) < 700) {
		return expEdge(x)
	}
	s := float64(x*expInvStep) + roundShift
	n := s - roundShift
	r := (x - float64(n*expStepHi)) - float64(n*expStepLo)
	r2 := float64(r * r)
	p := r + float64(r2*expTail(r, r2))
	bits := math.Float64bits(s)
	t := &expTable[bits&127]
	y := t.hi + (t.lo + float64((t.hi+t.lo)*p))
	return math.Float64frombits(math.Float64bits(y) + bits>>7<<52)
}

// expEdge is Exp of NaN and of arguments with results near or beyond the ends of the range.
func expEdge(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > expOverflow:
		return math.Inf(1)
	case x < expUnderflow:
		return 0
	}
	h, l, k := expPair(x, 0)
	return scale(h, l, k)
}

// expPair returns e**(xh+xl) as (h+l) * 2**k with h in [0.99, 2), for |xh| <= 800. The relative error is below 2**-65.
func expPair(xh, xl float64) (h, l float64, k int) {
	s := float64(xh*expInvStep) + roundShift
	n := s - roundShift
	bits := math.Float64bits(s)
	t := &expTable[bits&127]
	a := xh - float64(n*expStepHi) // exact
	b := xl - float64(n*expStepLo)
	r := a + b
	r2 := float64(r * r)
	a, b = quickTwoSum(a, b+float64(r2*expTail(r, r2)))
	p := head(a)
	b += a - p
	h, l = quickTwoSum(t.hi, float64(t.hi*p)) // the product is exact
	h, l = quickTwoSum(h, l+((t.lo+float64(t.lo*a))+float64(t.hi*b)))
	return h, l, int(int64(bits<<13) >> 20)
}

// expm1Pair returns e**x - 1 as a pair for |x| <= 100.
func expm1Pair(x float64) (h, l float64) {
	h, l, k := expPair(x, 0)
	f := power(k)
	h, e := twoSum(float64(h*f), -1)
	return quickTwoSum(h, e+float64(l*f))
}

// Expm1 returns e**x - 1; -1 for -Inf, +Inf for +Inf, ±0 for ±0, NaN for NaN.
func Expm1(x float64) float64 {
	switch {
	case x == 0:
		return x
	case math.Abs(x) < 0x1p-9:
		r2 := float64(x * x)
		return x + float64(r2*expTail(x, r2))
	case x < -40:
		return -1
	case !(x < 60):
		return Exp(x)
	}
	h, l := expm1Pair(x)
	return h + l
}

// Sigmoid returns 1 / (1 + e**-x); 0 and 1 at the infinities, NaN for NaN.
func Sigmoid(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 40:
		return 1
	case x < -50:
		return Exp(x)
	}
	h, l, k := expPair(-x, 0)
	f := power(k)
	d, e := twoSum(1, float64(h*f))
	h, l = quo(1, 0, d, e+float64(l*f))
	return h + l
}

// Softplus returns log(1 + e**x); 0 for -Inf, +Inf for +Inf, NaN for NaN.
func Softplus(x float64) float64 {
	switch {
	case x > 50:
		return x
	case !(x > -50):
		return Exp(x)
	}
	h, l, k := expPair(x, 0)
	f := power(k)
	return log1pOf(float64(h*f), float64(l*f))
}
