package native

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// prepareGather copies rows. An index out of range is the kernel's error.
func prepareGather(s *site) executor {
	axis := s.Int("axis", 0)
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.single(0)
		idx := t.ints(1)
		if !ok || len(v) == 0 || len(idx) == 0 || axis < -int64(x.Rank()) || axis >= int64(x.Rank()) {
			return nil, false
		}
		at := int(axis)
		if at < 0 {
			at += x.Rank()
		}
		d := x.Shape()[at]
		if slices.Min(idx) < -d || slices.Max(idx) >= d {
			return nil, false
		}
		shape := slices.Concat(x.Shape()[:at], t.in[1].(*ir.Tensor).Shape(), x.Shape()[at+1:])
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		n := int(ir.NumElements(x.Shape()[at+1:]))
		t.pool.For(len(dst)/n, max(1, grain/n), func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				i := idx[r%len(idx)]
				if i < 0 {
					i += d
				}
				copy(dst[r*n:][:n], v[(r/len(idx)*int(d)+int(i))*n:])
			}
		})
		return result(dst, shape)
	}
}
