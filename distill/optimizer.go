package distill

import "math"

// weight is a parameter in training.
type weight struct {
	name  string
	shape []int64
	v     []float32
	m, s  []float64 // moments
}

// rate is the learning rate of step i of n: a linear warm-up, then half a cosine down to zero (Loshchilov and Hutter, arXiv 1608.03983).
func rate(o *Options, i, n int) float64 {
	if i < o.Warmup {
		return o.Rate * float64(i+1) / float64(o.Warmup)
	}
	return o.Rate / 2 * (1 + math.Cos(math.Pi*float64(i-o.Warmup)/float64(max(n-o.Warmup, 1))))
}

// update takes step i (from 0): SGD with momentum, or Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).
// scale is what clipping leaves of the derivative. Vectors do not decay.
func (w *weight) update(o *Options, d []float32, lr, scale float64, i int) {
	const b1, b2, eps = .9, .999, 1e-8
	decay := o.Decay
	if len(w.shape) < 2 {
		decay = 0
	}
	if w.m == nil {
		w.m = make([]float64, len(w.v))
		w.s = make([]float64, len(w.v))
	}
	c1, c2 := 1-math.Pow(b1, float64(i+1)), 1-math.Pow(b2, float64(i+1))
	for k, x := range w.v {
		g := float64(d[k]) * scale
		if o.Optimizer == "sgd" {
			w.m[k] = o.Momentum*w.m[k] + g + decay*float64(x)
			w.v[k] = float32(float64(x) - lr*w.m[k])
			continue
		}
		w.m[k] = b1*w.m[k] + (1-b1)*g
		w.s[k] = b2*w.s[k] + (1-b2)*g*g
		w.v[k] = float32(float64(x) - lr*(w.m[k]/c1/(math.Sqrt(w.s[k]/c2)+eps)+decay*float64(x)))
	}
}
