// Package reductions is the pass that lets reductions keep or drop the axes that are put back or dropped behind them.
package reductions

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass joins a reduction with the Unsqueeze, Squeeze or Reshape behind it.
var Pass = rewrite.Define(passes.Info{
	Name: "reductions",
	Doc:  "joins reductions with the change of shape behind them",
}, rule)

//	x ── ReduceMax <keepdims = 0> ── Unsqueeze ──   becomes   x ── ReduceMax ──
//
// and the other way round with Squeeze.
var rule = &rewrite.Rule{
	Name: "keep-axes",
	Doc:  "lets a reduction keep or drop its axes, as the change of shape behind it does",
	Match: rewrite.MustParse(`
		y = {ReduceL1, ReduceL2, ReduceLogSum, ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum, ReduceSumSquare, ArgMax, ArgMin} <...> (x, axes?)
		z = {Unsqueeze, Squeeze, Reshape, Flatten} <...> (y, rest...)`),
	Where: func(m *rewrite.Match) error {
		n := m.Node("y")
		x, ok := m.Dims("x")
		y, ok2 := m.Dims("y")
		z, ok3 := m.Dims("z")
		if !ok || !ok2 || !ok3 {
			return errors.New("the shapes are not known")
		}
		axes, err := reduced(m, n, len(x))
		if err != nil {
			return err
		}
		keep := len(y) != len(x)
		k := 0
		for i, d := range x {
			gone := slices.Contains(axes, int64(i))
			switch {
			case gone && !keep:
				continue
			case k == len(z), gone && !z[k].Is(1), !gone && !z[k].Same(d):
				return fmt.Errorf("the shape behind it is not that of a reduction along %v", axes)
			}
			k++
		}
		if k != len(z) {
			return fmt.Errorf("the shape behind it is not that of a reduction along %v", axes)
		}
		m.Keep = keep
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		keep := int64(0)
		if m.Keep.(bool) {
			keep = 1
		}
		return []*ir.Value{b.Like(m.Node("y"), m.Node("y").Operands(), ir.IntAttr("keepdims", keep))}
	},
}

// reduced are the axes of a reduction of a value of that rank.
func reduced(m *rewrite.Match, n *ir.Node, rank int) ([]int64, error) {
	var axes []int64
	switch t := n.Operand(1); {
	case n.Is("ArgMax", "ArgMin"):
		axes = []int64{ops.Int(n, "axis")}
	case t != nil:
		v, ok, err := rewrite.Ints(t.Const())
		m.Fail(err)
		if !ok {
			return nil, errors.New("the axes are not known")
		}
		axes = v
	default:
		axes = n.Ints("axes")
	}
	if len(axes) == 0 {
		if ops.Int(n, "noop_with_empty_axes") != 0 {
			return nil, errors.New("it reduces nothing")
		}
		for i := range rank {
			axes = append(axes, int64(i))
		}
	}
	axes = slices.Clone(axes)
	for i := range axes {
		if axes[i] < 0 {
			axes[i] += int64(rank)
		}
	}
	return axes, nil
}
