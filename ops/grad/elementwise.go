package grad

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// rules has the derivative of each operator: it adds to the operands what the results pass on.
var rules = map[string]func(*builder) error{
	"Identity": unary(func(b *builder, dy *ir.Value) *ir.Value { return dy }),
	"Dropout":  dropout,
	"Cast":     castRule,
	"CastLike": castRule,
	"Neg":      unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Neg", dy) }),
	"Abs":      unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Mul", dy, b.op("Sign", b.in(0))) }),
	"Exp":      unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Mul", dy, b.out(0)) }),
	"Log":      unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Div", dy, b.in(0)) }),
	"Sqrt": unary(func(b *builder, dy *ir.Value) *ir.Value {
		return b.op("Div", b.op("Mul", dy, b.num(dy0(b), .5)), b.out(0))
	}),
	"Reciprocal": unary(func(b *builder, dy *ir.Value) *ir.Value {
		return b.op("Neg", b.op("Mul", dy, b.op("Mul", b.out(0), b.out(0))))
	}),
	"Sin": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Mul", dy, b.op("Cos", b.in(0))) }),
	"Cos": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Neg", b.op("Mul", dy, b.op("Sin", b.in(0)))) }),
	"Erf": unary(func(b *builder, dy *ir.Value) *ir.Value {
		e := b.op("Exp", b.op("Neg", b.op("Mul", b.in(0), b.in(0))))
		return b.op("Mul", dy, b.op("Mul", e, b.num(dy0(b), 2/math.Sqrt(math.Pi))))
	}),
	"Relu": unary(func(b *builder, dy *ir.Value) *ir.Value { // 0 at 0
		return b.mask(b.op("Greater", b.out(0), b.num(dy0(b), 0)), dy)
	}),
	"LeakyRelu": unary(func(b *builder, dy *ir.Value) *ir.Value {
		a := float64(ops.Float(b.n, "alpha"))
		return b.op("Where", b.op("GreaterOrEqual", b.in(0), b.num(dy0(b), 0)), dy, b.op("Mul", dy, b.num(dy0(b), a)))
	}),
	"Elu": unary(func(b *builder, dy *ir.Value) *ir.Value {
		a := b.num(dy0(b), float64(ops.Float(b.n, "alpha")))
		return b.op("Where", b.op("Greater", b.in(0), b.num(dy0(b), 0)), dy, b.op("Mul", dy, b.op("Add", b.out(0), a)))
	}),
	"Softplus": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Mul", dy, b.op("Sigmoid", b.in(0))) }),
	"Sigmoid": unary(func(b *builder, dy *ir.Value) *ir.Value {
		return b.op("Mul", dy, b.op("Mul", b.out(0), b.op("Sub", b.num(dy0(b), 1), b.out(0))))
	}),
	"Tanh": unary(func(b *builder, dy *ir.Value) *ir.Value {
		return b.op("Mul", dy, b.op("Sub", b.num(dy0(b), 1), b.op("Mul", b.out(0), b.out(0))))
	}),
	"HardSigmoid": unary(func(b *builder, dy *ir.Value) *ir.Value { // 0 at the corners
		x := b.out(0)
		inside := b.op("And", b.op("Greater", x, b.num(dy0(b), 0)), b.op("Less", x, b.num(dy0(b), 1)))
		return b.mask(inside, b.op("Mul", dy, b.num(dy0(b), float64(ops.Float(b.n, "alpha")))))
	}),
	"HardSwish": unary(func(b *builder, dy *ir.Value) *ir.Value {
		x := b.in(0)
		slope := b.op("Add", b.op("Mul", x, b.num(x, 1./3)), b.num(x, .5))
		slope = b.op("Where", b.op("GreaterOrEqual", x, b.num(x, 3)), b.num(x, 1), slope)
		return b.mask(b.op("Greater", x, b.num(x, -3)), b.op("Mul", dy, slope))
	}),
	"Gelu": unary(gelu),
	"Clip": clip,
	"Selu": unary(func(b *builder, dy *ir.Value) *ir.Value {
		a, g := float64(ops.Float(b.n, "alpha")), float64(ops.Float(b.n, "gamma"))
		return b.op("Mul", dy, b.op("Where", b.op("Greater", b.in(0), b.num(dy0(b), 0)), b.num(dy0(b), g), b.op("Add", b.out(0), b.num(dy0(b), a*g))))
	}),
	"ThresholdedRelu": unary(func(b *builder, dy *ir.Value) *ir.Value {
		return b.mask(b.op("Greater", b.in(0), b.num(dy0(b), float64(ops.Float(b.n, "alpha")))), dy)
	}),
	"Softsign": unary(func(b *builder, dy *ir.Value) *ir.Value {
		d := b.op("Add", b.op("Abs", b.in(0)), b.num(dy0(b), 1))
		return b.op("Div", dy, b.op("Mul", d, d))
	}),
	"Mish": unary(func(b *builder, dy *ir.Value) *ir.Value { // y = x t, t = tanh(softplus(x))
		x := b.in(0)
		t := b.op("Tanh", b.op("Softplus", x))
		bend := b.op("Mul", b.op("Sub", b.num(x, 1), b.op("Mul", t, t)), b.op("Sigmoid", x))
		return b.op("Mul", dy, b.op("Add", t, b.op("Mul", x, bend)))
	}),
	"Tan": unary(func(b *builder, dy *ir.Value) *ir.Value {
		return b.op("Mul", dy, b.op("Add", b.op("Mul", b.out(0), b.out(0)), b.num(dy0(b), 1)))
	}),
	"Atan": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Div", dy, around(b, 1, 1)) }),
	"Asin": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Div", dy, b.op("Sqrt", around(b, 1, -1))) }),
	"Acos": unary(func(b *builder, dy *ir.Value) *ir.Value {
		return b.op("Neg", b.op("Div", dy, b.op("Sqrt", around(b, 1, -1))))
	}),
	"Sinh":  unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Mul", dy, b.op("Cosh", b.in(0))) }),
	"Cosh":  unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Mul", dy, b.op("Sinh", b.in(0))) }),
	"Asinh": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Div", dy, b.op("Sqrt", around(b, 1, 1))) }),
	"Acosh": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Div", dy, b.op("Sqrt", around(b, -1, 1))) }),
	"Atanh": unary(func(b *builder, dy *ir.Value) *ir.Value { return b.op("Div", dy, around(b, 1, -1)) }),
	"Add": func(b *builder) error {
		return both(b.passBroadcast(0, func() *ir.Value { return b.dy[0] }), b.passBroadcast(1, func() *ir.Value { return b.dy[0] }))
	},
	"Sub": func(b *builder) error {
		return both(b.passBroadcast(0, func() *ir.Value { return b.dy[0] }),
			b.passBroadcast(1, func() *ir.Value { return b.op("Neg", b.dy[0]) }))
	},
	"Mul": func(b *builder) error {
		return both(b.passBroadcast(0, func() *ir.Value { return b.op("Mul", b.dy[0], b.in(1)) }),
			b.passBroadcast(1, func() *ir.Value { return b.op("Mul", b.dy[0], b.in(0)) }))
	},
	"Div": func(b *builder) error {
		return both(b.passBroadcast(0, func() *ir.Value { return b.op("Div", b.dy[0], b.in(1)) }),
			b.passBroadcast(1, func() *ir.Value {
				return b.op("Neg", b.op("Div", b.op("Mul", b.dy[0], b.out(0)), b.in(1)))
			}))
	},
	"Pow": pow,
	"Min": extreme,
	"Max": extreme,
	"Sum": func(b *builder) error { return b.each(func(int) *ir.Value { return b.dy[0] }) },
	"Mean": func(b *builder) error {
		return b.each(func(int) *ir.Value { return b.op("Div", b.dy[0], b.num(dy0(b), float64(b.n.NumOperands()))) })
	},
	"PRelu": prelu,

	"Reshape": back, "Flatten": back, "Squeeze": back, "Unsqueeze": back,
	"Expand": expandRule, "Transpose": transposeRule, "Concat": concatRule, "Split": splitRule, "Slice": sliceRule,
	"Gather": gatherRule, "GatherElements": gatherRule, "GatherND": gatherRule, "Pad": padRule, "Resize": resizeRule,
	"DepthToSpace": depthToSpaceRule, "SpaceToDepth": spaceToDepthRule,

	"MatMul": matmulRule, "Gemm": gemmRule, "Conv": convRule, "ConvTranspose": convTransposeRule,
	"Softmax": softmaxRule, "LogSoftmax": softmaxRule,
	"BatchNormalization": batchNormRule, "LayerNormalization": layerNormRule, "InstanceNormalization": instanceNormRule,
	"MaxPool": maxPoolRule, "AveragePool": averagePoolRule, "GlobalAveragePool": globalAverageRule, "GlobalMaxPool": globalMaxRule,
	"GRU": recurrentRule, "LSTM": recurrentRule,
	"QuantizeLinear": quantizeRule, "DequantizeLinear": dequantizeRule,

	"ReduceSum":  reduceRule(func(b *builder, _, dy *ir.Value) *ir.Value { return b.op("Expand", dy, b.shape(b.in(0))) }),
	"ReduceMean": reduceRule(meanRule), "ReduceMax": reduceRule(peakRule), "ReduceMin": reduceRule(peakRule),
	"ReduceSumSquare": reduceRule(func(b *builder, _, dy *ir.Value) *ir.Value {
		return b.op("Mul", dy, b.op("Mul", b.in(0), b.num(dy0(b), 2)))
	}),
	"ReduceL1": reduceRule(func(b *builder, _, dy *ir.Value) *ir.Value { return b.op("Mul", dy, b.op("Sign", b.in(0))) }),
	"ReduceL2": reduceRule(func(b *builder, y, dy *ir.Value) *ir.Value { // 0 at 0
		zero := b.op("Equal", y, b.num(dy0(b), 0))
		return b.op("Where", zero, b.num(dy0(b), 0), b.op("Div", b.op("Mul", dy, b.in(0)), y))
	}),
	"ReduceLogSumExp": reduceRule(func(b *builder, y, dy *ir.Value) *ir.Value {
		return b.op("Mul", dy, b.op("Exp", b.op("Sub", b.in(0), y)))
	}),
	"Where": func(b *builder) error {
		zero := b.num(dy0(b), 0)
		return both(b.passBroadcast(1, func() *ir.Value { return b.op("Where", b.in(0), b.dy[0], zero) }),
			b.passBroadcast(2, func() *ir.Value { return b.op("Where", b.in(0), zero, b.dy[0]) }))
	},
}

func both(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// dy0 is a value of the type that the derivatives of the node have: its first result.
func dy0(b *builder) *ir.Value { return b.out(0) }

func unary(f func(b *builder, dy *ir.Value) *ir.Value) func(*builder) error {
	return func(b *builder) error {
		if b.need(0) && b.dy[0] != nil {
			b.pass(0, f(b, b.dy[0]))
		}
		return nil
	}
}

// around is c + s x² of the operand x.
func around(b *builder, c, s float64) *ir.Value {
	x := b.in(0)
	return b.op("Add", b.op("Mul", b.op("Mul", x, x), b.num(x, s)), b.num(x, c))
}

// each passes a derivative to every operand.
func (b *builder) each(f func(i int) *ir.Value) error {
	for i := range b.n.Operands() {
		if err := b.passBroadcast(i, func() *ir.Value { return f(i) }); err != nil {
			return err
		}
	}
	return nil
}

// mask is d where cond holds, else 0: not a product, so that an infinite d stays outside.
func (b *builder) mask(cond, d *ir.Value) *ir.Value { return b.op("Where", cond, d, b.num(dy0(b), 0)) }

func castRule(b *builder) error {
	if to := b.elem(b.in(0)); b.need(0) && to.IsFloat() && b.elem(b.out(0)).IsFloat() {
		b.pass(0, b.cast(b.dy[0], to))
	}
	return nil
}

// dropout outside of training is the identity.
func dropout(b *builder) error {
	if mode := b.in(2); mode != nil {
		t := mode.Const()
		if t == nil {
			return fmt.Errorf("whether it is in training mode is not known")
		}
		if v, err := t.Bytes(); err != nil || len(v) == 1 && v[0] != 0 {
			return fmt.Errorf("there is no derivative in training mode")
		}
	}
	if b.dy[0] != nil {
		b.pass(0, b.dy[0])
	}
	return nil
}

func gelu(b *builder, dy *ir.Value) *ir.Value {
	x := b.in(0)
	k := func(v float64) *ir.Value { return b.num(x, v) }
	mul, add := func(p, q *ir.Value) *ir.Value { return b.op("Mul", p, q) }, func(p, q *ir.Value) *ir.Value { return b.op("Add", p, q) }
	sq := mul(x, x)
	if ops.Str(b.n, "approximate") == "tanh" { // x/2 (1 + tanh u), u = sqrt(2/π) (x + 0.044715 x³)
		c := math.Sqrt(2 / math.Pi)
		t := b.op("Tanh", mul(mul(x, k(c)), add(k(1), mul(sq, k(.044715)))))
		du := mul(k(c), add(k(1), mul(sq, k(3*.044715))))
		slope := add(mul(k(.5), add(k(1), t)), mul(mul(mul(k(.5), x), b.op("Sub", k(1), mul(t, t))), du))
		return mul(dy, slope)
	}
	phi := mul(b.op("Exp", mul(sq, k(-.5))), k(1/math.Sqrt(2*math.Pi)))
	cdf := mul(k(.5), add(k(1), b.op("Erf", mul(x, k(math.Sqrt(.5))))))
	return mul(dy, add(cdf, mul(x, phi)))
}

// clip passes what lies within the bounds, these included; what is cut off goes to the bound.
func clip(b *builder) error {
	x := b.in(0)
	var low, high *ir.Value
	if b.in(1) != nil {
		low = b.op("Less", x, b.in(1))
	}
	if b.in(2) != nil {
		high = b.op("Greater", x, b.in(2))
	}
	zero := b.num(x, 0)
	d := b.dy[0]
	for _, c := range []*ir.Value{low, high} {
		if c != nil {
			d = b.op("Where", c, zero, d)
		}
	}
	b.pass(0, d)
	for i, c := range []*ir.Value{low, high} {
		if b.need(i + 1) {
			b.pass(i+1, b.with("ReduceSum", []*ir.Value{b.op("Where", c, b.dy[0], zero)}, ir.IntAttr("keepdims", 0)))
		}
	}
	return nil
}

// pow has the derivative by the exponent 0 where the base is not positive.
func pow(b *builder) error {
	x, e := b.in(0), b.in(1)
	t := b.elem(x)
	ex := e
	if b.elem(e) != t {
		ex = b.cast(e, t)
	}
	err := b.passBroadcast(0, func() *ir.Value {
		d := b.op("Mul", ex, b.op("Pow", x, b.op("Sub", ex, b.num(x, 1))))
		return b.op("Mul", b.dy[0], b.op("Where", b.op("Equal", ex, b.num(x, 0)), b.num(x, 0), d))
	})
	return both(err, b.passBroadcast(1, func() *ir.Value {
		positive := b.op("Greater", x, b.num(x, 0))
		log := b.op("Log", b.op("Where", positive, x, b.num(x, 1)))
		d := b.op("Mul", b.dy[0], b.op("Mul", b.out(0), log))
		d = b.op("Where", positive, d, b.num(x, 0))
		if b.elem(e) != t {
			d = b.cast(d, b.elem(e))
		}
		return d
	}))
}

// extreme splits the derivative evenly among the operands that reach it.
func extreme(b *builder) error {
	hit := make([]*ir.Value, b.n.NumOperands())
	var count *ir.Value
	for i, v := range b.n.Operands() {
		hit[i] = b.cast(b.op("Equal", v, b.out(0)), b.elem(b.out(0)))
		if count == nil {
			count = hit[i]
		} else {
			count = b.op("Add", count, hit[i])
		}
	}
	d := b.op("Div", b.dy[0], count)
	return b.each(func(i int) *ir.Value { return b.op("Mul", d, hit[i]) })
}

func prelu(b *builder) error {
	x, zero := b.in(0), b.num(b.in(0), 0)
	neg := b.op("Less", x, zero)
	if b.need(0) {
		b.pass(0, b.op("Where", neg, b.op("Mul", b.dy[0], b.in(1)), b.dy[0]))
	}
	return b.passBroadcast(1, func() *ir.Value { return b.op("Where", neg, b.op("Mul", b.dy[0], x), zero) })
}
