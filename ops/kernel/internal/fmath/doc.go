// Package fmath holds the elementary functions in float64 with the same result bits on every machine. The standard
// library's package math does not promise that: it has assembly for some functions on some architectures, and the compiler
// may fuse x*y + z into one rounding where the machine can. Here every product is rounded by an explicit conversion, which
// the language defines to prevent fusion, and only functions of package math are used that are exact or correctly rounded
// (Abs, Copysign, Sqrt and the conversions from and to bits).
//
// Errors are below 1 ulp of float64 everywhere, subnormal results included; accuracy_test.go says how large they are for each
// function. Odd functions are odd and even ones even to the bit. Special cases are those of C99, annex F.
//
// The general plan is that of Muller, "Elementary Functions" (2016): reduce the argument, evaluate a minimax polynomial there,
// and put the result together from a large exact part and a small part whose rounding does not matter. Polynomials and tables
// are in tables.go, which _gen/gen.py computes.
package fmath
