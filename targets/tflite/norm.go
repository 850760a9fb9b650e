package tflite

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// floatsOf are the elements of a constant float32 operand.
func (e *emitter) floatsOf(v *ir.Value) ([]float32, error) {
	t := e.constant(v)
	if t == nil || t.DType() != ir.Float32 {
		return nil, errors.New("parameters that are no float constants")
	}
	return ir.Elements[float32](t)
}

// lowerBatchNorm is a factor and a summand for each channel.
func lowerBatchNorm(e *emitter, n *ir.Node) error {
	if n.Int("training_mode", 0) != 0 {
		return errors.New("training mode")
	}
	var p [4][]float32
	for i := range p {
		v, err := e.floatsOf(n.Operand(i + 1))
		if err != nil {
			return err
		}
		p[i] = v
	}
	epsilon := float64(n.Float("epsilon", 1e-5))
	factor, summand := make([]float32, len(p[0])), make([]float32, len(p[0]))
	for i := range factor {
		f := float64(p[0][i]) / math.Sqrt(float64(p[3][i])+epsilon)
		factor[i], summand[i] = float32(f), float32(float64(p[1][i])-float64(p[2][i])*f)
	}
	w := e.view(n.Operand(0))
	shape := ones(len(w.perm))
	shape[slices.Index(w.perm, 1)] = len(factor)
	name := n.Result(0).Name()
	x := e.op(opMul, name, w.t.typ, w.t.shape, binaryOptions(opMul, actNone), w.t, e.literal(name+"_factor", typeFloat32, shape, ir.AsBytes(factor)))
	last, act := e.activation(n)
	e.result(last, opAdd, w.perm, binaryOptions(opAdd, act), x, e.literal(name+"_summand", typeFloat32, shape, ir.AsBytes(summand)))
	return nil
}

// standardized is x less its mean, over its deviation; axes are those of the tensor.
func (c chain) standardized(axes []int, epsilon float32) chain {
	e, x := c.e, c.t
	shape := slices.Clone(x.shape)
	for _, a := range axes {
		shape[a] = 1
	}
	at := e.ints(axes...)
	mean := e.op(opMean, c.base, x.typ, shape, reducerOptions(true), x, at)
	square := e.op(opSquaredDiff, c.base, x.typ, x.shape, options{}, x, mean)
	variance := chain{e, c.base, e.op(opMean, c.base, x.typ, shape, reducerOptions(true), square, at)}
	return c.and(opSub, mean).and(opMul, variance.with(opAdd, epsilon).unary(opRsqrt).t)
}

// lastAxes are the places of a value's axes from the given one on, in a tensor with its axes in order.
func lastAxes(from, rank int) []int {
	var r []int
	for a := from; a < rank; a++ {
		r = append(r, a)
	}
	return r
}

func axisOf(n *ir.Node, def int64, rank int) (int, error) {
	a := n.Int("axis", def)
	if a < 0 {
		a += int64(rank)
	}
	if a < 0 || a >= int64(rank) {
		return 0, fmt.Errorf("axis %d of %d", n.Int("axis", def), rank)
	}
	return int(a), nil
}

func lowerLayerNorm(e *emitter, n *ir.Node) error {
	for _, v := range n.Results()[1:] {
		if v != nil && v.NumUses() > 0 {
			return errors.New("mean and deviation as results")
		}
	}
	x := n.Operand(0)
	rank := len(e.shape(x))
	axis, err := axisOf(n, -1, rank)
	if err != nil {
		return err
	}
	c := chain{e, n.Result(0).Name(), e.as(x, identity(rank))}.standardized(lastAxes(axis, rank), n.Float("epsilon", 1e-5))
	c = c.and(opMul, e.broadcast(n.Operand(1), rank, identity(rank)))
	if b := n.Operand(2); b != nil {
		c = c.and(opAdd, e.broadcast(b, rank, identity(rank)))
	}
	e.define(n.Result(0), c.t, identity(rank))
	return nil
}

func lowerRMSNorm(e *emitter, n *ir.Node) error {
	x := n.Operand(0)
	rank := len(e.shape(x))
	axis, err := axisOf(n, -1, rank)
	if err != nil {
		return err
	}
	c := chain{e, n.Result(0).Name(), e.as(x, identity(rank))}
	shape := slices.Clone(c.t.shape)
	for a := axis; a < rank; a++ {
		shape[a] = 1
	}
	mean := chain{e, c.base, e.op(opMean, c.base, c.t.typ, shape, reducerOptions(true), c.and(opMul, c.t).t, e.ints(lastAxes(axis, rank)...))}
	c = c.and(opMul, mean.with(opAdd, n.Float("epsilon", 1e-5)).unary(opRsqrt).t).and(opMul, e.broadcast(n.Operand(1), rank, identity(rank)))
	e.define(n.Result(0), c.t, identity(rank))
	return nil
}

// lowerInstanceNorm standardizes each plane.
func lowerInstanceNorm(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	var axes []int
	shape := ones(len(w.perm))
	for i, a := range w.perm {
		if a > 1 {
			axes = append(axes, i)
		}
		if a == 1 {
			shape[i] = w.t.shape[i]
		}
	}
	c := chain{e, n.Result(0).Name(), w.t}.standardized(axes, n.Float("epsilon", 1e-5))
	for i, code := range []opcode{opMul, opAdd} {
		v, err := e.floatsOf(n.Operand(i + 1))
		if err != nil {
			return err
		}
		c = c.and(code, e.literal(c.base+"_parameter", typeFloat32, shape, ir.AsBytes(v)))
	}
	e.define(n.Result(0), c.t, w.perm)
	return nil
}

// lowerSoftmax works on the last axis of a tensor; before opset 13 on all axes from one on.
func lowerSoftmax(e *emitter, n *ir.Node) error {
	code, o := opSoftmax, softmaxOptions()
	if n.Is("LogSoftmax") {
		code, o = opLogSoftmax, options{}
	}
	x := n.Operand(0)
	shape := e.shape(x)
	rank := len(shape)
	def := int64(-1)
	old := n.Graph().Opset("") < 13
	if old {
		def = 1
	}
	axis, err := axisOf(n, def, rank)
	if err != nil {
		return err
	}
	name := n.Result(0).Name()
	if old && axis < rank-1 {
		rows, cols := 1, 1
		for i, d := range shape {
			if i < axis {
				rows *= d
			} else {
				cols *= d
			}
		}
		y := e.op(code, name, e.typ(x), []int{rows, cols}, o, e.reshape(name, e.as(x, identity(rank)), []int{rows, cols}))
		e.define(n.Result(0), e.reshape(name, y, shape), identity(rank))
		return nil
	}
	perm := e.view(x).perm
	if perm[rank-1] != axis {
		perm = append(slices.DeleteFunc(identity(rank), func(a int) bool { return a == axis }), axis)
	}
	e.result(n, code, perm, o, e.as(x, perm))
	return nil
}

// reduce translates a reduction over constant axes.
func reduce(code opcode) lowering {
	return func(e *emitter, n *ir.Node) error {
		if e.typ(n.Operand(0)) == typeBool {
			return errors.New("a reduction of bools")
		}
		w := e.view(n.Operand(0))
		t, perm, err := e.reduced(n, code, w)
		if err != nil {
			return err
		}
		e.define(n.Result(0), t, perm)
		return nil
	}
}

// axesOf are the axes of a reduction, from the attribute or operand 1.
func (e *emitter) axesOf(n *ir.Node, rank int) ([]int, error) {
	list := n.Ints("axes")
	if v := n.Operand(1); v != nil {
		t := e.constant(v)
		if t == nil {
			return nil, errors.New("axes that are no constants")
		}
		l, err := ir.Elements[int64](t)
		if err != nil {
			return nil, err
		}
		list = l
	}
	if len(list) == 0 {
		if n.Int("noop_with_empty_axes", 0) != 0 {
			return nil, nil
		}
		return identity(rank), nil
	}
	var r []int
	for _, a := range list {
		if a < 0 {
			a += int64(rank)
		}
		r = append(r, int(a))
	}
	return r, nil
}

// reduced appends a reduction of w, an order of the operand of n, and returns the result with the order of its axes.
func (e *emitter) reduced(n *ir.Node, code opcode, w view) (*tensor, []int, error) {
	rank := len(w.perm)
	axes, err := e.axesOf(n, rank)
	if err != nil {
		return nil, nil, err
	}
	if len(axes) == 0 {
		return w.t, w.perm, nil
	}
	keep := n.Int("keepdims", 1) != 0
	var at, shape, perm []int
	for i, a := range w.perm {
		switch gone := slices.Contains(axes, a); {
		case gone:
			at = append(at, i)
			if keep {
				shape, perm = append(shape, 1), append(perm, a)
			}
		default:
			shape, perm = append(shape, w.t.shape[i]), append(perm, a)
		}
	}
	if !keep { // axes move up
		for i, a := range perm {
			for _, g := range axes {
				if g < a {
					perm[i]--
				}
			}
		}
	}
	if shape == nil {
		shape, perm = []int{}, []int{}
	}
	return e.op(code, n.Result(0).Name(), w.t.typ, shape, reducerOptions(keep), w.t, e.ints(at...)), perm, nil
}

func lowerReduceL2(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	c := chain{e, n.Result(0).Name(), w.t}
	t, perm, err := e.reduced(n, opSum, view{c.and(opMul, w.t).t, w.perm})
	if err != nil {
		return err
	}
	e.define(n.Result(0), chain{e, c.base, t}.unary(opSqrt).t, perm)
	return nil
}

// lowerArg finds the place of the largest or smallest element.
func lowerArg(code opcode) lowering {
	return func(e *emitter, n *ir.Node) error {
		if n.Int("select_last_index", 0) != 0 {
			return errors.New("select_last_index")
		}
		x := n.Operand(0)
		rank := len(e.shape(x))
		axis, err := axisOf(n, 0, rank)
		if err != nil {
			return err
		}
		shape := e.shape(n.Result(0))
		without := slices.Delete(slices.Clone(e.shape(x)), axis, axis+1)
		t := e.op(code, n.Result(0).Name(), typeInt64, without, argMaxOptions(code, typeInt64), e.as(x, identity(rank)), e.ints(axis))
		e.define(n.Result(0), e.reshape(n.Result(0).Name(), t, shape), identity(len(shape)))
		return nil
	}
}
