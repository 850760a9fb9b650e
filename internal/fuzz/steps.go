package fuzz

import (
	"math"
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

func (g *generator) transpose() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	var attrs []*ir.Attr
	if !g.odds(6) {
		attrs = append(attrs, ir.IntsAttr("perm", g.permutation(int64(x.rank()))))
	}
	return g.op("Transpose", []*value{x}, attrs...) != nil
}

func (g *generator) reshape() bool {
	x := g.any(isTensor)
	if x == nil || x.tensor().Len() == 0 && g.odds(2) {
		return false
	}
	if g.odds(12) {
		return g.op("Flatten", []*value{x}, ir.IntAttr("axis", g.axis(x))) != nil
	}
	s := x.shape()
	target := slices.Clone(s)
	switch g.IntN(5) {
	case 0: // join two
		if len(target) > 1 {
			i := g.IntN(len(target) - 1)
			target[i] *= target[i+1]
			target = slices.Delete(target, i+1, i+2)
		}
	case 1: // a one
		target = slices.Insert(target, g.IntN(len(target)+1), 1)
	case 2: // flat
		target = []int64{-1}
	case 3: // take one apart
		if len(target) > 0 {
			i := g.IntN(len(target))
			for _, d := range []int64{2, 3} {
				if target[i]%d == 0 && target[i] > d {
					target[i] /= d
					target = slices.Insert(target, i, d)
					break
				}
			}
		}
	}
	if len(target) > 0 && !g.odds(3) && !slices.Contains(target, -1) {
		target[g.IntN(len(target))] = -1
	}
	for i := range target {
		if i < len(s) && target[i] == s[i] && g.odds(2) {
			target[i] = 0
		}
	}
	var attrs []*ir.Attr
	if g.opset() >= 14 && g.odds(10) {
		attrs = append(attrs, ir.IntAttr("allowzero", 1))
	}
	return g.op("Reshape", []*value{x, g.ints(target...)}, attrs...) != nil
}

func (g *generator) squeeze() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	if g.odds(2) {
		var ones []int64
		for i, n := range x.shape() {
			if n == 1 && !g.odds(3) {
				ones = append(ones, int64(i))
			}
		}
		if len(ones) == 0 {
			return g.op("Squeeze", []*value{x}) != nil
		}
		in, attrs := g.list([]*value{x}, 13, "axes", ones...)
		return g.op("Squeeze", in, attrs...) != nil
	}
	at := []int64{g.between(0, int64(x.rank()))}
	if g.odds(3) {
		at = append(at, at[0]+1)
	}
	if g.odds(4) && g.opset() >= 11 {
		at[0] -= int64(x.rank() + len(at))
	}
	in, attrs := g.list([]*value{x}, 13, "axes", at...)
	return g.op("Unsqueeze", in, attrs...) != nil
}

func (g *generator) slice() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axes := g.axes(int64(x.rank()))
	if g.opset() < 11 {
		for i := range axes {
			axes[i] = (axes[i] + int64(x.rank())) % int64(x.rank())
		}
	}
	var starts, ends, steps []int64
	for _, a := range axes {
		n := x.shape()[(a+int64(x.rank()))%int64(x.rank())]
		start := pick(g.random, []int64{0, 0, 1, -1, n, -n, g.between(-5, 5), math.MinInt64})
		end := pick(g.random, []int64{n, math.MaxInt64, math.MaxInt32, -1, 1, g.between(-5, 5), math.MaxInt64})
		step := pick(g.random, []int64{1, 1, 1, 2, -1})
		if step < 0 {
			start, end = end, pick(g.random, []int64{start, math.MinInt64, -n - 1})
		}
		starts, ends, steps = append(starts, start), append(ends, end), append(steps, step)
	}
	if g.opset() < 10 {
		return g.op("Slice", []*value{x}, ir.IntsAttr("axes", axes), ir.IntsAttr("starts", starts), ir.IntsAttr("ends", ends)) != nil
	}
	in := []*value{x, g.ints(starts...), g.ints(ends...), g.ints(axes...), g.ints(steps...)}
	if g.odds(3) {
		in = in[:4]
	}
	if len(axes) == x.rank() && slices.IsSorted(axes) && axes[0] == 0 && g.odds(2) {
		in = in[:3]
	}
	return g.op("Slice", in) != nil
}

func (g *generator) concat() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axis := g.axis(x)
	in := []*value{x}
	for range g.IntN(3) {
		y := g.any(func(y *value) bool {
			return y.dtype() == x.dtype() && y.rank() == x.rank() && fitsBeside(x.shape(), y.shape(), axis)
		})
		if y == nil || g.odds(6) {
			s := slices.Clone(x.shape())
			s[(axis+int64(len(s)))%int64(len(s))] = int64(g.IntN(3))
			y = g.weights(x.dtype(), s...)
		}
		in = append(in, y)
	}
	return g.op("Concat", in, ir.IntAttr("axis", axis)) != nil
}

func fitsBeside(a, b []int64, axis int64) bool {
	for i := range a {
		if a[i] != b[i] && int64(i) != (axis+int64(len(a)))%int64(len(a)) {
			return false
		}
	}
	return true
}

func (g *generator) gather() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axis := g.axis(x)
	n := x.shape()[(axis+int64(x.rank()))%int64(x.rank())]
	if n == 0 {
		return false
	}
	shape := make([]int64, g.IntN(3))
	k := make([]int64, 1)
	for i := range shape {
		shape[i] = g.between(1, 2)
	}
	k = slices.Grow(k, 8)[:ir.NumElements(shape)]
	for i := range k {
		k[i] = g.Int64N(n)
		if g.odds(4) && g.opset() >= 11 {
			k[i] -= n
		}
	}
	return g.op("Gather", []*value{x, g.constant(ir.NewTensor(ir.Int64, shape, ir.AsBytes(k)))}, ir.IntAttr("axis", axis)) != nil
}

func (g *generator) pad() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 && (g.opset() >= 13 || x.dtype().IsFloat()) })
	if x == nil {
		return false
	}
	pads := make([]int64, 2*x.rank())
	for i := range pads {
		if !g.odds(3) {
			pads[i] = g.between(0, 1)
		}
		if g.odds(10) {
			pads[i] = -1
		}
	}
	if g.odds(5) {
		clear(pads)
	}
	mode := ir.StringAttr("mode", pick(g.random, []string{"constant", "constant", "constant", "edge", "reflect"}))
	if g.opset() < 11 {
		return g.op("Pad", []*value{x}, ir.IntsAttr("pads", pads), mode) != nil
	}
	in := []*value{x, g.ints(pads...)}
	if g.odds(2) {
		in = append(in, g.neutral(x.dtype()))
	}
	return g.op("Pad", in, mode) != nil
}

// glue is what exporters make of shape arithmetic: a shape taken apart, calculated with, and put together.
func (g *generator) glue() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	shape := g.op("Shape", []*value{x})
	if shape == nil {
		return false
	}
	var parts []*value
	for i, n := range x.shape() {
		if g.odds(3) {
			parts = append(parts, g.ints(pick(g.random, []int64{n, n, 0, -1})))
			continue
		}
		var p *value
		if g.odds(2) && g.opset() >= 10 {
			p = g.op("Slice", []*value{shape, g.ints(int64(i)), g.ints(int64(i + 1)), g.ints(0)})
		} else if p = g.op("Gather", []*value{shape, g.constant(ir.ScalarOf(int64(i)))}); p != nil {
			if g.odds(3) {
				p = g.op(pick(g.random, []string{"Mul", "Add", "Sub", "Div"}), []*value{p, g.neutral(ir.Int64)})
			}
			if p != nil {
				in, attrs := g.list([]*value{p}, 13, "axes", 0)
				p = g.op("Unsqueeze", in, attrs...)
			}
		}
		if p == nil {
			return true // what there is stays
		}
		parts = append(parts, p)
	}
	if g.odds(4) && len(parts) > 1 {
		i := g.IntN(len(parts) - 1)
		parts[i], parts[i+1] = parts[i+1], parts[i]
	}
	target := g.op("Concat", parts, ir.IntAttr("axis", 0))
	if target == nil {
		return true
	}
	switch g.IntN(5) {
	case 0:
		g.op("Expand", []*value{x, target})
	case 1:
		g.op("ConstantOfShape", []*value{target}, ir.TensorAttr("value", g.tensor(pick(g.random, dtypes[:16]), []int64{1}, g.wild)))
	case 2:
		g.op("Tile", []*value{x, target})
	default:
		g.op("Reshape", []*value{x, target})
	}
	return true
}

func (g *generator) expand() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	target := slices.Clone(x.shape())
	for i := range target {
		if target[i] == 1 || g.odds(3) {
			target[i] = g.between(1, 3)
		}
		if g.odds(3) {
			target[i] = 1
		}
	}
	if g.odds(4) {
		target = append([]int64{g.between(1, 2)}, target...)
	}
	return g.op(pick(g.random, []string{"Expand", "Expand", "Tile"}), []*value{x, g.ints(target...)}) != nil
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

// image is a value of batch, channels and space.
func (g *generator) image() *value {
	if x := g.any(floats(3)); x != nil && x.rank() <= 5 {
		return x
	}
	if g.depth > 0 {
		return nil
	}
	return g.input(ir.Float32, 3+g.IntN(2))
}

func (g *generator) conv() bool {
	x := g.image()
	if x == nil {
		return false
	}
	s := x.shape()
	in, out := s[1], g.between(1, 3)
	group := int64(1)
	if g.odds(4) {
		group, out = in, in
	}
	typ := pick(g.random, []string{"Conv", "Conv", "Conv", "ConvTranspose"})
	w := []int64{out, in / max(group, 1)}
	if typ == "ConvTranspose" {
		w = []int64{in, out / max(group, 1)}
	}
	for range s[2:] {
		w = append(w, g.between(1, 2))
	}
	operands := []*value{x, g.weights(x.dtype(), w...)}
	if g.odds(2) {
		operands = append(operands, g.weights(x.dtype(), out))
	}
	n, window := int64(len(s)), int64(len(s)-2)
	attrs := []*ir.Attr{}
	if group > 1 {
		attrs = append(attrs, ir.IntAttr("group", group))
	}
	for _, name := range []string{"pads", "strides", "dilations", "kernel_shape"} {
		if g.odds(3) {
			k := g.listOf(name, n, window)
			if name == "kernel_shape" {
				k = w[2:]
			}
			attrs = append(attrs, ir.IntsAttr(name, k))
		}
	}
	if g.odds(8) {
		attrs = slices.DeleteFunc(attrs, func(a *ir.Attr) bool { return a.Name == "pads" })
		attrs = append(attrs, ir.StringAttr("auto_pad", pick(g.random, words["auto_pad"])))
	}
	y := g.op(typ, operands, attrs...)
	if y != nil && g.odds(3) {
		g.normalize(y)
	}
	return y != nil
}

func (g *generator) batchNorm() bool {
	x := g.any(floats(2))
	return x != nil && g.normalize(x) != nil
}

func (g *generator) normalize(x *value) *value {
	if x.rank() < 2 || x.shape()[1] == 0 {
		return nil
	}
	c := x.shape()[1]
	in := []*value{x}
	for range 3 {
		in = append(in, g.weights(x.dtype(), c))
	}
	v := make([]float64, c)
	for i := range v {
		v[i] = 0.5 + g.Float64()
	}
	in = append(in, g.constant(encode(g.random, x.dtype(), []int64{c}, v, nil)))
	var attrs []*ir.Attr
	if g.odds(3) {
		attrs = append(attrs, ir.FloatAttr("epsilon", pick(g.random, []float32{1e-3, 0, 1e-5})))
	}
	return g.op("BatchNormalization", in, attrs...)
}

func (g *generator) pool() bool {
	x := g.image()
	if x == nil {
		return false
	}
	if g.odds(3) {
		return g.op(pick(g.random, []string{"GlobalAveragePool", "GlobalMaxPool"}), []*value{x}) != nil
	}
	n, window := int64(x.rank()), int64(x.rank()-2)
	attrs := []*ir.Attr{ir.IntsAttr("kernel_shape", g.listOf("kernel_shape", n, window))}
	for _, name := range []string{"pads", "strides"} {
		if g.odds(2) {
			attrs = append(attrs, ir.IntsAttr(name, g.listOf(name, n, window)))
		}
	}
	if g.odds(4) && g.opset() >= 10 {
		attrs = append(attrs, ir.IntAttr("ceil_mode", 1))
	}
	typ := pick(g.random, []string{"MaxPool", "AveragePool"})
	if typ == "AveragePool" && g.odds(2) {
		attrs = append(attrs, ir.IntAttr("count_include_pad", 1))
	}
	return g.op(typ, []*value{x}, attrs...) != nil
}

func (g *generator) product() bool {
	x := g.any(floats(1))
	if x == nil {
		return false
	}
	k := x.shape()[x.rank()-1]
	n := g.between(1, 3)
	if x.rank() == 2 && g.odds(2) {
		w := []int64{k, n}
		var attrs []*ir.Attr
		if g.odds(2) {
			w = []int64{n, k}
			attrs = append(attrs, ir.IntAttr("transB", 1))
		}
		if g.odds(3) {
			attrs = append(attrs, ir.FloatAttr("alpha", pick(g.random, []float32{2, 0.5, 0})))
		}
		in := []*value{x, g.weights(x.dtype(), w...)}
		if g.opset() < 11 || g.odds(2) {
			in = append(in, g.weights(x.dtype(), pick(g.random, [][]int64{{n}, {1}, {}, {1, n}})...))
		}
		return g.op("Gemm", in, attrs...) != nil
	}
	y := g.op("MatMul", []*value{x, g.weights(x.dtype(), k, n)})
	if y != nil && g.odds(2) {
		g.op("Add", []*value{y, g.weights(x.dtype(), pick(g.random, [][]int64{{n}, {1}, {1, n}})...)})
	}
	return y != nil
}

func (g *generator) reduce() bool {
	x := g.any(isTensor)
	if x == nil {
		return false
	}
	typ := pick(g.random, []string{"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSumSquare"})
	since := int64(18)
	if typ == "ReduceSum" {
		since = 13
	}
	in, attrs := []*value{x}, []*ir.Attr(nil)
	if !g.odds(4) && x.rank() > 0 {
		axes := g.axes(int64(x.rank()))
		if g.opset() < 11 {
			for i := range axes {
				axes[i] = (axes[i] + int64(x.rank())) % int64(x.rank())
			}
		}
		in, attrs = g.list(in, since, "axes", axes...)
	}
	if g.odds(2) {
		attrs = append(attrs, ir.IntAttr("keepdims", g.between(0, 1)))
	}
	if g.odds(12) && g.opset() >= since {
		attrs = append(attrs, ir.IntAttr("noop_with_empty_axes", 1))
	}
	return g.op(typ, in, attrs...) != nil
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

func (g *generator) split() bool {
	x := g.any(func(x *value) bool { return x.rank() > 0 })
	if x == nil {
		return false
	}
	axis := g.axis(x)
	n := x.shape()[(axis+int64(x.rank()))%int64(x.rank())]
	if n < 2 {
		return false
	}
	at := g.between(1, n-1)
	in, attrs := g.list([]*value{x}, 13, "split", at, n-at)
	parts := g.node(ir.Op("Split"), in, 2, append(attrs, ir.IntAttr("axis", axis))...)
	if parts != nil && g.odds(2) {
		g.op("Concat", parts, ir.IntAttr("axis", axis))
	}
	return parts != nil
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
