package infer

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Int is an integer known as an expression: a sum of products of atoms with integer coefficients, in a canonical order, so that equal
// expressions are equal term by term. Atoms are sizes (named in the model, or met and given a private name), floor(e/d), max(e, 0)
// and quotients that are not simplified. The zero Int is unknown. Arithmetic that overflows or grows too large gives unknown.
type Int struct {
	known bool
	c     int64
	terms []term // sorted, coefficients not zero
}

// term is coef times the product of atoms, which are sorted by name.
type term struct {
	coef  int64
	atoms []*atom
}

// atom is an indivisible part of an expression, identified by its name.
type atom struct {
	name    string
	symbol  string // the model's own name where the atom is one
	private bool   // it is, or contains, a size that the model has no name for
	nonneg  bool
	op      atomOp
	x, y    Int // what op is applied to
}

// atomOp is what an atom is a function of.
type atomOp uint8

const (
	opSize      atomOp = iota // none: a size
	opFloor                   // floor(x/y)
	opTrunc                   // x/y rounded towards zero
	opPositive                // max(x, 0)
	opBroadcast               // the size that x and y broadcast to
)

// Bounds on what is kept as an expression.
const (
	maxTerms  = 12
	maxDegree = 8
	maxLength = 160
)

// Num is the constant n.
func Num(n int64) Int { return Int{known: true, c: n} }

// Sym is the size that the model calls name.
func Sym(name string) Int {
	n := name
	if !identifier(name) {
		n = "'" + strings.ReplaceAll(name, "'", "''") + "'"
	}
	return atomInt(&atom{name: n, symbol: name, nonneg: true})
}

func identifier(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

func atomInt(a *atom) Int { return Int{known: true, terms: []term{{1, []*atom{a}}}} }

// IsKnown reports whether anything is known: x is a constant or an expression.
func (x Int) IsKnown() bool { return x.known }

// Const returns the number if x is a constant.
func (x Int) Const() (int64, bool) { return x.c, x.known && len(x.terms) == 0 }

// Is reports whether x is the constant n.
func (x Int) Is(n int64) bool { return x.known && len(x.terms) == 0 && x.c == n }

// Same reports whether x and y are surely equal.
func (x Int) Same(y Int) bool {
	return x.known && y.known && x.c == y.c && slices.EqualFunc(x.terms, y.terms, func(s, t term) bool {
		return s.coef == t.coef && compareAtoms(s.atoms, t.atoms) == 0
	})
}

// Differs reports whether x and y are surely different.
func (x Int) Differs(y Int) bool {
	d := x.Sub(y)
	return d.Positive() || d.Neg().Positive()
}

// NonNeg reports whether x is surely not negative: sizes are not, and neither is the smaller of two that are not.
func (x Int) NonNeg() bool { return x.nonNeg(maxNested) }

// maxNested is the largest number of minima within each other that are looked into.
const maxNested = 3

func (x Int) nonNeg(depth int) bool {
	if !x.known {
		return false
	}
	plain := x.c >= 0
	for _, t := range x.terms {
		if t.coef < 0 && depth > 0 {
			if a, b, ok := x.minimumBy(t); ok && a.nonNeg(depth-1) && b.nonNeg(depth-1) {
				return true
			}
		}
		plain = plain && t.coef >= 0 && !slices.ContainsFunc(t.atoms, func(a *atom) bool { return !a.nonneg })
	}
	return plain
}

// minimumBy is x as the smaller of a and b where its term t makes it one: a - max(a - b, 0).
func (x Int) minimumBy(t term) (a, b Int, ok bool) {
	if t.coef != -1 || len(t.atoms) != 1 || t.atoms[0].op != opPositive {
		return Int{}, Int{}, false
	}
	a = x.Add(atomInt(t.atoms[0]))
	b = a.Sub(t.atoms[0].x)
	return a, b, a.known && b.known
}

// capped reports whether x is the smaller of y and a number above 1. Where x and y broadcast, they are then equal: if x is 1, y is.
func (x Int) capped(y Int) bool {
	for _, t := range x.terms {
		a, b, ok := x.minimumBy(t)
		if n, number := b.Const(); ok && number && n > 1 && a.Same(y) {
			return true
		}
		if n, number := a.Const(); ok && number && n > 1 && b.Same(y) {
			return true
		}
	}
	return false
}

// Positive reports whether x is surely greater than zero.
func (x Int) Positive() bool { return x.Sub(Num(1)).NonNeg() }

// least is a lower bound of x where every size is at least one; 0 if none above that is seen.
func (x Int) least() int64 {
	if !x.NonNeg() {
		return 0
	}
	r := x.c
	for _, t := range x.terms {
		p, ok := t.coef, true
		for _, a := range t.atoms {
			p, ok = mulOK(p, a.least(), ok)
		}
		if sum, fits := add64(r, p); ok && fits {
			r = sum
		}
	}
	return r
}

func (a *atom) least() int64 {
	switch a.op {
	case opSize:
		return 1
	case opFloor, opTrunc:
		if d, ok := a.y.Const(); ok && d > 0 {
			return a.x.least() / d
		}
	case opBroadcast:
		return min(a.x.least(), a.y.least())
	}
	return 0
}

func compareAtoms(a, b []*atom) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return -c // higher degrees first, as polynomials are written
	}
	return slices.CompareFunc(a, b, func(p, q *atom) int {
		if p == q {
			return 0
		}
		return strings.Compare(p.name, q.name)
	})
}

// Add is x + y.
func (x Int) Add(y Int) Int { return x.addScaled(y, 1) }

// Sub is x - y.
func (x Int) Sub(y Int) Int { return x.addScaled(y, -1) }

// Neg is -x.
func (x Int) Neg() Int { return Num(0).addScaled(x, -1) }

// addScaled is x + k*y.
func (x Int) addScaled(y Int, k int64) Int {
	if !x.known || !y.known {
		return Int{}
	}
	p, ok := mul64(y.c, k)
	if !ok {
		return Int{}
	}
	r := Int{known: true}
	if r.c, ok = add64(x.c, p); !ok {
		return Int{}
	}
	i, j := 0, 0
	for i < len(x.terms) || j < len(y.terms) {
		c := 0
		switch {
		case i == len(x.terms):
			c = 1
		case j == len(y.terms):
			c = -1
		default:
			c = compareAtoms(x.terms[i].atoms, y.terms[j].atoms)
		}
		var t term
		if c <= 0 {
			t = x.terms[i]
			i++
		}
		if c >= 0 {
			s := y.terms[j]
			j++
			p, ok := mul64(s.coef, k)
			if ok {
				t.coef, ok = add64(t.coef, p)
			}
			if !ok {
				return Int{}
			}
			t.atoms = s.atoms
		}
		if t.coef != 0 {
			r.terms = append(r.terms, t)
		}
	}
	if len(r.terms) > maxTerms {
		return Int{}
	}
	return r
}

// Mul is x * y.
func (x Int) Mul(y Int) Int {
	if x.Is(0) || y.Is(0) {
		return Num(0)
	}
	if !x.known || !y.known {
		return Int{}
	}
	r := Num(0).addScaled(x, y.c)
	for _, t := range y.terms {
		r = r.Add(x.mulTerm(t))
	}
	return r
}

// mulTerm is x times one term.
func (x Int) mulTerm(t term) Int {
	r := Int{known: true}
	add := func(coef int64, atoms []*atom) bool {
		k, ok := mul64(coef, t.coef)
		if !ok || len(atoms)+len(t.atoms) > maxDegree {
			return false
		}
		all := append(slices.Clip(atoms), t.atoms...)
		slices.SortFunc(all, func(p, q *atom) int { return strings.Compare(p.name, q.name) })
		r = r.Add(Int{known: true, terms: []term{{k, all}}})
		return r.known
	}
	for _, s := range x.terms {
		if !add(s.coef, s.atoms) {
			return Int{}
		}
	}
	if x.c != 0 && !add(x.c, nil) {
		return Int{}
	}
	return r
}

// broadcast is an atom for the size that x and y broadcast to, of which nothing more is known.
func broadcast(x, y Int) Int {
	switch {
	case x.broadcastOf(y) || y.capped(x):
		return x
	case y.broadcastOf(x) || x.capped(y):
		return y
	}
	if x.String() > y.String() {
		x, y = y, x
	}
	return newAtom(opBroadcast, "broadcast("+x.String()+", "+y.String()+")", x, y, true)
}

// broadcastOf reports whether x is what y, among others, broadcasts to.
func (x Int) broadcastOf(y Int) bool {
	a := x.lone()
	return a != nil && a.op == opBroadcast && (a.x.Same(y) || a.y.Same(y) || a.x.broadcastOf(y) || a.y.broadcastOf(y))
}

func newAtom(op atomOp, name string, x, y Int, nonneg bool) Int {
	return atomInt(&atom{name: name, private: x.private() || y.private(), nonneg: nonneg, op: op, x: x, y: y})
}

// Max is the larger of x and y. All maxima and minima are written with max(e, 0), so that those of one pair cancel.
func (x Int) Max(y Int) Int { return y.Add(x.Sub(y).positivePart()) }

// Min is the smaller of x and y.
func (x Int) Min(y Int) Int { return x.Sub(x.Sub(y).positivePart()) }

// positivePart is max(x, 0). Of x and -x the one whose first coefficient is positive makes the atom.
func (x Int) positivePart() Int {
	switch n := x.Neg(); {
	case !x.known || !n.known:
		return Int{}
	case x.NonNeg():
		return x
	case x.nonPositive(2):
		return Num(0)
	case n.nonPositive(2):
		return x
	case len(x.terms) > 0 && x.terms[0].coef < 0:
		return x.Add(n.positivePart())
	}
	return newAtom(opPositive, "max("+x.String()+", 0)", x, Num(0), true)
}

// IsNamed reports whether x is known, and made of numbers and sizes that the model has names for.
func (x Int) IsNamed() bool { return x.known && !x.private() }

// nonPositive reports whether x is surely not greater than zero. max(e, 0) in it is taken as either of the two, at most depth times.
func (x Int) nonPositive(depth int) bool {
	if x.Neg().NonNeg() {
		return true
	}
	for i, t := range x.terms {
		if depth == 0 || t.coef != 1 || len(t.atoms) != 1 || t.atoms[0].op != opPositive {
			continue
		}
		rest := Int{known: true, c: x.c, terms: slices.Delete(slices.Clone(x.terms), i, i+1)}
		if rest.nonPositive(depth-1) && rest.Add(t.atoms[0].x).nonPositive(depth-1) {
			return true
		}
	}
	return false
}

// private reports whether x contains a size that the model has no name for.
func (x Int) private() bool {
	for _, t := range x.terms {
		if slices.ContainsFunc(t.atoms, func(a *atom) bool { return a.private }) {
			return true
		}
	}
	return false
}

// lone is the atom that x is, nil if x is more than one.
func (x Int) lone() *atom {
	if x.known && x.c == 0 && len(x.terms) == 1 && x.terms[0].coef == 1 && len(x.terms[0].atoms) == 1 {
		return x.terms[0].atoms[0]
	}
	return nil
}

// factor is String, in parentheses where the expression is a sum.
func (x Int) factor() string {
	if s := x.String(); strings.Contains(s, " ") && x.lone() == nil {
		return "(" + s + ")"
	} else {
		return s
	}
}

// String is the canonical spelling, "?" if unknown: "2*H*W + N - 3".
func (x Int) String() string {
	if !x.known {
		return "?"
	}
	if len(x.terms) == 0 {
		return strconv.FormatInt(x.c, 10)
	}
	var b strings.Builder
	for i, t := range x.terms {
		writeSign(&b, i == 0, t.coef < 0)
		if t.coef != 1 && t.coef != -1 {
			b.WriteString(strings.TrimPrefix(strconv.FormatInt(t.coef, 10), "-"))
			b.WriteByte('*')
		}
		for j, a := range t.atoms {
			if j > 0 {
				b.WriteByte('*')
			}
			b.WriteString(a.name)
		}
	}
	if x.c != 0 {
		writeSign(&b, false, x.c < 0)
		b.WriteString(strings.TrimPrefix(strconv.FormatInt(x.c, 10), "-"))
	}
	return b.String()
}

func writeSign(b *strings.Builder, first, negative bool) {
	switch {
	case first && negative:
		b.WriteByte('-')
	case negative:
		b.WriteString(" - ")
	case !first:
		b.WriteString(" + ")
	}
}

// tooLong reports whether x is too large to be kept.
func (x Int) tooLong() bool {
	n := 0
	for _, t := range x.terms {
		for _, a := range t.atoms {
			n += len(a.name) + 3
		}
	}
	return n > maxLength
}

// Eval is the value of x where each named size has the given one; ok is false if a name is not given, x contains a size without a name, or
// the value overflows.
func (x Int) Eval(sizes map[string]int64) (v int64, ok bool) {
	if !x.known {
		return 0, false
	}
	v = x.c
	for _, t := range x.terms {
		p := t.coef
		for _, a := range t.atoms {
			f, ok := a.eval(sizes)
			if p, ok = mulOK(p, f, ok); !ok {
				return 0, false
			}
		}
		if v, ok = add64(v, p); !ok {
			return 0, false
		}
	}
	return v, true
}

func (a *atom) eval(sizes map[string]int64) (v int64, ok bool) {
	if a.op == opSize {
		v, ok = sizes[a.symbol]
		return v, ok && a.symbol != ""
	}
	x, ok := a.x.Eval(sizes)
	y, ok2 := a.y.Eval(sizes)
	if !ok || !ok2 {
		return 0, false
	}
	switch a.op {
	case opFloor:
		v, ok = Num(x).FloorDiv(Num(y)).Const()
	case opTrunc:
		v, ok = Num(x).TruncDiv(Num(y)).Const()
	case opPositive:
		v = max(x, 0)
	case opBroadcast:
		if v = x; x == 1 {
			v = y
		}
	}
	return v, ok
}

func mulOK(a, b int64, ok bool) (int64, bool) {
	p, fits := mul64(a, b)
	return p, ok && fits
}

func add64(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

func mul64(a, b int64) (int64, bool) {
	if a == math.MinInt64 || b == math.MinInt64 {
		return 0, a == 0 || b == 0
	}
	hi, lo := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
	return a * b, hi == 0 && lo <= math.MaxInt64
}
