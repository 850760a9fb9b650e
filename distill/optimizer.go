package distill

import "math"

// rate is the learning rate of step i of n: a linear warm-up, then half a cosine down to zero (Loshchilov and Hutter, arXiv 1608.03983).
func rate(o *Options, i, n int) float64 {
	switch {
	case i < o.Warmup:
		return o.Rate * float64(i+1) / float64(o.Warmup)
	case o.Schedule == "constant":
		return o.Rate
	}
	return o.Rate / 2 * (1 + math.Cos(math.Pi*float64(i-o.Warmup)/float64(max(n-o.Warmup, 1))))
}

// update takes step i (from 0): SGD with momentum, or Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).
// scale is what clipping leaves of the derivative. Vectors do not decay. A scale of a quantizer moves by its logarithm, so that it
// stays positive and its step does not depend on its size; with Relative other steps are in proportion to the size of their tensor, too
// (Shazeer and Stern, arXiv 1804.04235, section 8).
func (w *param) update(o *Options, d []float32, lr, scale float64, i int) {
	const b1, b2, eps = .9, .999, 1e-8
	decay := o.Decay
	if len(w.shape) < 2 || w.kind == quantizer {
		decay = 0
	}
	if w.m == nil {
		w.m = make([]float32, len(w.v))
		w.s = make([]float32, len(w.v))
	}
	if o.Relative && w.kind == weight {
		lr *= max(w.size(), 1e-3)
	}
	c1, c2 := 1-math.Pow(b1, float64(i+1)), 1-math.Pow(b2, float64(i+1))
	for k, x := range w.v {
		if w.zero != nil && w.zero[k] {
			continue
		}
		x := float64(x)
		g := float64(d[k]) * scale
		if w.kind == quantizer {
			g *= x
		}
		var by float64
		if o.Optimizer == "sgd" {
			m := o.Momentum*float64(w.m[k]) + g + decay*x
			w.m[k], by = float32(m), lr*m
		} else {
			m, s := b1*float64(w.m[k])+(1-b1)*g, b2*float64(w.s[k])+(1-b2)*g*g
			w.m[k], w.s[k] = float32(m), float32(s)
			by = lr * (m/c1/(math.Sqrt(s/c2)+eps) + decay*x)
		}
		if w.kind == quantizer {
			w.v[k] = float32(x * math.Exp(-min(max(by, -1), 1)))
		} else {
			w.v[k] = float32(x - by)
		}
	}
}

// size is the root mean square of the elements that are not kept at zero.
func (w *param) size() float64 {
	sum, n := 0.0, 0
	for k, x := range w.v {
		if w.zero == nil || !w.zero[k] {
			sum += float64(x) * float64(x)
			n++
		}
	}
	return math.Sqrt(sum / float64(max(n, 1)))
}

// average moves the average of the weights towards them; at the beginning it follows them more closely.
func (w *param) average(decay float64, step int) {
	if w.mean == nil {
		w.mean = append([]float32(nil), w.v...)
		return
	}
	d := float32(min(decay, float64(1+step)/float64(10+step)))
	for k, x := range w.v {
		w.mean[k] = d*w.mean[k] + (1-d)*x
	}
}

// final are the weights that the result has.
func (w *param) final() []float32 {
	if w.mean != nil {
		return w.mean
	}
	return w.v
}
