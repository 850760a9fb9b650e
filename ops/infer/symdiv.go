package infer

import (
	"math"
	"slices"
)

// FloorDiv is the largest integer not above x / y; unknown for a divisor of zero. A divisor that is an expression is taken to be
// other than zero.
func (x Int) FloorDiv(y Int) Int {
	if !x.known || !y.known || y.Is(0) {
		return Int{}
	}
	if d, ok := y.Const(); ok {
		if d == math.MinInt64 {
			return Int{}
		}
		if d < 0 {
			x, d = x.Neg(), -d
		}
		return x.floorDiv(d)
	}
	if q, ok := x.exactDiv(y); ok {
		return q
	}
	return quotient(opFloor, x, y)
}

// TruncDiv is x / y rounded towards zero, as ONNX divides integers. A divisor that is an expression is taken to be other than zero.
func (x Int) TruncDiv(y Int) Int {
	a, ok := x.Const()
	if b, ok2 := y.Const(); ok && ok2 {
		if b == 0 || a == math.MinInt64 && b == -1 {
			return Int{}
		}
		return Num(a / b)
	}
	if x.NonNeg() && y.NonNeg() {
		return x.FloorDiv(y)
	}
	if !x.known || !y.known || y.Is(0) {
		return Int{}
	}
	if q, ok := x.exactDiv(y); ok {
		return q
	}
	return quotient(opTrunc, x, y)
}

// CeilDiv is the smallest integer not below x / y, for y > 0.
func (x Int) CeilDiv(y Int) Int {
	if !x.known || !y.known {
		return Int{}
	}
	if q, ok := x.exactDiv(y); ok {
		return q
	}
	return x.Add(y).Sub(Num(1)).FloorDiv(y)
}

// Mod is x - y*floor(x/y).
func (x Int) Mod(y Int) Int { return x.Sub(y.Mul(x.FloorDiv(y))) }

// exactDiv divides if the terms of x are multiples of y, which has one term or is a number.
func (x Int) exactDiv(y Int) (Int, bool) {
	switch {
	case y.Same(x):
		return Num(1), true
	case y.Is(-1):
		n := x.Neg() // its overflow is seen
		return n, n.known
	}
	d := term{coef: y.c}
	switch {
	case len(y.terms) == 1 && y.c == 0:
		d = y.terms[0]
	case len(y.terms) != 0 || y.c == 0:
		return Int{}, false
	}
	if x.c%d.coef != 0 || x.c != 0 && len(d.atoms) > 0 {
		return Int{}, false
	}
	r := Num(x.c / d.coef)
	for _, t := range x.terms {
		rest, ok := withoutAtoms(t.atoms, d.atoms)
		if !ok || t.coef%d.coef != 0 {
			return Int{}, false
		}
		q := Int{known: true, terms: []term{{t.coef / d.coef, rest}}}
		if len(rest) == 0 {
			q = Num(t.coef / d.coef)
		}
		r = r.Add(q)
	}
	return r, r.known
}

// withoutAtoms takes the atoms of d out of a.
func withoutAtoms(a, d []*atom) ([]*atom, bool) {
	rest := slices.Clone(a)
	for _, p := range d {
		i := slices.IndexFunc(rest, func(q *atom) bool { return q.name == p.name })
		if i < 0 {
			return nil, false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return rest, true
}

// floorDiv divides by d > 0. Multiples of d leave the quotient; common factors are cancelled; a quotient of a quotient is one:
// floor((floor(a/m) + b)/n) = floor((a + b*m)/(m*n)).
func (x Int) floorDiv(d int64) Int {
	if d == 1 || !x.known {
		return x
	}
	whole, rest := Num(floor64(x.c, d)), Num(mod64(x.c, d))
	common := uint64(d)
	for _, t := range x.terms {
		if k := floor64(t.coef, d); k != 0 {
			whole = whole.Add(Int{known: true, terms: []term{{k, t.atoms}}})
		}
		if m := mod64(t.coef, d); m != 0 {
			rest = rest.Add(Int{known: true, terms: []term{{m, t.atoms}}})
			common = gcd(common, uint64(m))
		}
	}
	switch {
	case !rest.known:
		return Int{}
	case len(rest.terms) == 0:
		return whole
	}
	if g := int64(common); g > 1 {
		rest = rest.divideAll(g)
		d /= g
	}
	if d == 1 {
		return whole.Add(rest)
	}
	if len(rest.terms) == 1 && rest.terms[0].coef == 1 && len(rest.terms[0].atoms) == 1 {
		a := rest.terms[0].atoms[0]
		if inner, ok := a.y.Const(); ok && a.op == opFloor {
			if both, ok := mul64(inner, d); ok {
				return whole.Add(a.x.Add(Num(rest.c).Mul(a.y)).floorDiv(both))
			}
		}
	}
	return whole.Add(quotient(opFloor, rest, Num(d)))
}

// divideAll divides all coefficients by g, which divides them, and the constant down.
func (x Int) divideAll(g int64) Int {
	r := Int{known: true, c: floor64(x.c, g)}
	for _, t := range x.terms {
		r.terms = append(r.terms, term{t.coef / g, t.atoms})
	}
	return r
}

// quotient is an atom for a division that is not simplified.
func quotient(op atomOp, x, y Int) Int {
	name := "floor("
	if op == opTrunc {
		name = "trunc("
	}
	return newAtom(op, name+x.factor()+"/"+y.factor()+")", x, y, x.NonNeg() && y.NonNeg())
}

func floor64(a, d int64) int64 {
	q := a / d
	if a%d < 0 {
		q--
	}
	return q
}

func mod64(a, d int64) int64 { return a - d*floor64(a, d) }

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
