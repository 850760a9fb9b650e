package infer

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// inferSame: result 0 has the shape of operand 0.
func inferSame(c *call) { c.setLike(0, 0) }

// inferPRelu: the slope broadcasts to operand 0, not both to each other. Below opset 7 a vector of slopes lies along axis 1.
func inferPRelu(c *call) {
	c.setLike(0, 0)
	x, ok := c.dims(0)
	slope, ok2 := c.dims(1)
	if !ok || !ok2 || c.since() < 7 {
		return
	}
	for i := range slope {
		k := i + len(x) - len(slope)
		n, static := slope[i].Const()
		if !static || n == 1 {
			continue
		}
		if k < 0 {
			c.errorf("the slope has rank %d, the operand %d", len(slope), len(x))
			return
		}
		if m, static := x[k].Const(); static && m != n {
			c.errorf("the slope has size %d where the operand has %d", n, m)
			return
		}
	}
}

// inferIdentity: the result is the operand.
func inferIdentity(c *call) { c.copyOf(0, 0) }

// unary is a rule for an operator of one operand that follows small contents.
func unary(f func(d ir.DType, x elem) elem) rule {
	return func(c *call) {
		c.setLike(0, 0)
		data := c.data(0)
		if data == nil {
			return
		}
		r := make([]elem, len(data))
		for i, x := range data {
			r[i] = f(c.elem(0), x)
		}
		c.setData(0, r)
	}
}

// onNumbers applies f to a number; an expression becomes unknown.
func onNumbers(f func(float64) float64) func(ir.DType, elem) elem {
	return func(_ ir.DType, x elem) elem {
		if v, ok := x.value(); ok {
			return number(f(v))
		}
		return elem{}
	}
}

// rounding applies f to what is not known to be an integer.
func rounding(f func(float64) float64) func(ir.DType, elem) elem {
	return func(_ ir.DType, x elem) elem {
		if x.isNum {
			return number(f(x.frac))
		}
		return x
	}
}

func negElem(d ir.DType, x elem) elem {
	if v, ok := x.value(); ok && (x.isNum || v == 0 && d.IsFloat()) {
		return number(-v)
	}
	return elem{Int: x.Neg()}
}

func absElem(_ ir.DType, x elem) elem {
	if x.isNum {
		return number(math.Abs(x.frac))
	}
	return elem{Int: x.Max(x.Neg())}
}

func signElem(_ ir.DType, x elem) elem {
	switch {
	case x.isNum && x.frac > 0, !x.isNum && x.Positive():
		return integer(1)
	case x.isNum && x.frac < 0, !x.isNum && x.Neg().Positive():
		return integer(-1)
	case x.Is(0) && !x.isNum:
		return x
	}
	return elem{}
}

func notElem(_ ir.DType, x elem) elem { return elem{Int: Num(1).Sub(x.Int)} }

func reluElem(_ ir.DType, x elem) elem {
	if x.isNum {
		return number(max(0, x.frac))
	}
	return elem{Int: x.Max(Num(0))}
}

// elementwise is a rule for an operator of two operands under multidirectional broadcasting that follows small contents. Before opset 7 an
// attribute asked for broadcasting, and the result had the shape of the first operand.
func elementwise(f func(d ir.DType, x, y elem) elem) rule {
	return func(c *call) {
		if c.schema.Attr("broadcast") != nil {
			c.setLike(0, 0)
			return
		}
		c.broadcast()
		if f == nil {
			return
		}
		c.mapData(func(args []elem) elem { return f(c.elem(0), args[0], args[1]) })
	}
}

// variadic is elementwise for any number of operands, applied from the left.
func variadic(f func(d ir.DType, x, y elem) elem) rule {
	return func(c *call) {
		c.broadcast()
		if f == nil {
			return
		}
		c.mapData(func(args []elem) elem {
			r := args[0]
			for _, x := range args[1:] {
				r = fit(c.elem(0), f(c.elem(0), r, x))
			}
			return r
		})
	}
}

// inferWhere: condition, X, Y under multidirectional broadcasting.
func inferWhere(c *call) {
	c.broadcast()
	c.mapData(func(args []elem) elem {
		cond, ok := args[0].Const()
		switch {
		case ok && cond != 0:
			return args[1]
		case ok:
			return args[2]
		case !args[1].isNum && !args[2].isNum && args[1].Same(args[2].Int):
			return args[1]
		}
		return elem{}
	})
}

// broadcast gives result 0 the shape of all operands under multidirectional broadcasting.
func (c *call) broadcast() {
	shapes := make([][]Int, len(c.in))
	for i := range c.in {
		d, ok := c.dims(i)
		if !ok {
			return
		}
		shapes[i] = d
	}
	if d, ok := c.broadcastShapes(shapes...); ok {
		c.set(0, d)
	}
}

// broadcastShapes is the multidirectional broadcast of shapes. Sizes that surely differ and are not 1 are an error.
func (c *call) broadcastShapes(shapes ...[]Int) ([]Int, bool) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	r := make([]Int, rank)
	for i := range r {
		r[i] = Num(1)
	}
	for _, s := range shapes {
		for i, d := range s {
			k := rank - len(s) + i
			e, ok := broadcastSize(r[k], d)
			if !ok {
				c.errorf("sizes %s and %s cannot be broadcast", r[k], d)
				return nil, false
			}
			r[k] = e
		}
	}
	return r, true
}

// broadcastSize is the size of an axis along which operands have sizes x and y. A number other than 1 must be the result.
func broadcastSize(x, y Int) (Int, bool) {
	a, xn := x.Const()
	b, yn := y.Const()
	switch {
	case x.Same(y) || y.Is(1):
		return x, true
	case x.Is(1):
		return y, true
	case xn && yn:
		return Int{}, false
	case xn && a != 1:
		return x, true
	case yn && b != 1:
		return y, true
	case !x.known || !y.known:
		return Int{}, true
	}
	return broadcast(x, y), true
}

// mapData sets the content of result 0 from those of all operands, broadcast, if they are small and known.
func (c *call) mapData(f func(args []elem) elem) {
	shape, ok := c.result(0).sizes()
	n := ir.NumElements(shape)
	if !ok || !small(c.result(0).elem, n) {
		return
	}
	for _, x := range c.in {
		if x != nil && x.tensor == nil && x.data == nil {
			return // before constants are loaded in vain
		}
	}
	data := make([][]elem, len(c.in))
	strides := make([][]int, len(c.in))
	for i := range c.in {
		data[i] = c.data(i)
		s, ok := c.arg(i).sizes()
		if data[i] == nil || !ok {
			return
		}
		strides[i] = broadcastStrides(s, len(shape))
	}
	r := make([]elem, n)
	args := make([]elem, len(c.in))
	index := make([]int64, len(shape))
	for i := range r {
		for j := range args {
			at := 0
			for k, x := range index {
				at += int(x) * strides[j][k]
			}
			args[j] = data[j][at]
		}
		r[i] = f(args)
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < shape[k] {
				break
			}
			index[k] = 0
		}
	}
	c.setData(0, r)
}

// broadcastStrides are the steps in a row-major array of that shape along the last axes of a larger one; 0 where it is repeated.
func broadcastStrides(shape []int64, rank int) []int {
	r := make([]int, rank)
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			r[rank-len(shape)+i] = step
		}
		step *= int(shape[i])
	}
	return r
}

// inferCast: attribute to names the element type.
func inferCast(c *call) {
	c.setLike(0, 0)
	to := ir.DType(c.int("to"))
	if !to.Valid() || c.int("to") != int64(to) {
		if c.hasAttr("to") && c.attr("to").Kind == ir.AttrInt {
			c.errorf("attribute to names no element type: %d", c.int("to"))
		}
		return
	}
	c.setElem(0, to)
	c.castData(0, to)
}

// castData converts the content of operand 0. Numbers are rounded towards zero for integers.
func (c *call) castData(i int, to ir.DType) {
	data := c.data(0)
	if data == nil {
		return
	}
	r := make([]elem, len(data))
	for j, x := range data {
		switch {
		case to == ir.Bool && x.isNum && x.frac == 0: // -0
			x = integer(0)
		case to == ir.Bool && x.isNum:
			x = integer(1)
		case to == ir.Bool && (x.Positive() || x.Neg().Positive()):
			x = integer(1)
		case to == ir.Bool && !x.Is(0):
			x = elem{}
		case x.isNum && to.IsInt():
			x = number(math.Trunc(x.frac) + 0) // an integer has no negative zero
		}
		r[j] = x
	}
	c.setData(i, r)
}

// inferCastLike: the element type is operand 1's.
func inferCastLike(c *call) {
	c.setLike(0, 0)
	if to := c.elem(1); to != ir.Undefined {
		c.setElem(0, to)
		c.castData(0, to)
	}
}

// inferBitCast: attribute to names the element type; sizes in bits agree.
func inferBitCast(c *call) {
	c.setLike(0, 0)
	if to := ir.DType(c.int("to")); to.Valid() {
		c.setElem(0, to)
	}
}

// inferClip follows small contents where the bounds are operands.
func inferClip(c *call) {
	c.setLike(0, 0)
	data := c.data(0)
	if data == nil || c.since() < 11 {
		return
	}
	r := append([]elem(nil), data...)
	for i, bound := range []func(d ir.DType, x, y elem) elem{maxElem, minElem} {
		if !c.has(i + 1) { // a bound that is left out is the type's last finite number
			for j := range r {
				if v, ok := r[j].value(); ok && math.IsInf(v, 0) {
					r[j] = elem{}
				}
			}
			continue
		}
		b := c.data(i + 1)
		if len(b) != 1 || b[0].isNum && math.IsNaN(b[0].frac) { // of NaN as a bound the standard says nothing
			return
		}
		for j := range r {
			r[j] = bound(c.elem(0), r[j], b[0])
		}
	}
	c.setData(0, r)
}
