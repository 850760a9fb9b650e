package infer

import (
	"slices"
	"strings"
)

// matmul gives result 0 the shape of the matrix product of operands a and b as numpy has it.
func (c *call) matmul(a, b int) {
	x, ok := c.dims(a)
	y, ok2 := c.dims(b)
	if !ok || !ok2 {
		return
	}
	if len(x) == 0 || len(y) == 0 {
		c.errorf("a scalar is no operand of a matrix product")
		return
	}
	rowVector, columnVector := len(x) == 1, len(y) == 1
	if rowVector {
		x = []Int{Num(1), x[0]}
	}
	if columnVector {
		y = []Int{y[0], Num(1)}
	}
	m, n := len(x), len(y)
	if _, ok := c.agree(x[m-1], y[n-2]); !ok {
		c.errorf("the matrices have inner sizes %s and %s", x[m-1], y[n-2])
		return
	}
	r, ok := c.broadcastShapes(x[:m-2], y[:n-2])
	if !ok {
		return
	}
	if !rowVector {
		r = append(r, x[m-2])
	}
	if !columnVector {
		r = append(r, y[n-1])
	}
	c.set(0, r)
}

func inferMatMul(c *call)        { c.matmul(0, 1) }
func inferQLinearMatMul(c *call) { c.matmul(0, 3) }

// inferGemm: [M, N] of A [M, K] and B [K, N], each transposed if its attribute says so.
func inferGemm(c *call) {
	if !c.rank(0, 2) || !c.rank(1, 2) {
		return
	}
	a, ok := c.dims(0)
	b, ok2 := c.dims(1)
	r := vector(2)
	inner := vector(2)
	if ok {
		r[0], inner[0] = a[0], a[1]
		if c.int("transA") != 0 {
			r[0], inner[0] = a[1], a[0]
		}
	}
	if ok2 {
		r[1], inner[1] = b[1], b[0]
		if c.int("transB") != 0 {
			r[1], inner[1] = b[0], b[1]
		}
	}
	if _, fits := c.agree(inner[0], inner[1]); !fits {
		c.errorf("the matrices have inner sizes %s and %s", inner[0], inner[1])
		return
	}
	if d, ok := c.dims(2); ok && c.has(2) {
		if s, fits := c.broadcastShapes(r, d); fits && len(s) > 2 {
			c.errorf("operand C has rank %d", len(d))
		}
	}
	c.set(0, r)
}

// inferDet takes the last two axes away.
func inferDet(c *call) {
	d, ok := c.dims(0)
	switch {
	case !ok:
	case len(d) < 2 || d[len(d)-1].Differs(d[len(d)-2]):
		c.errorf("the last two axes make no square matrix")
	default:
		c.set(0, slices.Clone(d[:len(d)-2]))
	}
}

// inferEinsum follows the equation: a letter is an axis, an ellipsis the broadcast of what is left.
func inferEinsum(c *call) {
	eq := strings.ReplaceAll(c.str("equation"), " ", "")
	left, right, explicit := strings.Cut(eq, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.in) {
		c.errorf("equation %q has %d terms for %d operands", eq, len(terms), len(c.in))
		return
	}
	e := einsum{sizes: map[rune]Int{}, count: map[rune]int{}}
	for i, t := range terms {
		d, ok := c.dims(i)
		if !ok || !c.einsumTerm(&e, t, d) {
			return
		}
	}
	if !explicit {
		right = e.implicit()
	}
	var r []Int
	before, after, dots := strings.Cut(right, "...")
	if !dots {
		before, after = right, ""
	}
	for _, l := range before {
		r = append(r, e.sizes[l])
	}
	if dots {
		r = append(r, e.rest...)
	}
	for _, l := range after {
		r = append(r, e.sizes[l])
	}
	if r == nil {
		r = []Int{}
	}
	c.set(0, r)
}

// einsum is what the terms of an equation have said so far.
type einsum struct {
	sizes map[rune]Int
	count map[rune]int
	rest  []Int
	dots  bool
}

// einsumTerm matches one operand with its term; false if they do not fit.
func (c *call) einsumTerm(e *einsum, term string, d []Int) bool {
	before, after, dots := strings.Cut(term, "...")
	n := len(before) + len(after)
	if dots && len(d) < n || !dots && len(d) != n {
		c.errorf("term %q of the equation does not fit an operand of rank %d", term, len(d))
		return false
	}
	letter := func(l rune, x Int) bool {
		e.count[l]++
		old, ok := e.sizes[l]
		if !ok || old.Is(1) {
			e.sizes[l] = x
			return true
		}
		if x.Is(1) { // repeated, whatever the other size is
			return true
		}
		z, fits := c.agree(old, x)
		if !fits {
			c.errorf("%c has sizes %s and %s", l, old, x)
			return false
		}
		if _, static := z.Const(); static {
			e.sizes[l] = z
		} else if !old.Same(x) { // either may be one, and then it is the other
			e.sizes[l] = Int{}
		}
		return true
	}
	for i, l := range before {
		if !letter(l, d[i]) {
			return false
		}
	}
	for i, l := range after {
		if !letter(l, d[len(d)-len(after)+i]) {
			return false
		}
	}
	if !dots {
		return true
	}
	e.dots = true
	r, ok := c.broadcastShapes(e.rest, d[len(before):len(d)-len(after)])
	e.rest = r
	return ok
}

// implicit is the result's term where the equation has none: the ellipsis, then the letters that occur once, sorted.
func (e *einsum) implicit() string {
	var once []rune
	for l, n := range e.count {
		if n == 1 {
			once = append(once, l)
		}
	}
	slices.Sort(once)
	if e.dots {
		return "..." + string(once)
	}
	return string(once)
}
