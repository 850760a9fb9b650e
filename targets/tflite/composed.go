package tflite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Operators that the target lacks, made of those that it has.

// exponential is scale * (max(x, 0) + alpha*(exp(min(x, 0)) - 1)), which Elu and Selu are.
func exponential(alpha, scale func(n *ir.Node) float32) lowering {
	return func(e *emitter, n *ir.Node) error {
		a, s := alpha(n), scale(n)
		if a == 1 && s == 1 {
			return unary(opElu)(e, n)
		}
		c, perm := e.start(n, 0)
		c = c.with(opMinimum, 0).unary(opExp).with(opAdd, -1).with(opMul, a).and(opAdd, c.unary(opRelu).t)
		if s != 1 {
			c = c.with(opMul, s)
		}
		e.define(n.Result(0), c.t, perm)
		return nil
	}
}

// alphaOf reads the attribute alpha.
func alphaOf(def float32) func(n *ir.Node) float32 {
	return func(n *ir.Node) float32 { return n.Float("alpha", def) }
}

func gammaOf(n *ir.Node) float32 { return n.Float("gamma", 1.05070102214813232421875) }

func always(f float32) func(*ir.Node) float32 { return func(*ir.Node) float32 { return f } }

// lowerSoftsign is x / (1 + |x|).
func lowerSoftsign(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	e.define(n.Result(0), c.and(opDiv, c.unary(opAbs).with(opAdd, 1).t).t, perm)
	return nil
}

// choose takes a where a condition on elements holds, else b.
func (c chain) choose(code opcode, bound float32, a, b *tensor) chain {
	cond := c.e.op(code, c.base, typeBool, c.t.shape, options{}, c.t, c.e.scalar(bound))
	return chain{c.e, c.base, c.e.op(opSelectV2, c.base, typeFloat32, c.t.shape, options{}, cond, a, b)}
}

func lowerThresholdedRelu(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	e.define(n.Result(0), c.choose(opGreater, n.Float("alpha", 1), c.t, e.scalar(0)).t, perm)
	return nil
}

// lowerShrink moves what lies outside of -lambd to lambd by bias, and makes the rest zero.
func lowerShrink(e *emitter, n *ir.Node) error {
	c, perm := e.start(n, 0)
	bias, lambd := n.Float("bias", 0), n.Float("lambd", 0.5)
	high := c.choose(opGreater, lambd, c.with(opSub, bias).t, e.scalar(0))
	e.define(n.Result(0), c.choose(opLess, -lambd, c.with(opAdd, bias).t, high.t).t, perm)
	return nil
}

// lowerMod is the remainder with the sign of the divisor, of integers.
func lowerMod(e *emitter, n *ir.Node) error {
	if t := e.typ(n.Operand(0)); n.Int("fmod", 0) != 0 || t != typeInt32 && t != typeInt64 {
		return fmt.Errorf("the remainder of %s with fmod %d", e.facts.DType(n.Operand(0)), n.Int("fmod", 0))
	}
	e.pair(n, opFloorMod, options{}, n.Operand(0), n.Operand(1))
	return nil
}

// summed is a sum over axes of what before makes of the elements, and what after makes of that.
func summed(before func(chain) chain, after ...opcode) lowering {
	return func(e *emitter, n *ir.Node) error {
		w := e.view(n.Operand(0))
		if w.t.typ != typeFloat32 {
			return fmt.Errorf("elements of type %s", e.facts.DType(n.Operand(0)))
		}
		t, perm, err := e.reduced(n, opSum, view{before(chain{e, n.Result(0).Name(), w.t}).t, w.perm})
		if err != nil {
			return err
		}
		c := chain{e, n.Result(0).Name(), t}
		for _, code := range after {
			c = c.unary(code)
		}
		e.define(n.Result(0), c.t, perm)
		return nil
	}
}

func squares(c chain) chain { return c.and(opMul, c.t) }
func sizes(c chain) chain   { return c.unary(opAbs) }
func plain(c chain) chain   { return c }

// lowerReduceLogSumExp takes the largest element out, so that nothing overflows.
func lowerReduceLogSumExp(e *emitter, n *ir.Node) error {
	w := e.view(n.Operand(0))
	axes, err := e.axesOf(n, len(w.perm))
	switch {
	case err != nil:
		return err
	case w.t.typ != typeFloat32 || len(axes) == 0:
		return errors.New("no axes, or other elements than floats")
	}
	shape := slices.Clone(w.t.shape)
	var at []int
	for i, a := range w.perm {
		if slices.Contains(axes, a) {
			at = append(at, i)
			shape[i] = 1
		}
	}
	base := n.Result(0).Name()
	top := e.op(opReduceMax, base, typeFloat32, shape, reducerOptions(true), w.t, e.ints(at...))
	sum, perm, err := e.reduced(n, opSum, view{chain{e, base, w.t}.and(opSub, top).unary(opExp).t, w.perm})
	if err != nil {
		return err
	}
	c := chain{e, base, sum}.unary(opLog).and(opAdd, e.reshape(base, top, sum.shape))
	e.define(n.Result(0), c.t, perm)
	return nil
}

// lowerTopK works on the last axis, as the target does, which puts the lower of equal elements' places first as ONNX does.
func lowerTopK(e *emitter, n *ir.Node) error {
	x := n.Operand(0)
	rank := len(e.shape(x))
	axis, err := axisOf(n, -1, rank)
	if err != nil {
		return err
	}
	k, err := e.intsOf(n.Operand(1))
	switch {
	case err != nil:
		return err
	case n.Int("largest", 1) == 0:
		return errors.New("the least elements; the target has the largest")
	case len(k) != 1 || rank == 0:
		return errors.New("how many is no single number")
	}
	order := append(slices.Delete(identity(rank), axis, axis+1), axis)
	t := e.as(x, order)
	shape := slices.Clone(t.shape)
	shape[rank-1] = int(k[0])
	values, places := e.tensor(n.Result(0).Name(), t.typ, shape), e.tensor(n.Result(0).Name(), typeInt32, shape)
	count := e.literal("const", typeInt32, []int{}, ir.AsBytes([]int32{int32(k[0])}))
	e.file.ops = append(e.file.ops, &operation{code: opTopK, version: versionOf(opTopK), in: []*tensor{t, count}, out: []*tensor{values, places}})
	e.define(n.Result(0), values, order)
	if v := n.Result(1); v != nil && v.NumUses() > 0 {
		e.define(v, e.op(opCast, v.Name(), typeInt64, shape, castOptions(typeInt32, typeInt64), places), order)
	}
	return nil
}
