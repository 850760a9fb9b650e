package infer

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// inferShape: the dimensions of operand 0, from 15 on those from start to end.
func inferShape(c *call) {
	d, ok := c.dims(0)
	if !ok {
		c.set(0, vector(1))
		return
	}
	bound := func(v int64) int {
		if v < 0 {
			v += int64(len(d))
		}
		return int(min(max(v, 0), int64(len(d))))
	}
	from, to := 0, len(d)
	if c.hasAttr("start") {
		from = bound(c.int("start"))
	}
	if c.hasAttr("end") {
		to = bound(c.int("end"))
	}
	d = d[from:max(from, to)]
	c.set(0, []Int{Num(int64(len(d)))})
	c.setData(0, elems(d))
}

func elems(s []Int) []elem {
	r := make([]elem, len(s))
	for i, x := range s {
		r[i] = elem{Int: x, size: true}
	}
	return r
}

// inferSize: the number of elements, a scalar.
func inferSize(c *call) {
	c.set(0, []Int{})
	if n := c.arg(0).count(); n.known {
		c.setData(0, []elem{{Int: n, size: true}})
	}
}

// inferReshape: an entry 0 copies the operand's dimension unless allowzero is set, and one entry -1 takes what is left.
func inferReshape(c *call) {
	want := c.data(1)
	if c.since() < 5 {
		for _, v := range c.attrInts("shape") {
			want = append(want, integer(v))
		}
	} else if want == nil {
		if n, ok := c.countOf(1).Const(); ok && n <= maxData {
			c.set(0, vector(int(n)))
		}
		return
	}
	d, ranked := c.dims(0)
	r := make([]Int, len(want))
	rest, vague, empty := -1, false, ranked && product(d).Is(0)
	finds := slices.ContainsFunc(want, func(w elem) bool { return w.Is(-1) })
	for i, w := range want {
		switch n, number := w.Const(); {
		case w.Is(0) && c.int("allowzero") == 0:
			if ranked && i < len(d) {
				r[i] = d[i]
			} else if ranked {
				c.errorf("entry %d of the shape is 0, but the operand has rank %d", i, len(d))
				return
			}
		case w.Is(-1):
			if rest >= 0 {
				c.errorf("the shape has more than one entry -1")
				return
			}
			rest = i
		case number && n < 0:
			c.errorf("entry %d of the shape is %d", i, n)
			return
		default:
			// An entry that may be negative may be -1, which means something else. One that is 0 copies a dimension: that is another size
			// only where the operand is empty for a second reason, or the Reshape would fail: unless an entry -1 makes good for it. Where
			// the operand is always empty it is not relied upon, nor where it is a number that would be copied; two sizes that are both 0
			// are not thought of, since nearly every Reshape of two sizes would be unknown.
			switch zero := c.int("allowzero") == 0 && !w.Positive(); {
			case !w.size && w.least() <= 0:
			case zero && empty && !(i < len(d) && multiple(d[i], w.Int)):
				vague = true
			case zero && finds && i < len(d) && d[i].Positive():
				vague = true
			default:
				r[i] = w.Int
			}
		}
	}
	if ranked && !vague {
		c.reshapeRest(r, rest, d)
	}
	c.set(0, r)
	c.keepData()
}

// multiple reports whether x is surely 0 where y is.
func multiple(x, y Int) bool {
	if x.Same(y) || x.Is(0) {
		return true
	}
	if len(y.terms) == 1 && y.c == 0 { // its factor is no matter
		y = Int{known: true, terms: []term{{1, y.terms[0].atoms}}}
	}
	_, ok := x.exactDiv(y)
	return ok
}

// mayVanish reports whether x is an expression that is 0 for some sizes that are not: that of a slice that begins behind the end, for instance.
func (x Int) mayVanish() bool {
	return x.known && !x.Positive() && slices.ContainsFunc(x.terms, func(t term) bool {
		return slices.ContainsFunc(t.atoms, func(a *atom) bool { return a.op != opSize })
	})
}

// reshapeRest finds the entry that is left from the number of elements: entry rest if there is one, else the only unknown one.
func (c *call) reshapeRest(r []Int, rest int, d []Int) {
	total := product(d)
	unknown := -1
	others := Num(1)
	for i, x := range r {
		switch {
		case i == rest:
		case !x.known && unknown >= 0:
			return
		case !x.known:
			unknown = i
		default:
			others = others.Mul(x)
		}
	}
	if rest >= 0 && unknown >= 0 || !others.known {
		return
	}
	if rest < 0 {
		if rest = unknown; slices.ContainsFunc(slices.Concat(d, r), Int.mayVanish) {
			return // any size is right for an entry that is no -1 where there are no elements
		}
	}
	if rest < 0 {
		if total.Differs(others) {
			c.errorf("%s elements cannot have a shape of %s", total, others)
		}
		return
	}
	left, right := cancel(d, r, rest)
	if n, ok := right.Const(); ok && n == 0 {
		return
	}
	if q, ok := left.exactDiv(right); ok && left.known && right.known {
		r[rest] = q
		return
	}
	a, ok := left.Const()
	b, ok2 := right.Const()
	if ok && ok2 && a%b != 0 {
		c.errorf("%s elements cannot be divided by %s", total, others)
		return
	}
	r[rest] = left.FloorDiv(right)
}

// cancel divides the product of d by the product of r without entry rest, leaving out what is the same on both sides: a size that is
// unknown or an expression need not be multiplied out. An expression is taken not to be zero, as everywhere in reshaping.
func cancel(d, r []Int, rest int) (left, right Int) {
	used := make([]bool, len(d))
	right = Num(1)
	for i, x := range r {
		if i == rest {
			continue
		}
		j := -1
		if _, number := x.Const(); !number {
			for k, y := range d {
				if !used[k] && y.Same(x) {
					j = k
					break
				}
			}
		}
		if j >= 0 {
			used[j] = true
		} else {
			right = right.Mul(x)
		}
	}
	left = Num(1)
	for k, y := range d {
		if !used[k] {
			left = left.Mul(y)
		}
	}
	return left, right
}

// inferFlatten: [product of the dimensions before axis, product of the rest].
func inferFlatten(c *call) {
	d, ok := c.dims(0)
	if !ok {
		c.set(0, vector(2))
		return
	}
	axis := c.int("axis")
	if axis < -int64(len(d)) || axis > int64(len(d)) || axis < 0 && c.since() < 11 {
		c.errorf("axis %d is outside a tensor of rank %d", axis, len(d))
		return
	}
	if axis < 0 {
		axis += int64(len(d))
	}
	c.set(0, []Int{product(d[:axis]), product(d[axis:])})
	c.keepData()
}

// keepData gives result 0 the content of operand 0.
func (c *call) keepData() {
	if data := c.data(0); data != nil {
		c.setData(0, data)
	}
}

// axesOf are the axes given by attribute, or from opset 13 on (for reductions 18) by an operand. given is false if there are none, known is
// false if they cannot be told.
func (c *call) axesOf(operand int) (axes []int64, given, known bool) {
	if c.schema.Attr("axes") != nil {
		return c.attrInts("axes"), c.hasAttr("axes"), true
	}
	if !c.has(operand) {
		return nil, false, true
	}
	axes, known = c.consts(operand)
	return axes, true, known
}

// inferSqueeze takes away axes of size 1: those given, or all.
func inferSqueeze(c *call) {
	d, ok := c.dims(0)
	vs, given, known := c.axesOf(1)
	if !ok {
		return
	}
	if !known {
		if n, counted := c.countOf(1).Const(); counted && n <= int64(len(d)) {
			c.set(0, vector(len(d)-int(n)))
		}
		return
	}
	drop := make([]bool, len(d))
	if given {
		axes, ok := c.axes(vs, len(d))
		if !ok {
			return
		}
		for _, k := range axes {
			if n, number := d[k].Const(); number && n != 1 {
				c.errorf("axis %d has size %d and cannot be taken away", k, n)
				return
			}
			drop[k] = true
		}
	} else {
		for k, x := range d {
			if !x.Is(1) && !x.Differs(Num(1)) {
				return // it may be 1
			}
			drop[k] = x.Is(1)
		}
	}
	r := make([]Int, 0, len(d))
	for k, x := range d {
		if !drop[k] {
			r = append(r, x)
		}
	}
	c.set(0, r)
	c.keepData()
}

// countOf is the number of elements of operand i.
func (c *call) countOf(i int) Int { return c.arg(i).count() }

// inferUnsqueeze adds axes of size 1; axes count in the result.
func inferUnsqueeze(c *call) {
	d, ok := c.dims(0)
	vs, _, known := c.axesOf(1)
	if !ok {
		return
	}
	if !known {
		if n, ok := c.countOf(1).Const(); ok && n <= maxData {
			c.set(0, vector(len(d)+int(n)))
		}
		return
	}
	axes, ok := c.axes(vs, len(d)+len(vs))
	if !ok {
		return
	}
	slices.Sort(axes)
	r := slices.Clone(d)
	for _, k := range axes {
		r = slices.Insert(r, k, Num(1))
	}
	c.set(0, r)
	c.keepData()
}

// inferTranspose: attribute perm, by default the axes in reverse.
func inferTranspose(c *call) {
	perm := c.attrInts("perm")
	d, ok := c.dims(0)
	if !ok {
		if c.hasAttr("perm") {
			c.set(0, vector(len(perm)))
		}
		return
	}
	if !c.hasAttr("perm") {
		for i := len(d) - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	if len(perm) != len(d) {
		c.errorf("perm has %d entries for a tensor of rank %d", len(perm), len(d))
		return
	}
	axes, ok := c.axes(perm, len(d))
	if !ok {
		return
	}
	r := make([]Int, len(d))
	for i, k := range axes {
		r[i] = d[k]
	}
	c.set(0, r)
	if sizes, ok := c.arg(0).sizes(); ok {
		strides := rowMajor(sizes)
		view := make([]int64, len(axes))
		for i, k := range axes {
			view[i] = strides[k]
		}
		c.viewData(0, view)
	}
}

// rowMajor are the distances between neighbours along each axis of an array of that shape.
func rowMajor(sizes []int64) []int64 {
	r := make([]int64, len(sizes))
	step := int64(1)
	for i := len(sizes) - 1; i >= 0; i-- {
		r[i] = step
		step *= sizes[i]
	}
	return r
}

// viewData sets the content of result 0 from that of operand 0: the element at an index of the result is the operand's at offset plus the
// sum of index times stride.
func (c *call) viewData(offset int64, strides []int64) {
	data := c.data(0)
	shape, ok := c.result(0).sizes()
	if n := ir.NumElements(shape); data == nil || !ok || !small(c.result(0).elem, n) {
		return
	}
	r := []elem{}
	var walk func(axis int, at int64)
	walk = func(axis int, at int64) {
		if axis == len(shape) {
			r = append(r, data[at])
			return
		}
		for i := range shape[axis] {
			walk(axis+1, at+i*strides[axis])
		}
	}
	walk(0, offset)
	c.setData(0, r)
}

// inferExpand: operand 0 broadcast with the shape in operand 1.
func inferExpand(c *call) {
	d, ok := c.dims(0)
	want, ok2 := c.ints(1)
	if n, counted := c.countOf(1).Const(); !ok2 && counted && n <= maxData {
		want, ok2 = vector(int(n)), true
	}
	if !ok || !ok2 {
		return
	}
	for i, w := range want {
		if n, number := w.Const(); number && n < 0 {
			c.errorf("entry %d of the shape is %d", i, n)
			return
		}
	}
	r, ok := c.broadcastShapes(d, want)
	if !ok {
		return
	}
	c.set(0, r)
	if data := c.data(0); len(data) == 1 {
		c.fill(data[0])
	}
}

// fill makes every element of result 0 e, if there are few.
func (c *call) fill(e elem) {
	n, ok := c.result(0).count().Const()
	if ok && small(c.result(0).elem, n) {
		c.setData(0, slices.Repeat([]elem{e}, int(n)))
	}
}

// inferTile: each dimension times its entry of operand 1. Opset 1 had one number of tiles and an axis.
func inferTile(c *call) {
	d, ok := c.dims(0)
	if !ok {
		if n, known := c.countOf(1).Const(); known && c.since() >= 6 && n <= maxData {
			c.set(0, vector(int(n)))
		}
		return
	}
	r := vector(len(d))
	if reps, ok := c.ints(1); ok && c.since() >= 6 {
		if len(reps) != len(d) {
			c.errorf("%d repeats for a tensor of rank %d", len(reps), len(d))
			return
		}
		for i := range r {
			r[i] = d[i].Mul(reps[i])
		}
	}
	c.set(0, r)
	if data := c.data(0); len(data) == 1 {
		c.fill(data[0])
	} else if n, ok := c.result(0).count().Const(); ok && len(d) == 1 && data != nil && n > 0 && n <= maxData {
		c.setData(0, slices.Repeat(data, int(n)/len(data)))
	}
}

// inferConstantOfShape: a tensor of the shape in operand 0 filled with attribute value, by default float 0.
func inferConstantOfShape(c *call) {
	e, d := integer(0), ir.Float32
	if v := c.attr("value").Tensor(); v != nil {
		d = v.DType()
		e = elem{}
		if data := loadElems(v); len(data) == 1 {
			e = data[0]
		}
	}
	c.setElem(0, d)
	want, ok := c.ints(0)
	if !ok {
		if n, known := c.countOf(0).Const(); known && n <= maxData {
			c.set(0, vector(int(n)))
		}
		return
	}
	for i, w := range want {
		if n, number := w.Const(); number && n < 0 {
			c.errorf("entry %d of the shape is %d", i, n)
			return
		}
	}
	c.set(0, want)
	c.fill(e)
}
