package native

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// prepareSlice copies rows; where their elements lie apart, one by one.
func prepareSlice(s *site) executor {
	if s.opset < 10 {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.single(0)
		if !ok || len(v) == 0 {
			return nil, false
		}
		starts, ends, axes, by := t.ints(1), t.ints(2), t.ints(3), t.ints(4)
		n := len(starts)
		if n == 0 || len(ends) != n || s.given(3) && len(axes) != n || s.given(4) && len(by) != n || n > x.Rank() {
			return nil, false // or other integers, which the kernel takes
		}
		shape, steps, at := slices.Clone(x.Shape()), stepsOver(x.Shape(), x.Rank()), 0
		for i := range starts {
			a, step := int64(i), int64(1)
			if axes != nil {
				a = axes[i]
			}
			if a < 0 {
				a += int64(x.Rank())
			}
			if by != nil {
				step = by[i]
			}
			if a < 0 || a >= int64(x.Rank()) || slices.ContainsFunc(axes[:min(i, len(axes))], func(b int64) bool { return b == a || b+int64(x.Rank()) == a }) {
				return nil, false
			}
			from, count, err := kernel.SliceRange(starts[i], ends[i], step, x.Shape()[a])
			if err != nil || count == 0 {
				return nil, false
			}
			at += int(from) * steps[a]
			if shape[a] = count; count > 1 { // else the product could overflow
				steps[a] *= int(step)
			}
		}
		if slices.Equal(shape, x.Shape()) && at == 0 {
			return nil, false // it is the operand
		}
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		newPermutation(shape, steps).gather(t.pool, dst, v, at)
		return result(dst, shape)
	}
}
