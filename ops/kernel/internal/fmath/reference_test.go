package fmath

import (
	"math"
	"math/big"
	"sync"
)

// The functions below are references of some 350 correct bits: power series in arithmetic of math/big, with argument
// reductions that lose no relative precision. They are written to be plainly right and are slow.

const refPrec = 420

func newFloat(prec uint) *big.Float         { return new(big.Float).SetPrec(prec) }
func num(x float64) *big.Float              { return newFloat(refPrec).SetFloat64(x) }
func add(x, y *big.Float) *big.Float        { return newFloat(max(x.Prec(), y.Prec())).Add(x, y) }
func sub(x, y *big.Float) *big.Float        { return newFloat(max(x.Prec(), y.Prec())).Sub(x, y) }
func mul(x, y *big.Float) *big.Float        { return newFloat(max(x.Prec(), y.Prec())).Mul(x, y) }
func div(x, y *big.Float) *big.Float        { return newFloat(max(x.Prec(), y.Prec())).Quo(x, y) }
func sqrt(x *big.Float) *big.Float          { return newFloat(x.Prec()).Sqrt(x) }
func neg(x *big.Float) *big.Float           { return newFloat(x.Prec()).Neg(x) }
func shift(x *big.Float, k int) *big.Float  { return newFloat(x.Prec()).SetMantExp(x, k) }
func divInt(x *big.Float, n int) *big.Float { return div(x, num(float64(n))) }
func small(x *big.Float, exponent int) bool { return x.Sign() == 0 || x.MantExp(nil) <= exponent }
func widen(x *big.Float, b uint) *big.Float { return newFloat(x.Prec() + b).Set(x) }
func round(x *big.Float) *big.Float         { return newFloat(refPrec).Set(x) }
func atLeast(x *big.Float, y float64) bool  { return x.Cmp(num(y)) >= 0 }
func reciprocal(x *big.Float) *big.Float    { return div(num(1), x) }
func onePlus(x *big.Float) *big.Float       { return add(num(1), x) }
func square(x *big.Float) *big.Float        { return mul(x, x) }
func negligible(term, sum *big.Float) bool  { return small(term, sum.MantExp(nil)-int(sum.Prec())-2) }
func series(first *big.Float, next func(n int, term *big.Float) *big.Float) *big.Float {
	sum, term := first, first
	for n := 1; term.Sign() != 0 && !negligible(term, sum); n++ {
		term = next(n, term)
		sum = add(sum, term)
	}
	return sum
}

// refExpm1 sums the Taylor series of a halved argument and doubles back by E(2x) = E(x) * (E(x) + 2).
func refExpm1(x *big.Float) *big.Float {
	halvings := 0
	for !small(x, -6) {
		x = shift(x, -1)
		halvings++
	}
	x = widen(x, uint(halvings))
	e := series(x, func(n int, term *big.Float) *big.Float { return divInt(mul(term, x), n+1) })
	for range halvings {
		e = mul(e, add(e, num(2)))
	}
	return e
}

func refExp(x *big.Float) *big.Float {
	if x.Sign() < 0 {
		return reciprocal(refExp(neg(x)))
	}
	return onePlus(refExpm1(widen(x, 64)))
}

// refAtanh is the series of the inverse hyperbolic tangent, for small arguments.
func refAtanh(y *big.Float) *big.Float {
	y2, power := square(y), y
	return series(y, func(n int, _ *big.Float) *big.Float {
		power = mul(power, y2)
		return divInt(power, 2*n+1)
	})
}

var ln2 = sync.OnceValue(func() *big.Float { return shift(refAtanh(div(num(1), num(3))), 1) })

func refLog(x *big.Float) *big.Float {
	m := newFloat(refPrec)
	e := x.MantExp(m)
	if !atLeast(m, 0.75) {
		m, e = shift(m, 1), e-1
	}
	return add(shift(refAtanh(div(sub(m, num(1)), onePlus(m))), 1), mul(ln2(), num(float64(e))))
}

func refLog1p(d *big.Float) *big.Float {
	if small(d, -1) {
		return shift(refAtanh(div(d, add(d, num(2)))), 1)
	}
	return refLog(onePlus(d))
}

// pi is by Machin's formula, precise enough to reduce every float64.
var pi = sync.OnceValue(func() *big.Float {
	arccot := func(n int) *big.Float {
		inv := newFloat(1600).Quo(num(1), num(float64(n)))
		power, n2 := inv, square(inv)
		return series(inv, func(k int, _ *big.Float) *big.Float {
			power = neg(mul(power, n2))
			return divInt(power, 2*k+1)
		})
	}
	return shift(sub(shift(arccot(5), 2), arccot(239)), 2)
})

// refReduce returns x - q*pi/2 with a result of at most pi/4, and q modulo 4.
func refReduce(x *big.Float) (*big.Float, int) {
	half := shift(pi(), -1)
	q, _ := add(div(x, half), num(math.Copysign(0.5, float64(x.Sign())))).Int(nil)
	r := sub(x, mul(newFloat(1600).SetInt(q), half))
	return round(r), int(new(big.Int).And(q, big.NewInt(3)).Int64())
}

func refSinCos(x *big.Float) (sin, cos *big.Float) {
	r, q := refReduce(x)
	r2 := square(r)
	alternate := func(offset int) func(n int, term *big.Float) *big.Float {
		return func(n int, term *big.Float) *big.Float {
			return neg(divInt(mul(term, r2), (2*n+offset)*(2*n+offset-1)))
		}
	}
	s, c := series(r, alternate(1)), series(num(1), alternate(0))
	for range q {
		s, c = c, neg(s)
	}
	return s, c
}

func refAtan(x *big.Float) *big.Float {
	if x.Sign() < 0 {
		return neg(refAtan(neg(x)))
	}
	if atLeast(x, 1.5) {
		return sub(shift(pi(), -1), refAtan(reciprocal(x)))
	}
	halvings := 0
	for ; !small(x, -4); halvings++ {
		x = div(x, onePlus(sqrt(onePlus(square(x)))))
	}
	x2, power := square(x), x
	return shift(series(x, func(n int, _ *big.Float) *big.Float {
		power = neg(mul(power, x2))
		return divInt(power, 2*n+1)
	}), halvings)
}

func refAsin(x *big.Float) *big.Float {
	c := sqrt(mul(onePlus(x), sub(num(1), x)))
	if c.Sign() == 0 {
		return shift(mul(pi(), x), -1)
	}
	return refAtan(div(x, c))
}

func refAcos(x *big.Float) *big.Float {
	if onePlus(x).Sign() == 0 {
		return pi()
	}
	return shift(refAtan(sqrt(div(sub(num(1), x), onePlus(x)))), 1)
}

func refAsinh(x *big.Float) *big.Float {
	if x.Sign() < 0 {
		return neg(refAsinh(neg(x)))
	}
	x2 := square(x)
	return refLog1p(add(x, div(x2, onePlus(sqrt(onePlus(x2))))))
}

func refAcosh(x *big.Float) *big.Float {
	t := sub(x, num(1))
	return refLog1p(add(t, sqrt(mul(t, add(t, num(2))))))
}

// refErf is exp(-x**2) * 2/sqrt(pi) * (x + 2x**3/3 + 4x**5/15 + ...), whose terms are of one sign.
func refErf(x *big.Float) *big.Float {
	x2 := square(x)
	double := shift(x2, 1)
	sum := series(x, func(n int, term *big.Float) *big.Float { return divInt(mul(term, double), 2*n+1) })
	root := sqrt(newFloat(x.Prec()).Set(pi()))
	return shift(div(mul(sum, refExp(neg(x2))), root), 1)
}

func refErfc(x *big.Float) *big.Float {
	if x.Sign() > 0 {
		f, _ := square(x).Float64()
		x = widen(x, uint(3*f)+64)
	}
	return sub(num(1), refErf(x))
}

// The rest are identities.

func refSinh(x *big.Float) *big.Float {
	if x.Sign() < 0 {
		return neg(refSinh(neg(x)))
	}
	e := refExpm1(x)
	return shift(add(e, div(e, onePlus(e))), -1)
}

func refCosh(x *big.Float) *big.Float {
	e := refExp(x)
	return shift(add(e, reciprocal(e)), -1)
}

func refTanh(x *big.Float) *big.Float {
	e := refExpm1(shift(x, 1))
	return div(e, add(e, num(2)))
}

func refTan(x *big.Float) *big.Float {
	s, c := refSinCos(x)
	return div(s, c)
}

func refSin(x *big.Float) *big.Float {
	s, _ := refSinCos(x)
	return s
}

func refCos(x *big.Float) *big.Float {
	_, c := refSinCos(x)
	return c
}

func refArcTanh(x *big.Float) *big.Float {
	return shift(refLog1p(div(shift(x, 1), sub(num(1), x))), -1)
}

func refSigmoid(x *big.Float) *big.Float  { return reciprocal(onePlus(refExp(neg(x)))) }
func refSoftplus(x *big.Float) *big.Float { return refLog1p(refExp(x)) }

func refGelu(x *big.Float) *big.Float {
	return shift(mul(x, refErfc(neg(div(x, sqrt(num(2)))))), -1)
}

func refPow(x, y *big.Float) *big.Float { return refExp(mul(y, refLog(x))) }
