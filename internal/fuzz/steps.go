package fuzz

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// step adds something to the graph and reports whether it could.
func (g *generator) step() bool {
	steps := []func(*generator) bool{
		(*generator).drawn, (*generator).drawn, (*generator).drawn, (*generator).unary, (*generator).unary, (*generator).binary,
		(*generator).binary, (*generator).binary, (*generator).transpose, (*generator).transpose, (*generator).reshape, (*generator).reshape,
		(*generator).squeeze, (*generator).slice, (*generator).slice, (*generator).concat, (*generator).gather, (*generator).pad,
		(*generator).glue, (*generator).glue, (*generator).expand, (*generator).cast, (*generator).conv, (*generator).conv, (*generator).pool,
		(*generator).product, (*generator).batchNorm, (*generator).reduce, (*generator).where, (*generator).split, (*generator).quantize,
		(*generator).again, (*generator).splice, (*generator).splice, (*generator).splice, (*generator).splice,
		(*generator).branch, (*generator).loop, (*generator).call,
	}
	return pick(g.random, steps)(g)
}

func (g *generator) op(typ string, in []*value, attrs ...*ir.Attr) *value {
	if r := g.node(ir.Op(typ), in, 1, attrs...); r != nil {
		return r[0]
	}
	return nil
}

func (g *generator) opset() int64 { return g.m.Opset("") }

// axis is an axis of x, counted from either end.
func (g *generator) axis(x *value) int64 {
	r := int64(x.rank())
	if r == 0 {
		return 0
	}
	a := g.Int64N(r)
	if g.odds(3) && g.opset() >= 11 {
		a -= r
	}
	return a
}

// list adds an operand of whole numbers where the operator has it since an opset, and the attribute before.
func (g *generator) list(in []*value, since int64, name string, k ...int64) ([]*value, []*ir.Attr) {
	if g.opset() >= since {
		return append(in, g.ints(k...)), nil
	}
	return in, []*ir.Attr{ir.IntsAttr(name, k)}
}

var unaries = []string{"Identity", "Identity", "Neg", "Neg", "Abs", "Relu", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Reciprocal", "Erf", "Floor",
	"Ceil", "Round", "Not", "Softplus", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Clip", "Dropout", "Softmax", "Sign", "Flatten",
	"Mish", "Gelu", "Softsign", "Selu", "ThresholdedRelu", "Shape", "Size", "NonZero", "Sum", "Max", "Mean", "Trilu", "IsNaN", "IsInf", "BitwiseNot"}

func (g *generator) unary() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	return g.op(pick(g.random, unaries), []*value{x}) != nil
}

var binaries = []string{"Add", "Add", "Sub", "Mul", "Mul", "Div", "Pow", "Max", "Min", "Equal", "Less", "Greater", "And", "Or", "Xor", "Mod", "PRelu",
	"LessOrEqual", "BitwiseAnd", "Sum", "Mean", "BitShift"}

func (g *generator) binary() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	y := g.partner(x)
	in := []*value{x, y}
	if g.odds(2) {
		in[0], in[1] = y, x
	}
	return g.op(pick(g.random, binaries), in) != nil
}

// partner is something that broadcasts with x.
func (g *generator) partner(x *value) *value {
	d, s := x.dtype(), x.shape()
	if g.odds(4) {
		return g.neutral(d)
	}
	if g.odds(3) {
		if y := g.any(func(y *value) bool { return y.dtype() == d && broadcasts(s, y.shape()) }); y != nil {
			return y
		}
	}
	shape := slices.Clone(s)
	for i := range shape {
		if g.odds(2) {
			shape[i] = 1
		}
	}
	switch g.IntN(5) {
	case 0, 1:
		shape = nil
	case 2:
		shape = shape[g.IntN(len(shape)+1):]
	case 3:
		shape = append([]int64{1}, shape...)
	}
	if shape == nil {
		shape = []int64{}
	}
	if d != ir.String && g.odds(2) {
		return g.neutral(d, shape...)
	}
	return g.weights(d, shape...)
}

func broadcasts(a, b []int64) bool {
	for i := 1; i <= min(len(a), len(b)); i++ {
		x, y := a[len(a)-i], b[len(b)-i]
		if x != y && x != 1 && y != 1 {
			return false
		}
	}
	return true
}

func (g *generator) cast() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	d := pick(g.random, dtypes)
	if g.odds(4) {
		d = x.dtype()
	}
	return g.op("Cast", []*value{x}, ir.IntAttr("to", int64(d))) != nil
}

func (g *generator) where() bool {
	c := g.any(of(ir.Bool, 0))
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	if c == nil || g.odds(4) {
		c = g.neutral(ir.Bool)
	}
	return g.op("Where", []*value{c, x, g.partner(x)}) != nil
}

func (g *generator) quantize() bool {
	x := g.any(of(ir.Float32, 0))
	if x == nil || g.opset() < 10 {
		return false
	}
	scale := g.constant(ir.ScalarOf(pick(g.random, []float32{0.5, 0.25, 0.1, 1})))
	zero := g.neutral(pick(g.random, []ir.DType{ir.Uint8, ir.Int8}))
	q := g.op("QuantizeLinear", []*value{x, scale, zero})
	if q == nil {
		return false
	}
	g.op("DequantizeLinear", []*value{q, scale, zero})
	return true
}

// again repeats an earlier node, with the same operands or one other: what is joined, or must not be.
func (g *generator) again() bool {
	x := g.any(func(x *value) bool {
		n := x.v.Node()
		return n != nil && n.Graph() == g.graph() && len(n.Subgraphs()) == 0
	})
	if x == nil {
		return false
	}
	n := x.v.Node()
	in := make([]*value, n.NumOperands())
	for i, v := range n.Operands() {
		if v != nil {
			if in[i] = g.known(v); in[i] == nil {
				return false
			}
		}
	}
	if len(in) > 0 && in[0] != nil && g.odds(2) {
		i := g.IntN(len(in))
		if in[i] != nil {
			if y := g.any(func(y *value) bool { return y.dtype() == in[i].dtype() && slices.Equal(y.shape(), in[i].shape()) }); y != nil {
				in[i] = y
			}
		}
	}
	if n.NumResults() == 0 {
		return false
	}
	return g.node(n.Op(), in, n.NumResults(), n.Attrs()...) != nil
}

// known is the value of the scope, or a constant with its samples; nil if there is none.
func (g *generator) known(v *ir.Value) *value {
	for _, x := range g.scope.vals {
		if x.v == v {
			return x
		}
	}
	if t := v.Const(); t != nil {
		return &value{v, [bindings]ir.Datum{t, t}}
	}
	return nil
}
