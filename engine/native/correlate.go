package native

import (
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// correlates reports whether a convolution is a gemm.Correlation. Limits of a node that follows are left to it.
func correlates(p gemm.ConvParams, f fitted) bool {
	oh, ow := p.OutputSize(f.height, f.width)
	kernel := p.Kernel[0] * p.Kernel[1]
	return kernel >= 16 && oh*ow > 0 && oh*ow <= kernel && f.shape[0] > 1
}

// correlate evaluates it; false where memory is short.
func (t *task) correlate(p gemm.ConvParams, f fitted, x, w []float32) (*ir.Tensor, bool) {
	c := gemm.NewCorrelation(p, int(f.shape[0]), f.height, f.width)
	dst, ok := t.alloc(f.shape)
	if !ok {
		return nil, false
	}
	scratch, ok := t.scratch(c.Scratch(t.pool.Workers()))
	if !ok {
		t.done(dst)
		return nil, false
	}
	c.Run(dst, x, w, scratch, t.pool, func() bool { return t.frame.run.ctx.Err() == nil })
	t.done(scratch)
	return result(dst, f.shape)
}
