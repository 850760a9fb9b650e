package fmath

import (
	"math"
	"math/rand/v2"
	"testing"
)

var (
	inf  = math.Inf(1)
	nan  = math.NaN()
	zero = math.Copysign(0, -1) // the negative one
)

// same compares bits, but takes one NaN for another.
func same(a, b float64) bool {
	return a != a && b != b || math.Float64bits(a) == math.Float64bits(b)
}

// TestSpecialCases is by annex F of C99.
func TestSpecialCases(t *testing.T) {
	const half, tiny = math.Pi / 2, math.SmallestNonzeroFloat64
	for _, c := range []struct {
		name string
		f    func(float64) float64
		want [][2]float64
	}{
		{"Exp", Exp, [][2]float64{{inf, inf}, {-inf, 0}, {0, 1}, {zero, 1}, {tiny, 1}, {-tiny, 1}, {709.79, inf}, {-745.14, 0}, {-745, tiny}, {math.MaxFloat64, inf}, {-math.MaxFloat64, 0}}},
		{"Expm1", Expm1, [][2]float64{{inf, inf}, {-inf, -1}, {0, 0}, {zero, zero}, {tiny, tiny}, {-tiny, -tiny}, {710, inf}, {-50, -1}}},
		{"Log", Log, [][2]float64{{inf, inf}, {-inf, nan}, {0, -inf}, {zero, -inf}, {1, 0}, {-1, nan}, {-tiny, nan}}},
		{"Log1p", Log1p, [][2]float64{{inf, inf}, {-inf, nan}, {0, 0}, {zero, zero}, {-1, -inf}, {-1.5, nan}, {tiny, tiny}, {-tiny, -tiny}}},
		{"Sin", Sin, [][2]float64{{inf, nan}, {-inf, nan}, {0, 0}, {zero, zero}, {tiny, tiny}}},
		{"Cos", Cos, [][2]float64{{inf, nan}, {-inf, nan}, {0, 1}, {zero, 1}, {tiny, 1}}},
		{"Tan", Tan, [][2]float64{{inf, nan}, {-inf, nan}, {0, 0}, {zero, zero}, {-tiny, -tiny}}},
		{"Asin", Asin, [][2]float64{{inf, nan}, {-inf, nan}, {0, 0}, {zero, zero}, {1, half}, {-1, -half}, {1 + 0x1p-52, nan}, {tiny, tiny}}},
		{"Acos", Acos, [][2]float64{{inf, nan}, {-inf, nan}, {0, half}, {zero, half}, {1, 0}, {-1, math.Pi}, {-1 - 0x1p-52, nan}}},
		{"Atan", Atan, [][2]float64{{inf, half}, {-inf, -half}, {0, 0}, {zero, zero}, {tiny, tiny}, {math.MaxFloat64, half}, {1, half / 2}}},
		{"Sinh", Sinh, [][2]float64{{inf, inf}, {-inf, -inf}, {0, 0}, {zero, zero}, {tiny, tiny}, {711, inf}, {-711, -inf}}},
		{"Cosh", Cosh, [][2]float64{{inf, inf}, {-inf, inf}, {0, 1}, {zero, 1}, {711, inf}, {-711, inf}}},
		{"Tanh", Tanh, [][2]float64{{inf, 1}, {-inf, -1}, {0, 0}, {zero, zero}, {-tiny, -tiny}, {30, 1}}},
		{"Asinh", Asinh, [][2]float64{{inf, inf}, {-inf, -inf}, {0, 0}, {zero, zero}, {tiny, tiny}}},
		{"Acosh", Acosh, [][2]float64{{inf, inf}, {-inf, nan}, {1, 0}, {1 - 0x1p-53, nan}, {0, nan}}},
		{"Atanh", Atanh, [][2]float64{{inf, nan}, {-inf, nan}, {0, 0}, {zero, zero}, {1, inf}, {-1, -inf}, {1 + 0x1p-52, nan}, {tiny, tiny}}},
		{"Erf", Erf, [][2]float64{{inf, 1}, {-inf, -1}, {0, 0}, {zero, zero}, {tiny, tiny}, {-7, -1}}},
		{"Erfc", Erfc, [][2]float64{{inf, 0}, {-inf, 2}, {0, 1}, {zero, 1}, {27.5, 0}, {-7, 2}, {math.MaxFloat64, 0}}},
		{"Sigmoid", Sigmoid, [][2]float64{{inf, 1}, {-inf, 0}, {0, 0.5}, {zero, 0.5}, {-746, 0}, {-745, tiny}, {math.MaxFloat64, 1}}},
		{"Softplus", Softplus, [][2]float64{{inf, inf}, {-inf, 0}, {0, math.Ln2}, {1000, 1000}, {-746, 0}, {-745, tiny}}},
		{"Gelu", Gelu, [][2]float64{{inf, inf}, {-inf, zero}, {0, 0}, {zero, zero}, {100, 100}, {-100, zero}, {math.MaxFloat64, math.MaxFloat64}}},
		{"GeluTanh", GeluTanh, [][2]float64{{inf, inf}, {-inf, zero}, {0, 0}, {zero, zero}, {100, 100}, {-1e200, zero}, {1e200, 1e200}}},
	} {
		for _, w := range append(c.want, [2]float64{nan, nan}) {
			if got := c.f(w[0]); !same(got, w[1]) {
				t.Errorf("%s(%v) = %v, want %v", c.name, w[0], got, w[1])
			}
		}
	}
}

func TestPowSpecialCases(t *testing.T) {
	for _, c := range [][3]float64{
		{nan, 0, 1}, {nan, zero, 1}, {inf, 0, 1}, {0, 0, 1}, {1, nan, 1}, {1, inf, 1}, {nan, 1, nan}, {2, nan, nan}, {-1, nan, nan},
		{-1, inf, 1}, {-1, -inf, 1}, {2, inf, inf}, {-2, inf, inf}, {0.5, inf, 0}, {-0.5, inf, 0}, {2, -inf, 0}, {0.5, -inf, inf},
		{0, inf, 0}, {zero, inf, 0}, {0, -inf, inf}, {inf, -inf, 0}, {-inf, inf, inf},
		{0, 3, 0}, {zero, 3, zero}, {zero, 2, 0}, {zero, 2.5, 0}, {0, -3, inf}, {zero, -3, -inf}, {zero, -2, inf}, {zero, -2.5, inf},
		{inf, 3, inf}, {inf, -3, 0}, {-inf, 3, -inf}, {-inf, 2, inf}, {-inf, 2.5, inf}, {-inf, -3, zero}, {-inf, -2, 0},
		{-8, 1.0 / 3, nan}, {-2, 0x1p60, inf}, {-2, 3, -8}, {-2, -2, 0.25}, {-3, 5, -243}, {-1, 0x1p53, 1}, {-1, 0x1p53 - 1, -1},
		{2, 1023, 0x1p1023}, {2, 1024, inf}, {2, -1074, 0x1p-1074}, {2, -1075, 0}, {2, -1076, 0}, {0x1p-1074, 1, 0x1p-1074}, {10, 22, 1e22},
		{math.MaxFloat64, 1, math.MaxFloat64}, {-math.MaxFloat64, 3, -inf}, {0x1p-1074, -1, inf}, {2, 0x1p-1074, 1},
		{math.Nextafter(1, 0), math.MaxFloat64, 0}, {math.Nextafter(1, 2), math.MaxFloat64, inf}, {5, 0.5, math.Sqrt(5)},
	} {
		if got := Pow(c[0], c[1]); !same(got, c[2]) {
			t.Errorf("Pow(%v, %v) = %v, want %v", c[0], c[1], got, c[2])
		}
	}
}

// TestSymmetry: odd and even functions are so to the bit.
func TestSymmetry(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	odd := []func(float64) float64{Sin, Tan, Asin, Atan, Sinh, Tanh, Asinh, Atanh, Erf}
	for range 20000 {
		x := argument(r, -math.MaxFloat64, math.MaxFloat64)
		for i, f := range odd {
			if a, b := f(x), f(-x); !same(a, -b) {
				t.Errorf("odd function %d: %v and %v at %x", i, a, b, x)
			}
		}
		for i, f := range []func(float64) float64{Cos, Cosh} {
			if a, b := f(x), f(-x); !same(a, b) {
				t.Errorf("even function %d: %v and %v at %x", i, a, b, x)
			}
		}
	}
}
