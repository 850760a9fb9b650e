package native

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// prepareBatchNormalizationTraining normalizes by the moments of the batch, and moves the running ones towards them.
func prepareBatchNormalizationTraining(s *site) severalExecutor {
	if s.Int("training_mode", 0) == 0 || s.opset < 14 {
		return nil
	}
	eps, momentum := float64(s.Float("epsilon", 1e-5)), float64(s.Float("momentum", 0.9))
	return func(t *task) ([]ir.Datum, bool) {
		x, v, ok := t.single(0)
		if !ok || x.Rank() < 2 || len(v) == 0 {
			return nil, false
		}
		batch, channels := int(x.Shape()[0]), int(x.Shape()[1])
		var p [4][]float32 // scale, bias, running mean and variance
		for i := range p {
			if _, p[i], ok = t.single(i + 1); !ok || len(p[i]) != channels {
				return nil, false
			}
		}
		y, ok := t.over(0)
		if !ok {
			return nil, false
		}
		plane := len(v) / (batch * channels)
		mean, variance := make([]float32, channels), make([]float32, channels)
		next := func(running []float32, c int, now float64) float32 {
			return float32(float64(running[c])*momentum + now*(1-momentum))
		}
		t.pool.For(channels, max(1, grain/(batch*plane)), func(_, from, to int) {
			for c := from; c < to; c++ {
				row := func(i int) []float32 { return v[(i*channels+c)*plane:][:plane] }
				sum, n := 0.0, float64(batch*plane)
				for i := range batch {
					sum += total(row(i))
				}
				m := sum / n
				sum = 0
				for i := range batch {
					sum += float64(gemm.SumSquares(row(i), float32(m)))
				}
				d := m - float64(float32(m))
				w := sum/n - d*d
				factor := float32(float64(p[0][c]) / math.Sqrt(w+eps))
				for i := range batch {
					gemm.Standardize(y[(i*channels+c)*plane:][:plane], row(i), float32(m), factor, p[1][c], float32(math.Inf(-1)), float32(math.Inf(1)))
				}
				mean[c], variance[c] = next(p[2], c, m), next(p[3], c, w)
			}
		})
		shape := []int64{int64(channels)}
		return []ir.Datum{ir.TensorOf(y, slices.Clone(x.Shape())...), ir.TensorOf(mean, shape...), ir.TensorOf(variance, shape...)}, true
	}
}
