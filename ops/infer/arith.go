package infer

import (
	"github.com/onnxopt/onnxopt/ir"
)

// The functions of this file are the operators on two elements of a small content. Where both are integers or expressions the result is
// an expression, where both are numbers it is a number, otherwise it is unknown. Results are rounded by the caller (fit).

func arith(exact func(x, y Int) Int, approx func(x, y float64) float64) func(ir.DType, elem, elem) elem {
	return func(_ ir.DType, x, y elem) elem {
		if !x.isNum && !y.isNum {
			return elem{Int: exact(x.Int, y.Int)}
		}
		a, ok := x.value()
		b, ok2 := y.value()
		if !ok || !ok2 {
			return elem{}
		}
		return number(approx(a, b))
	}
}

var (
	addElem  = arith(Int.Add, func(x, y float64) float64 { return x + y })
	subElem  = arith(Int.Sub, func(x, y float64) float64 { return x - y })
	multiply = arith(Int.Mul, func(x, y float64) float64 { return x * y })
	maxElem  = arith(Int.Max, func(x, y float64) float64 { return max(x, y) }) // math.Max of NaN and infinity is infinity
	minElem  = arith(Int.Min, func(x, y float64) float64 { return min(x, y) })
)

// mulElem: the product of sizes is taken for one. A zero of floating point has the sign of the operands.
func mulElem(d ir.DType, x, y elem) elem {
	r := multiply(d, x, y)
	if d.IsFloat() && r.Is(0) && !r.isNum && !(x.NonNeg() && y.NonNeg()) {
		a, ok := x.value()
		b, ok2 := y.value()
		if !ok || !ok2 {
			return elem{}
		}
		return number(a * b)
	}
	r.size = x.size && y.size
	return r
}

// divElem truncates for integers; for floating point an expression divides only if nothing remains.
func divElem(d ir.DType, x, y elem) elem {
	if d.IsInt() {
		if x.isNum || y.isNum || y.Is(0) {
			return elem{}
		}
		return elem{Int: x.TruncDiv(y.Int)}
	}
	a, ok := x.value()
	b, ok2 := y.value()
	switch {
	case ok && ok2:
		return number(a / b)
	case x.isNum || y.isNum || !x.known || !y.known || y.Is(0):
		return elem{}
	}
	if q, exact := x.exactDiv(y.Int); exact {
		return elem{Int: q}
	}
	return elem{}
}

// inferMod knows elements with fmod=0 only.
func inferMod(c *call) {
	if c.int("fmod") != 0 {
		elementwise(nil)(c)
		return
	}
	elementwise(modElem)(c)
}

// modElem is the remainder with the divisor's sign, as Mod has it for integers with fmod=0.
func modElem(d ir.DType, x, y elem) elem {
	if !d.IsInt() || x.isNum || y.isNum || y.Is(0) {
		return elem{}
	}
	return elem{Int: x.Mod(y.Int)}
}

// powElem covers small integral powers of integers, and squares, which are rounded once like everything else.
func powElem(_ ir.DType, x, y elem) elem {
	n, ok := y.Const()
	switch {
	case !ok || y.isNum || n < 0 || n > 4:
		return elem{}
	case x.isNum && n == 2:
		return number(x.frac * x.frac)
	case x.isNum:
		return elem{}
	}
	r := Num(1)
	for range n {
		r = r.Mul(x.Int)
	}
	return elem{Int: r}
}

// truth is 1 or 0 if one of them surely holds.
func truth(yes, no bool) elem {
	switch {
	case yes:
		return integer(1)
	case no:
		return integer(0)
	}
	return elem{}
}

// comparison makes the rule of a comparison from what decides it for numbers and for expressions.
func comparison(nums func(x, y float64) bool, yes, no func(x, y Int) bool) func(ir.DType, elem, elem) elem {
	return func(_ ir.DType, x, y elem) elem {
		a, ok := x.value()
		b, ok2 := y.value()
		switch {
		case ok && ok2 && (x.isNum || y.isNum):
			return truth(nums(a, b), !nums(a, b))
		case x.isNum || y.isNum:
			return elem{}
		}
		return truth(yes(x.Int, y.Int), no(x.Int, y.Int))
	}
}

func less(x, y Int) bool        { return y.Sub(x).Positive() }
func lessOrEqual(x, y Int) bool { return y.Sub(x).NonNeg() }
func flip(f func(x, y Int) bool) func(x, y Int) bool {
	return func(x, y Int) bool { return f(y, x) }
}

var (
	equalElem          = comparison(func(x, y float64) bool { return x == y }, Int.Same, Int.Differs)
	lessElem           = comparison(func(x, y float64) bool { return x < y }, less, flip(lessOrEqual))
	lessOrEqualElem    = comparison(func(x, y float64) bool { return x <= y }, lessOrEqual, flip(less))
	greaterElem        = comparison(func(x, y float64) bool { return x > y }, flip(less), lessOrEqual)
	greaterOrEqualElem = comparison(func(x, y float64) bool { return x >= y }, flip(lessOrEqual), less)
)

func andElem(_ ir.DType, x, y elem) elem {
	return truth(x.Is(1) && y.Is(1), x.Is(0) || y.Is(0))
}

func orElem(_ ir.DType, x, y elem) elem {
	return truth(x.Is(1) || y.Is(1), x.Is(0) && y.Is(0))
}

func xorElem(_ ir.DType, x, y elem) elem {
	a, ok := x.Const()
	b, ok2 := y.Const()
	return truth(ok && ok2 && a != b, ok && ok2 && a == b)
}
