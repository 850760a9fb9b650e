// Package hist keeps histograms of values that stream by, and finds in them the range that a quantizer is to cover.
//
// Memory is bounded by the number of bins. The range of a histogram grows by doubling the width of its bins, which are powers of two:
// counts are then the same as if the final width had been known from the beginning, whatever the order of the values.
package hist

import (
	"math"
	"slices"
)

// Bins is the number of bins on either side of zero.
const Bins = 2048

// Histogram counts the values of one tensor. The zero value is empty.
type Histogram struct {
	Min, Max float64 // of the finite values
	N        int64   // finite values
	NaN, Inf int64
	Integers bool // every value so far is a whole number
	Exp      int  // bins are 2^Exp wide
	// Low and High count values by their distance from zero, in bins: Low the negative ones, High the others. nil: all zero so far.
	Low, High []int64
	// AverageMin and AverageMax follow the extremes of each run, as a moving average (Jacob et al. 2018); Runs counts them.
	AverageMin, AverageMax float64
	Runs                   int
}

// Momentum is the weight that the moving average gives to what it has.
const Momentum = 0.9

// Run notes the extremes of one run. The order of runs matters.
func (h *Histogram) Run(lo, hi float64) {
	if lo > hi || math.IsInf(lo, 0) || math.IsInf(hi, 0) {
		return
	}
	if h.Runs == 0 {
		h.AverageMin, h.AverageMax = lo, hi
	} else {
		h.AverageMin = Momentum*h.AverageMin + (1-Momentum)*lo
		h.AverageMax = Momentum*h.AverageMax + (1-Momentum)*hi
	}
	h.Runs++
}

// Extremes are the least and the largest finite value of v, and the numbers of NaNs and infinities; lo > hi if there are none.
func Extremes(v []float32) (lo, hi float64, nan, inf int64) {
	a, b := float32(math.Inf(1)), float32(math.Inf(-1))
	for _, x := range v {
		if x-x != 0 { // NaN or infinite
			if x != x {
				nan++
			} else {
				inf++
			}
			continue
		}
		if x < a {
			a = x
		}
		if x > b {
			b = x
		}
	}
	return float64(a), float64(b), nan, inf
}

// Add counts the values, whose extremes are lo and hi.
func (h *Histogram) Add(v []float32, lo, hi float64, nan, inf int64) {
	h.NaN += nan
	h.Inf += inf
	if lo > hi {
		return
	}
	if h.N == 0 {
		h.Min, h.Max, h.Integers = lo, hi, true
	}
	h.Min, h.Max = math.Min(h.Min, lo), math.Max(h.Max, hi)
	h.N += int64(len(v)) - nan - inf
	if h.Integers {
		h.Integers = integers(v)
	}
	h.reach(math.Max(-lo, hi))
	inverse := float32(math.Ldexp(1, -h.Exp))
	for _, x := range v {
		switch {
		case x >= 0:
			if k := x * inverse; k < Bins {
				h.High[int(k)]++
			}
		case x < 0:
			if k := -x * inverse; k < Bins {
				h.Low[int(k)]++
			}
		}
	}
}

// Merge adds the counts of g, and widens the averages to hold its.
func (h *Histogram) Merge(g *Histogram) {
	h.NaN += g.NaN
	h.Inf += g.Inf
	if g.N == 0 {
		return
	}
	if h.N == 0 {
		nan, inf := h.NaN, h.Inf
		*h = *g
		h.Low, h.High, h.NaN, h.Inf = slices.Clone(g.Low), slices.Clone(g.High), nan, inf
		return
	}
	h.Min, h.Max = math.Min(h.Min, g.Min), math.Max(h.Max, g.Max)
	h.AverageMin, h.AverageMax = math.Min(h.AverageMin, g.AverageMin), math.Max(h.AverageMax, g.AverageMax)
	h.Integers = h.Integers && g.Integers
	h.N += g.N
	for h.Exp < g.Exp {
		halve(h.Low)
		halve(h.High)
		h.Exp++
	}
	for i := range g.High {
		h.High[i>>(h.Exp-g.Exp)] += g.High[i]
		h.Low[i>>(h.Exp-g.Exp)] += g.Low[i]
	}
}

// Count adds the counts of g and leaves the averages, which Run follows, as they are.
func (h *Histogram) Count(g *Histogram) {
	lo, hi, runs := h.AverageMin, h.AverageMax, h.Runs
	h.Merge(g)
	h.AverageMin, h.AverageMax, h.Runs = lo, hi, runs
}

// Valid reports whether a histogram that comes from a file has the form of one that was counted.
func (h *Histogram) Valid() bool {
	if h.Low == nil && h.High == nil && h.N == 0 {
		return true
	}
	return len(h.Low) == Bins && len(h.High) == Bins && h.N > 0 && h.Min <= h.Max && h.Exp >= leastExp && h.Exp <= 128
}

func integers(v []float32) bool {
	for _, x := range v {
		if x != float32(int32(x)) {
			return false
		}
	}
	return true
}

// leastExp keeps the inverse of a bin's width finite.
const leastExp = -120

// reach widens the bins until a value of magnitude top has one.
func (h *Histogram) reach(top float64) {
	if h.High == nil {
		h.Low, h.High = make([]int64, Bins), make([]int64, Bins)
		h.Exp = leastExp
		if top > 0 {
			_, e := math.Frexp(top / Bins)
			h.Exp = max(e-1, leastExp)
		}
	}
	for top >= math.Ldexp(Bins, h.Exp) {
		halve(h.Low)
		halve(h.High)
		h.Exp++
	}
}

// halve merges neighbours.
func halve(b []int64) {
	for i := range len(b) / 2 {
		b[i] = b[2*i] + b[2*i+1]
	}
	clear(b[len(b)/2:])
}

// each calls f with the middle of every bin that is not empty and its count, from the lowest value to the highest. Bins at the ends are
// cut at the extremes; the bin at zero holds zeros of ReLU as often as not, and its middle is taken as zero.
func (h *Histogram) each(f func(x float64, n int64)) {
	w := math.Ldexp(1, h.Exp)
	middle := func(i int) float64 {
		if i == 0 {
			return 0
		}
		return (float64(i) + 0.5) * w
	}
	for i := len(h.Low) - 1; i >= 0; i-- {
		if n := h.Low[i]; n > 0 {
			f(math.Max(-middle(i), h.Min), n)
		}
	}
	for i, n := range h.High {
		if n > 0 {
			f(math.Min(middle(i), h.Max), n)
		}
	}
}
