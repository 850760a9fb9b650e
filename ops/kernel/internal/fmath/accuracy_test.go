package fmath

import (
	"flag"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

var pointsPerFunction = flag.Int("points", 300, "random arguments per function of the accuracy tests")

// accuracy says what is promised of each function: the largest error in units in the last place over [lo, hi], outside of which
// results are constant, infinite or NaN.
var accuracy = []struct {
	name   string
	f      func(float64) float64
	ref    func(*big.Float) *big.Float
	lo, hi float64
	ulp    float64
}{
	{"Exp", Exp, refExp, -745.2, 709.79, 0.51},
	{"Expm1", Expm1, refExpm1, -60, 709.79, 0.51},
	{"Log", Log, refLog, 0x1p-1074, math.MaxFloat64, 0.51},
	{"Log1p", Log1p, refLog1p, -1 + 0x1p-53, math.MaxFloat64, 0.51},
	{"Sin", Sin, refSin, -math.MaxFloat64, math.MaxFloat64, 0.75},
	{"Cos", Cos, refCos, -math.MaxFloat64, math.MaxFloat64, 0.75},
	{"Tan", Tan, refTan, -math.MaxFloat64, math.MaxFloat64, 0.85},
	{"Asin", Asin, refAsin, -1, 1, 0.7},
	{"Acos", Acos, refAcos, -1, 1, 0.7},
	{"Atan", Atan, refAtan, -math.MaxFloat64, math.MaxFloat64, 0.6},
	{"Sinh", Sinh, refSinh, -710.4, 710.4, 0.65},
	{"Cosh", Cosh, refCosh, -710.4, 710.4, 0.51},
	{"Tanh", Tanh, refTanh, -25, 25, 0.65},
	{"Asinh", Asinh, refAsinh, -math.MaxFloat64, math.MaxFloat64, 0.51},
	{"Acosh", Acosh, refAcosh, 1, math.MaxFloat64, 0.51},
	{"Atanh", Atanh, refArcTanh, -1 + 0x1p-53, 1 - 0x1p-53, 0.51},
	{"Erf", Erf, refErf, -7, 7, 0.9},
	{"Erfc", Erfc, refErfc, -7, 27.3, 0.8},
	{"Sigmoid", Sigmoid, refSigmoid, -745.2, 60, 0.51},
	{"Softplus", Softplus, refSoftplus, -745.2, 710, 0.51},
	{"Gelu", Gelu, refGelu, -38.6, 10, 0.7},
}

// argument draws a number of [lo, hi]: evenly, of all magnitudes, near 1, near multiples of constants where branches and table
// entries meet, subnormal.
func argument(r *rand.Rand, lo, hi float64) float64 {
	for {
		var x float64
		switch r.IntN(8) {
		case 0:
			x = lo + float64((hi/2-lo/2)*2*r.Float64())
		case 1:
			x = math.Float64frombits(r.Uint64())
		case 2:
			x = 1 + math.Ldexp(r.Float64()-0.5, -r.IntN(52))
		case 3:
			x = float64(r.IntN(1<<r.IntN(24))) * math.Pi / 4
		case 4:
			x = (float64(r.IntN(2000)-1000) + 0.5) * math.Ln2 / 128
		case 5:
			x = math.Ldexp(float64(128+r.IntN(128)), r.IntN(20)-18)
		case 6:
			x = math.Float64frombits(r.Uint64() &^ (0x7ff << 52))
		default:
			x = math.Ldexp(r.Float64()-0.5, 8-r.IntN(40))
		}
		for range r.IntN(3) {
			x = math.Nextafter(x, math.Inf(r.IntN(2)*2-1))
		}
		if r.IntN(2) == 0 {
			x = -x
		}
		if x >= lo && x <= hi {
			return x
		}
	}
}

// ulps is the distance of y from the true value in units of the last place of the latter, gradual underflow included.
func ulps(y float64, want *big.Float) float64 {
	e := -1022
	if want.Sign() != 0 {
		e = max(e, want.MantExp(nil)-1)
	}
	if math.IsInf(y, 0) {
		return math.Inf(1)
	}
	d, _ := shift(sub(want, num(y)), 52-e).Float64()
	return math.Abs(d)
}

func TestAccuracy(t *testing.T) {
	for _, f := range accuracy {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			worst, at := 0.0, 0.0
			for range *pointsPerFunction {
				x := argument(r, f.lo, f.hi)
				if x == 0 {
					continue
				}
				want := f.ref(num(x))
				if y, _ := want.Float64(); math.IsInf(y, 0) && f.f(x) == y {
					continue
				}
				if u := ulps(f.f(x), want); !(u <= worst) {
					worst, at = u, x
				}
			}
			t.Logf("at most %.4f ulp, at %x", worst, at)
			if !(worst <= f.ulp) {
				t.Errorf("%s(%x) = %x is off by %.4f ulp, more than %g", f.name, at, f.f(at), worst, f.ulp)
			}
		})
	}
}

func TestPowAccuracy(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	worst, atX, atY := 0.0, 0.0, 0.0
	for i := range *pointsPerFunction {
		x := math.Abs(argument(r, 0x1p-1074, math.MaxFloat64))
		if x == 1 {
			continue
		}
		y := (r.Float64() - 0.5) * 1450 / math.Abs(math.Log(x)) // of any magnitude of the result
		if i%3 == 0 {
			y = float64(r.IntN(9)-4) / 2
		}
		want := refPow(num(x), num(y))
		if e := want.MantExp(nil); e > 1023 || e < -1080 {
			continue
		}
		if u := ulps(Pow(x, y), want); !(u <= worst) {
			worst, atX, atY = u, x, y
		}
	}
	t.Logf("at most %.4f ulp, at %x, %x", worst, atX, atY)
	if !(worst <= 0.53) {
		t.Errorf("Pow(%x, %x) = %x is off by %.4f ulp", atX, atY, Pow(atX, atY), worst)
	}
}
