package kernel

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// padOp adds elements before and after each axis, or removes them where a pad is negative. Modes: constant, reflect, edge,
// wrap. Below opset 11 pads and value are attributes; from 18 on pads may be for some axes only.
func padOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	before, after, err := padsOf(c, x.Rank())
	if err != nil {
		return nil, err
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	fill, err := padValue(c, x)
	if err != nil {
		return nil, err
	}
	shape := make([]int64, x.Rank())
	mode := c.str("mode", "constant")
	for i, d := range x.Shape() {
		// Sums of huge pads wrap; a result out of range is caught here or by the allocation.
		if shape[i] = d + before[i] + after[i]; shape[i] < 0 || before[i] > 1<<40 || after[i] > 1<<40 || before[i] < -1<<40 || after[i] < -1<<40 {
			return nil, fmt.Errorf("pads %d and %d for a dimension of %d", before[i], after[i], d)
		}
		if d == 0 && shape[i] > 0 && mode != "constant" {
			return nil, fmt.Errorf("mode %s for an empty dimension", mode)
		}
	}
	idx, err := axisLists(c, shape)
	if err != nil {
		return nil, err
	}
	for i := range idx {
		d := int(x.Shape()[i])
		for j := range idx[i] {
			if idx[i][j], err = padIndex(mode, j-int(before[i]), d); err != nil {
				return nil, err
			}
		}
	}
	return one(gatherAxes(c, src, x.Shape(), idx, fill))
}

// padsOf are the pads of every axis.
func padsOf(c *Call, rank int) (before, after []int64, err error) {
	var pads []int64
	switch {
	case c.Opset < 2:
		pads = c.Attr("paddings").Ints()
	case c.Opset < 11:
		pads = c.Attr("pads").Ints()
	default:
		var ok bool
		if pads, ok, err = c.intsOperand(1); err == nil && !ok {
			err = errors.New("operand 1 is missing")
		}
		if err != nil {
			return nil, nil, err
		}
	}
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	if list, ok, err := c.intsOperand(3); err != nil {
		return nil, nil, err
	} else if ok {
		if axes, err = axesOf(list, rank); err != nil {
			return nil, nil, err
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, nil, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	before, after = make([]int64, rank), make([]int64, rank)
	for i, a := range axes {
		before[a], after[a] = pads[i], pads[i+len(axes)]
	}
	return before, after, nil
}

// padValue is an array of the one element that constant mode pads with.
func padValue(c *Call, x *ir.Tensor) (array, error) {
	value := noValue(x.DType())
	if c.Opset < 11 {
		if v := c.float("value", 0); v != 0 {
			var err error
			if value, err = cast(c, ir.ScalarOf(v), x.DType()); err != nil {
				return nil, err
			}
		}
		return open(value)
	}
	t, err := c.Tensor(2)
	if err != nil {
		return nil, err
	}
	if t != nil {
		if t.DType() != x.DType() || t.Len() != 1 {
			return nil, c.badOperand(2, t)
		}
		value = t
	}
	return open(value)
}

// padIndex is the index in a dimension of size d that stands at place j, which may lie outside; -1 for the constant.
func padIndex(mode string, j, d int) (int, error) {
	if j >= 0 && j < d {
		return j, nil
	}
	switch mode {
	case "constant":
		return -1, nil
	case "edge":
		return max(0, min(j, d-1)), nil
	case "reflect":
		if d == 1 {
			return 0, nil
		}
		period := 2 * (d - 1)
		j = ((j % period) + period) % period
		return min(j, period-j), nil
	case "wrap":
		return ((j % d) + d) % d, nil
	}
	return 0, fmt.Errorf("unknown mode %q", mode)
}
