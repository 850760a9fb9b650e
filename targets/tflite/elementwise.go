package tflite

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// binary translates an operator on the elements of two operands, with a Relu or Relu6 behind it where the target takes it.
func binary(code opcode) lowering {
	return func(e *emitter, n *ir.Node) error {
		if code == opPow && (e.typ(n.Operand(0)) != typeFloat32 || e.typ(n.Operand(1)) != typeFloat32) {
			return fmt.Errorf("%s to the power of %s; the target has powers of floats", e.facts.DType(n.Operand(0)), e.facts.DType(n.Operand(1)))
		}
		last, act := n, int8(actNone)
		if o := binaryOptions(code, 0); o.kind != 0 {
			last, act = e.activation(n)
		}
		e.pair(last, code, binaryOptions(code, act), n.Operand(0), n.Operand(1))
		return nil
	}
}

// pair defines the first result of n as what code makes of a and b.
func (e *emitter) pair(n *ir.Node, code opcode, o options, a, b *ir.Value) {
	rank := len(e.shape(n.Result(0)))
	perm := e.common(rank, a, b)
	e.result(n, code, perm, o, e.broadcast(a, rank, perm), e.broadcast(b, rank, perm))
}

// variadic folds an operator on two operands over all.
func variadic(code opcode) lowering {
	return func(e *emitter, n *ir.Node) error {
		in := n.Operands()
		shape := e.shape(n.Result(0))
		perm := e.common(len(shape), in...)
		if len(in) == 1 {
			w := e.view(in[0])
			e.define(n.Result(0), w.t, w.perm)
			return nil
		}
		acc := e.broadcast(in[0], len(shape), perm)
		have := e.shape(in[0])
		for i, v := range in[1:] {
			o := binaryOptions(code, actNone)
			if i == len(in)-2 {
				e.result(n, code, perm, o, acc, e.broadcast(v, len(shape), perm))
				return nil
			}
			have = broadcastShapes(have, e.shape(v))
			whole := append(ones(len(shape)-len(have)), have...)
			acc = e.op(code, n.Result(0).Name(), e.typ(v), permuted(whole, perm), o, acc, e.broadcast(v, len(shape), perm))
		}
		return nil
	}
}

func ones(n int) []int {
	r := make([]int, n)
	for i := range r {
		r[i] = 1
	}
	return r
}

// broadcastShapes is the shape of what two shapes, which fit, broadcast to.
func broadcastShapes(a, b []int) []int {
	if len(a) < len(b) {
		a, b = b, a
	}
	r := append([]int{}, a...)
	for i, d := range b {
		if at := len(a) - len(b) + i; r[at] == 1 {
			r[at] = d
		}
	}
	return r
}

// activation finds a node behind n that the target's operator for n computes on the way, and returns the node whose result that
// is then.
func (e *emitter) activation(n *ir.Node) (last *ir.Node, act int8) {
	u := e.onlyUser(n.Result(0))
	if u == nil || !e.float(n.Result(0)) || e.region != nil && n.Result(0) == e.region.last {
		return n, actNone
	}
	switch lo, hi, ok := e.limits(u); {
	case u.Is("Relu"), ok && lo == 0 && math.IsInf(hi, 1):
		act = actRelu
	case ok && lo == 0 && hi == 6:
		act = actRelu6
	case ok && lo == -1 && hi == 1:
		act = actReluN1To1
	default:
		return n, actNone
	}
	e.done[u] = true
	return u, act
}

// onlyUser is the node that alone reads v, once; nil if there is none, or it is in another graph.
func (e *emitter) onlyUser(v *ir.Value) *ir.Node {
	if v.NumUses() != 1 {
		return nil
	}
	for u := range v.Uses() {
		if !u.Node.IsReturn() && u.Node.Graph() == v.Graph() {
			return u.Node
		}
	}
	return nil
}

// limits are those of a Clip with constant ones.
func (e *emitter) limits(n *ir.Node) (lo, hi float64, ok bool) {
	if !n.Is("Clip") || n.Op().Domain != "" {
		return 0, 0, false
	}
	lo, hi = math.Inf(-1), math.Inf(1)
	if n.Graph().Opset("") < 11 {
		if n.Attr("min") != nil {
			lo = float64(n.Float("min", 0))
		}
		if n.Attr("max") != nil {
			hi = float64(n.Float("max", 0))
		}
		return lo, hi, true
	}
	for i, to := range []*float64{&lo, &hi} {
		if v := n.Operand(i + 1); v != nil {
			f, ok := e.number(v)
			if !ok {
				return 0, 0, false
			}
			*to = f
		}
	}
	return lo, hi, true
}

// number is a constant float32 value of one element.
func (e *emitter) number(v *ir.Value) (float64, bool) {
	t := e.constant(v)
	if t == nil || t.DType() != ir.Float32 || t.Len() != 1 {
		return 0, false
	}
	f, err := ir.Elements[float32](t)
	if err != nil {
		return 0, false
	}
	return float64(f[0]), true
}

func lowerClip(e *emitter, n *ir.Node) error {
	lo, hi, ok := e.limits(n)
	w := e.view(n.Operand(0))
	code := map[[2]float64]opcode{{0, 6}: opRelu6, {-1, 1}: opReluN1To1, {0, 1}: opRelu0To1, {0, math.Inf(1)}: opRelu}[[2]float64{lo, hi}]
	switch {
	case ok && e.typ(n.Operand(0)) == typeFloat32 && code != 0:
		e.result(n, code, w.perm, options{}, w.t)
		return nil
	case !ok && n.Graph().Opset("") < 11:
		return errors.New("limits that are no numbers")
	case n.Graph().Opset("") < 11:
		return e.clipFloat(n, w, lo, hi)
	}
	x := w.t
	for i, code := range []opcode{opMaximum, opMinimum} {
		if v := n.Operand(i + 1); v != nil {
			x = e.op(code, n.Result(0).Name(), x.typ, x.shape, options{}, x, e.view(v).t)
		}
	}
	e.define(n.Result(0), x, w.perm)
	return nil
}

func (e *emitter) clipFloat(n *ir.Node, w view, lo, hi float64) error {
	x := w.t
	if !math.IsInf(lo, -1) {
		x = e.op(opMaximum, n.Result(0).Name(), x.typ, x.shape, options{}, x, e.scalar(float32(lo)))
	}
	if !math.IsInf(hi, 1) {
		x = e.op(opMinimum, n.Result(0).Name(), x.typ, x.shape, options{}, x, e.scalar(float32(hi)))
	}
	e.define(n.Result(0), x, w.perm)
	return nil
}

func lowerLeakyRelu(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	e.result(n, opLeakyRelu, w.perm, leakyReluOptions(n.Float("alpha", 0.01)), w.t)
	return nil
}

func lowerPRelu(e *emitter, n *ir.Node) error {
	rank := len(e.shape(n.Result(0)))
	perm := e.common(rank, n.Operand(0))
	e.result(n, opPRelu, perm, options{}, e.as(n.Operand(0), perm), e.broadcast(n.Operand(1), rank, perm))
	return nil
}

// chain builds operators on one view.
type chain struct {
	e    *emitter
	base string
	t    *tensor
}

func (c chain) unary(code opcode) chain {
	c.t = c.e.op(code, c.base, c.t.typ, c.t.shape, options{}, c.t)
	return c
}

// with combines the elements with a number.
func (c chain) with(code opcode, x float32) chain {
	c.t = c.e.op(code, c.base, c.t.typ, c.t.shape, binaryOptions(code, actNone), c.t, c.e.scalar(x))
	return c
}

// and combines with a tensor that broadcasts to this one.
func (c chain) and(code opcode, u *tensor) chain {
	c.t = c.e.op(code, c.base, c.t.typ, c.t.shape, binaryOptions(code, actNone), c.t, u)
	return c
}

// start begins a chain at an operand, and returns the order of its axes.
func (e *emitter) start(n *ir.Node, operand int) (chain, []int) {
	w := e.view(n.Operand(operand))
	return chain{e, n.Result(0).Name(), w.t}, w.perm
}

// lowerHardSigmoid is min(1, max(0, alpha*x + beta)). RELU_0_TO_1 would do, but XNNPACK does not take it, and the Add has a Relu of its own.
func lowerHardSigmoid(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	c = c.with(opMul, n.Float("alpha", 0.2))
	c.t = e.op(opAdd, c.base, c.t.typ, c.t.shape, binaryOptions(opAdd, actRelu), c.t, e.scalar(n.Float("beta", 0.5)))
	c = c.with(opMinimum, 1)
	e.define(n.Result(0), c.t, perm)
	return nil
}

func lowerGelu(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	e.result(n, opGelu, w.perm, geluOptions(n.Str("approximate", "none") == "tanh"), w.t)
	return nil
}

// lowerSwish is x * sigmoid(alpha*x).
func lowerSwish(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	x := c.t
	if a := n.Float("alpha", 1); a != 1 {
		c = c.with(opMul, a)
	}
	c = c.unary(opLogistic).and(opMul, x)
	e.define(n.Result(0), c.t, perm)
	return nil
}

// softplus is log(1 + exp(x)), with max(x, 0) taken out so that nothing overflows.
func (c chain) softplus() chain {
	x := c.t
	c = c.unary(opAbs).unary(opNeg).unary(opExp).with(opAdd, 1).unary(opLog)
	return c.and(opAdd, chain{c.e, c.base, x}.unary(opRelu).t)
}

func lowerSoftplus(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	e.define(n.Result(0), c.softplus().t, perm)
	return nil
}

// lowerMish is x * tanh(softplus(x)).
func lowerMish(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	e.define(n.Result(0), c.softplus().unary(opTanh).and(opMul, c.t).t, perm)
	return nil
}

func lowerReciprocal(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	e.result(n, opDiv, w.perm, binaryOptions(opDiv, actNone), e.scalar(1), w.t)
	return nil
}

// lowerErf goes by the exact Gelu: erf(x) = Gelu(x*sqrt 2) * sqrt 2 / x - 1 is no good at zero, so that a series stands here:
// formula 7.1.26 of Abramowitz and Stegun, whose error is at most 1.5e-7.
func lowerErf(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	x := c.t
	a := c.unary(opAbs)
	t := chain{e, c.base, e.op(opDiv, c.base, x.typ, x.shape, binaryOptions(opDiv, actNone), e.scalar(1), a.with(opMul, 0.3275911).with(opAdd, 1).t)}
	p := t.with(opMul, 1.061405429).with(opAdd, -1.453152027)
	for _, k := range []float32{1.421413741, -0.284496736, 0.254829592} {
		p = p.and(opMul, t.t).with(opAdd, k)
	}
	p = p.and(opMul, t.t)
	g := c.and(opMul, x).unary(opNeg).unary(opExp) // exp(-x*x)
	y := p.and(opMul, g.t).unary(opNeg).with(opAdd, 1)
	e.define(n.Result(0), y.and(opMul, c.unary(opSign).t).t, perm)
	return nil
}

func lowerIdentity(e *emitter, n *ir.Node) error {
	if n.Is("Dropout") && n.NumResults() > 1 && n.Result(1) != nil && n.Result(1).NumUses() > 0 {
		return errors.New("a mask")
	}
	w := e.view(n.Operand(0))
	e.define(n.Result(0), w.t, w.perm)
	return nil
}

// float reports whether v is computed in floats.
func (e *emitter) float(v *ir.Value) bool {
	d := e.facts.DType(v)
	return d == ir.Float32 || d == ir.Float16
}

func lowerWhere(e *emitter, n *ir.Node) error {
	rank := len(e.shape(n.Result(0)))
	in := n.Operands()
	perm := e.common(rank, in...)
	e.result(n, opSelectV2, perm, options{}, e.broadcast(in[0], rank, perm), e.broadcast(in[1], rank, perm), e.broadcast(in[2], rank, perm))
	return nil
}
