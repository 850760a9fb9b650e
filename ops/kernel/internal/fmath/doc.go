// Package fmath holds the elementary functions in float64 with the same result bits on every machine. The standard
// library's package math does not promise that: it has assembly for some functions on some architectures, and the compiler
// may fuse x*y + z into one rounding where the machine can. Here every product is rounded by an explicit conversion, which
// the language defines to prevent fusion, and only functions of package math are used that are exact (Sqrt, Floor, Modf,
// Frexp, Ldexp, Abs and the like).
//
// The files that carry the Go Authors' notice are those of package math of Go 1.26, which are themselves ports of FreeBSD's
// msun and of Cephes; see LICENSE. Errors are below 1 ulp of float64 but for Pow and the trigonometric functions of huge
// arguments (a few ulp), so that a result rounded to float32 is correct but for rare ties.
package fmath

import "math"

// The layout of a float64.
const (
	mask  = 0x7FF
	shift = 64 - 11 - 1
	bias  = 1023
)

// Sigmoid returns 1 / (1 + e**-x). It is NaN for NaN, 0 and 1 at the infinities, and does not overflow in between.
func Sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + Exp(-x))
	}
	e := Exp(x)
	return e / (1 + e)
}

// Softplus returns log(1 + e**x) without overflow.
func Softplus(x float64) float64 {
	if x > 0 {
		return x + Log1p(Exp(-x))
	}
	return Log1p(Exp(x))
}

// Gelu returns x/2 * (1 + erf(x/√2)).
func Gelu(x float64) float64 {
	if math.IsInf(x, -1) {
		return 0
	}
	return float64(0.5*x) * Erfc(-x/math.Sqrt2)
}

// GeluTanh returns the tanh approximation of Gelu.
func GeluTanh(x float64) float64 {
	if math.IsInf(x, -1) {
		return 0
	}
	const c = 0.7978845608028654 // √(2/π)
	u := float64(c * (x + float64(0.044715*float64(float64(x*x)*x))))
	return float64(0.5*x) * (1 + Tanh(u))
}
