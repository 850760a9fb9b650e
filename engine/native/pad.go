package native

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// preparePad copies the rows of the operand into a result full of the value; negative pads and other modes are left to the kernel.
func preparePad(s *site) executor {
	if s.opset < 11 || s.Str("mode", "constant") != "constant" || s.given(3) {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.single(0)
		pads := t.ints(1)
		if !ok || len(v) == 0 || len(pads) != 2*x.Rank() || len(pads) == 0 {
			return nil, false
		}
		var value float32
		if s.given(2) {
			_, f, ok := t.single(2)
			if !ok || len(f) != 1 {
				return nil, false
			}
			value = f[0]
		}
		rank := x.Rank()
		shape := make([]int64, rank)
		for i, d := range x.Shape() {
			before, after := pads[i], pads[i+rank]
			if before < 0 || after < 0 || before > math.MaxInt32 || after > math.MaxInt32 {
				return nil, false
			}
			shape[i] = d + before + after
		}
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		n, wide := int(x.Shape()[rank-1]), int(shape[rank-1])
		// Rows of the result, each with the row of the operand it has or none.
		t.pool.For(len(dst)/wide, max(1, grain/wide), func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				row := dst[r*wide:][:wide]
				from, pitch, rest, inside := 0, 1, int64(r), true
				for a := rank - 2; a >= 0; a-- {
					at := rest%shape[a] - pads[a]
					rest /= shape[a]
					inside = inside && at >= 0 && at < x.Shape()[a]
					from += int(at) * pitch
					pitch *= int(x.Shape()[a])
				}
				if !inside {
					fill(row, value)
					continue
				}
				at := int(pads[rank-1])
				fill(row[:at], value)
				copy(row[at:], v[from*n:][:n])
				fill(row[at+n:], value)
			}
		})
		return result(dst, shape)
	}
}
