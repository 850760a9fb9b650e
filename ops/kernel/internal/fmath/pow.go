package fmath

import "math"

// Pow returns x**y with the special cases of C99 (annex F.9.4.4): 1 where x = 1 or y = ±0, NaN or not; 1 for (-1)**±Inf; an odd
// integer y keeps the sign of x; NaN for x < 0 finite and y finite and no integer.
func Pow(x, y float64) float64 {
	switch {
	case y == 0 || x == 1:
		return 1
	case x != x || y != y:
		return math.NaN()
	case math.IsInf(y, 0):
		switch a := math.Abs(x); {
		case a == 1:
			return 1
		case (a > 1) == (y > 0):
			return math.Inf(1)
		}
		return 0
	}
	integer, odd := parity(y)
	sign := 1.0
	if odd {
		sign = math.Copysign(1, x)
	}
	a := math.Abs(x)
	switch {
	case a == 0 || a > math.MaxFloat64:
		if (a == 0) == (y > 0) {
			return math.Copysign(0, sign)
		}
		return math.Copysign(math.Inf(1), sign)
	case x < 0 && !integer:
		return math.NaN()
	}
	return sign * powPositive(a, y)
}

// parity says whether a finite y is an integer and an odd one.
func parity(y float64) (integer, odd bool) {
	a := math.Abs(y)
	switch {
	case a >= 0x1p53:
		return true, false
	case a < 1:
		return a == 0, false
	}
	n := uint64(a)
	return float64(n) == a, float64(n) == a && n&1 != 0
}

// powPositive returns a**y for positive finite a and finite y.
func powPositive(a, y float64) float64 {
	lh, ll := logPair(a)
	switch p := float64(lh * y); {
	case p > 710:
		return math.Inf(1)
	case p < expUnderflow:
		return 0
	case math.Abs(p) < 0x1p-60:
		return 1 + p
	}
	h, l := twoProd(lh, y)
	h, l = quickTwoSum(h, l+float64(ll*y))
	h, l, k := expPair(h, l)
	return scale(h, l, k)
}
