package native

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// prepareBatchNormalization is y = (x-mean)*factor + bias for each channel, with factor = scale/sqrt(var+epsilon) from float64;
// in this order the mean cancels before anything is rounded twice.
func prepareBatchNormalization(s *site) executor {
	if s.Int("training_mode", 0) != 0 || s.Int("spatial", 1) == 0 {
		return nil
	}
	eps := float64(s.Float("epsilon", 1e-5))
	l, limited := s.following()
	if !limited {
		l = limits{lo: float32(math.Inf(-1)), hi: float32(math.Inf(1))}
	}
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.float(0)
		if !ok || x.Rank() < 2 || len(v) == 0 {
			return nil, false
		}
		channels := int(x.Shape()[1])
		var p [4][]float32 // scale, bias, mean, variance
		for i := range p {
			if _, p[i], ok = t.float(i + 1); !ok || len(p[i]) != channels {
				return nil, false
			}
		}
		r, ok := t.over(0)
		if !ok {
			return nil, false
		}
		planes := int(x.Shape()[0]) * channels
		plane := len(v) / planes
		t.pool.For(planes, max(1, grain/plane), func(_, from, to int) {
			for i := from; i < to; i++ {
				c := i % channels
				factor := float64(p[0][c]) / math.Sqrt(float64(p[3][c])+eps)
				dst, src := r[i*plane:][:plane], v[i*plane:][:plane]
				gemm.Standardize(dst, src, p[2][c], float32(factor), p[1][c], l.lo, l.hi)
			}
		})
		if limited {
			t.markLimited()
		}
		return result(r, x.Shape())
	}
}

// prepareSoftmax covers the last axis; from opset 13 on, or where the flattened axes are the last one.
func prepareSoftmax(s *site) executor {
	def := int64(-1)
	if s.opset < 13 {
		def = 1
	}
	axis := s.Int("axis", def)
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.float(0)
		if !ok || len(v) == 0 || x.Rank() == 0 || axis != -1 && axis != int64(x.Rank())-1 {
			return nil, false
		}
		r, ok := t.over(0)
		if !ok {
			return nil, false
		}
		n := int(x.Shape()[x.Rank()-1])
		t.pool.For(len(v)/n, max(1, grain/n), func(_, from, to int) {
			gemm.SoftmaxRows(r[from*n:to*n], v[from*n:to*n], n)
		})
		return result(r, x.Shape())
	}
}
