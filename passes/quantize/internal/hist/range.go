package hist

import (
	"fmt"
	"math"
	"slices"
)

// Range is what a quantizer covers. It holds zero.
type Range struct{ Lo, Hi float64 }

// WithZero widens r to hold zero, which quantizers have to represent exactly.
func (r Range) WithZero() Range { return Range{math.Min(r.Lo, 0), math.Max(r.Hi, 0)} }

// Methods are the names of what Find knows, besides auto.
var Methods = []string{"minmax", "moving", "percentile", "entropy", "mse"}

// Spec says how values are quantized, for the methods that look at the error.
type Spec struct {
	Levels     int     // 255 steps for 8 bits
	Symmetric  bool    // zero is in the middle
	Percentile float64 // 0: 99.99
	// F is what is computed of each value, if it is nothing but that: errors then count by what they make of it. nil: the value itself.
	F func(x float64) float64
}

// Find is the range by a method. The histogram must not be empty.
func (h *Histogram) Find(method string, s Spec) (Range, error) {
	whole := Range{h.Min, h.Max}.WithZero()
	switch method {
	case "minmax":
		return whole, nil
	case "moving":
		if h.Runs == 0 {
			return whole, nil
		}
		return Range{h.AverageMin, h.AverageMax}.WithZero(), nil
	case "percentile":
		p := s.Percentile
		if p == 0 {
			p = 99.99
		}
		return h.percentile(p, s.Symmetric), nil
	case "entropy":
		return h.search(s, h.entropyOf), nil
	case "mse":
		return h.MSE(s, 2), nil
	}
	return Range{}, fmt.Errorf("there is no calibration method %q", method)
}

// percentile leaves out what lies beyond the given share of values, half of it at either end; one-sided tensors lose it at their one end.
func (h *Histogram) percentile(p float64, symmetric bool) Range {
	cut := (1 - p/100) * float64(h.N)
	if symmetric {
		x := h.magnitude(cut)
		return Range{-x, x}
	}
	low, high := cut/2, cut/2
	if h.Min >= 0 {
		low, high = 0, cut
	} else if h.Max <= 0 {
		low, high = cut, 0
	}
	w := math.Ldexp(1, h.Exp)
	return Range{
		Lo: math.Max(h.Min, -edge(h.Low, low, w)),
		Hi: math.Min(h.Max, edge(h.High, high, w)),
	}.WithZero()
}

// edge is the distance from zero beyond which at most cut values lie.
func edge(bins []int64, cut, w float64) float64 {
	left := 0.0
	for i := len(bins) - 1; i >= 0; i-- {
		if left += float64(bins[i]); left > cut {
			return float64(i+1) * w
		}
	}
	return 0
}

// magnitude is the |x| beyond which at most cut values lie.
func (h *Histogram) magnitude(cut float64) float64 {
	both := slices.Clone(h.High)
	for i, n := range h.Low {
		both[i] += n
	}
	return math.Min(edge(both, cut, math.Ldexp(1, h.Exp)), math.Max(-h.Min, h.Max))
}

// MSE is the range with the least mean of |error|^power.
func (h *Histogram) MSE(s Spec, power float64) Range {
	var xs, ns, fs, slopes []float64
	w := math.Ldexp(1, h.Exp)
	f := s.F
	if f == nil {
		f = func(x float64) float64 { return x }
	}
	h.each(func(x float64, n int64) {
		xs, ns, fs = append(xs, x), append(ns, float64(n)), append(fs, f(x))
		slopes = append(slopes, math.Abs(f(x+w)-f(x-w))/(2*w))
	})
	return h.search(s, func(r Range) float64 {
		sum := 0.0
		scale := (r.Hi - r.Lo) / float64(s.Levels)
		zero := math.RoundToEven(-r.Lo / scale)
		for i, x := range xs {
			q := math.Min(math.Max(math.RoundToEven(x/scale)+zero, 0), float64(s.Levels))
			// Values are spread over a bin, and rounded within a step: with bins narrower than steps the error of the middle alone would be
			// that of a lattice.
			var e float64
			if q > 0 && q < float64(s.Levels) && x != 0 {
				e = scale / math.Sqrt(12) * slopes[i]
			} else {
				e = math.Abs(f((q-zero)*scale) - fs[i])
			}
			if power == 2 {
				sum += ns[i] * e * e
			} else {
				sum += ns[i] * math.Pow(e, power)
			}
		}
		return sum
	})
}

// search tries ranges that shrink from the extremes, first both ends alike and then each end by itself, and takes the best.
func (h *Histogram) search(s Spec, cost func(Range) float64) Range {
	whole := Range{h.Min, h.Max}.WithZero()
	if s.Symmetric {
		x := math.Max(-whole.Lo, whole.Hi)
		whole = Range{-x, x}
	}
	if whole.Hi == whole.Lo {
		return whole
	}
	best, least := whole, cost(whole)
	try := func(r Range) {
		if c := cost(r); c < least {
			best, least = r, c
		}
	}
	const steps = 100
	for i := steps - 1; i > 1; i-- {
		f := float64(i) / steps
		try(Range{whole.Lo * f, whole.Hi * f})
	}
	if s.Symmetric || whole.Lo == 0 || whole.Hi == 0 {
		return best
	}
	for range 2 {
		from := best
		for i := steps; i > 1; i-- {
			try(Range{whole.Lo * float64(i) / steps, from.Hi})
		}
		from = best
		for i := steps; i > 1; i-- {
			try(Range{from.Lo, whole.Hi * float64(i) / steps})
		}
	}
	return best
}

// entropyOf is the Kullback-Leibler divergence of the values, gathered in the bins within r, from what is left of them after
// quantization to 128 levels: the measure of TensorRT's calibrator (Migacz 2017), with the values beyond the range counted at its ends.
func (h *Histogram) entropyOf(r Range) float64 {
	const levels = 128
	w := math.Ldexp(1, h.Exp)
	lo, hi := int(math.Floor(r.Lo/w)), int(math.Ceil(r.Hi/w))
	n := hi - lo
	if n < levels {
		return math.Inf(1)
	}
	p := make([]float64, n) // what is there, the ends with what lies beyond
	q := make([]float64, n) // what is there within the range
	h.eachBin(func(k int, c int64) {
		if k == 0 { // zeros of a ReLU are exact in any case, and would outweigh everything
			c = min(c, h.High[1])
		}
		i := min(max(k-lo, 0), n-1)
		p[i] += float64(c)
		if k >= lo && k < hi {
			q[i] += float64(c)
		}
	})
	var sum, kl float64
	for _, x := range p {
		sum += x
	}
	sumQ := 0.0
	for _, x := range q {
		sumQ += x
	}
	if sumQ == 0 {
		return math.Inf(1)
	}
	for l := range levels {
		from, to := l*n/levels, (l+1)*n/levels
		total, filled := 0.0, 0
		for _, x := range q[from:to] {
			total += x
			if x > 0 {
				filled++
			}
		}
		for i := from; i < to; i++ {
			if p[i] == 0 {
				continue
			}
			have := 1e-12
			if q[i] > 0 && filled > 0 {
				have = total / float64(filled) / sumQ
			}
			kl += p[i] / sum * math.Log(p[i]/sum/have)
		}
	}
	return kl
}

// eachBin calls f with the signed place of every bin that is not empty: bin k holds values of [k, k+1) widths.
func (h *Histogram) eachBin(f func(k int, n int64)) {
	for i := len(h.Low) - 1; i >= 0; i-- {
		if h.Low[i] > 0 {
			f(-i-1, h.Low[i])
		}
	}
	for i, n := range h.High {
		if n > 0 {
			f(i, n)
		}
	}
}
