package grad

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// spread gives v, of the shape of the node's result, the axes of the operand again, of size one where it was reduced.
func (b *builder) spread(v *ir.Value) (*ir.Value, error) {
	axes := b.in(1)
	if ops.Int(b.n, "keepdims") != 0 || axes == nil {
		return v, nil // a scalar is repeated as it is
	}
	if axes.Const() == nil {
		return nil, fmt.Errorf("its axes are not constant")
	}
	if axes.Const().Len() == 0 {
		return v, nil
	}
	return b.op("Unsqueeze", v, axes), nil
}

// reduceRule has the derivative that f makes of the results and their derivative, which have the operand's axes.
func reduceRule(f func(b *builder, y, dy *ir.Value) *ir.Value) func(*builder) error {
	return func(b *builder) error {
		if !b.need(0) {
			return nil
		}
		dy, err := b.spread(b.dy[0])
		if err != nil {
			return err
		}
		y, err := b.spread(b.out(0))
		if err != nil {
			return err
		}
		b.pass(0, f(b, y, dy))
		if y != b.out(0) && y.NumUses() == 0 {
			b.g.Erase(y.Node())
		}
		return nil
	}
}

// meanRule divides by the number of elements that went into one.
func meanRule(b *builder, _, dy *ir.Value) *ir.Value {
	x, y := b.in(0), b.out(0)
	dx, ok := b.dims(x)
	dyy, ok2 := b.dims(y)
	var share *ir.Value
	if n := ir.NumElements(dyy); ok && ok2 && n > 0 {
		share = b.op("Mul", dy, b.num(x, float64(n)/float64(ir.NumElements(dx))))
	} else {
		size := func(v *ir.Value) *ir.Value { return b.cast(b.op("Size", v), b.elem(x)) }
		share = b.op("Div", dy, b.op("Div", size(x), size(y)))
	}
	return b.op("Expand", share, b.shape(x))
}

// peakRule splits the derivative evenly among the elements that reach the extreme.
func peakRule(b *builder, y, dy *ir.Value) *ir.Value {
	hit := b.cast(b.op("Equal", b.in(0), y), b.elem(b.in(0)))
	in := []*ir.Value{hit}
	if b.in(1) != nil {
		in = append(in, b.in(1))
	}
	count := b.with("ReduceSum", in, ir.IntAttr("keepdims", 1), ir.IntAttr("noop_with_empty_axes", ops.Int(b.n, "noop_with_empty_axes")))
	return b.op("Mul", hit, b.op("Div", dy, count))
}
