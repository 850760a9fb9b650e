package fmath

import (
	"math"
	"testing"
)

var sink float64

// BenchmarkFunctions measures ours against the standard library where that has the function.
func BenchmarkFunctions(b *testing.B) {
	for _, f := range []struct {
		name      string
		ours, std func(float64) float64
		lo, hi    float64
	}{
		{"Exp", Exp, math.Exp, -20, 20},
		{"Expm1", Expm1, math.Expm1, -5, 5},
		{"Log", Log, math.Log, 0, 100},
		{"Log1p", Log1p, math.Log1p, -0.9, 10},
		{"Pow", func(x float64) float64 { return Pow(x, 2.3) }, func(x float64) float64 { return math.Pow(x, 2.3) }, 0, 10},
		{"Sin", Sin, math.Sin, -10, 10},
		{"SinHuge", Sin, math.Sin, 1e10, 1e20},
		{"Cos", Cos, math.Cos, -10, 10},
		{"Tan", Tan, math.Tan, -10, 10},
		{"Asin", Asin, math.Asin, -1, 1},
		{"Acos", Acos, math.Acos, -1, 1},
		{"Atan", Atan, math.Atan, -5, 5},
		{"Sinh", Sinh, math.Sinh, -5, 5},
		{"Cosh", Cosh, math.Cosh, -5, 5},
		{"Tanh", Tanh, math.Tanh, -3, 3},
		{"Asinh", Asinh, math.Asinh, -5, 5},
		{"Acosh", Acosh, math.Acosh, 1, 10},
		{"Atanh", Atanh, math.Atanh, -1, 1},
		{"Erf", Erf, math.Erf, -3, 3},
		{"Erfc", Erfc, math.Erfc, -3, 3},
		{"Sigmoid", Sigmoid, nil, -10, 10},
		{"Softplus", Softplus, nil, -10, 10},
		{"Gelu", Gelu, nil, -5, 5},
		{"GeluTanh", GeluTanh, nil, -5, 5},
	} {
		var xs [1024]float64
		for i := range xs {
			xs[i] = f.lo + (f.hi-f.lo)*math.Mod(float64(i)*math.Phi, 1)
		}
		measure := func(name string, g func(float64) float64) {
			b.Run(f.name+"/"+name, func(b *testing.B) {
				sum := 0.0
				for i := 0; b.Loop(); i++ {
					sum += g(xs[i%len(xs)])
				}
				sink = sum
			})
		}
		measure("ours", f.ours)
		if f.std != nil {
			measure("std", f.std)
		}
	}
}
