package linalg

import (
	"math"
	"sort"
)

// VBMFRank is the rank of a rows by cols matrix of which the singular values are given (all min(rows, cols) of them), seen as a
// low-rank matrix and noise of unknown strength: the global analytic solution of empirical variational Bayesian matrix
// factorization (Nakajima, Sugiyama, Babacan, Tomioka, "Global Analytic Solution of Fully-observed Variational Bayesian Matrix
// Factorization", JMLR 14, 2013, theorem 2 and corollary 1). It may be 0: nothing but noise.
func VBMFRank(singular []float64, rows, cols int) int {
	l, m := min(rows, cols), max(rows, cols)
	if l == 0 || len(singular) == 0 {
		return 0
	}
	s := append([]float64(nil), singular...)
	sort.Sort(sort.Reverse(sort.Float64Slice(s)))
	s = s[:min(len(s), l)]
	if !(s[0] > 0) || math.IsInf(s[0], 0) {
		return 0
	}
	alpha := float64(l) / float64(m)
	tau := 2.5129 * math.Sqrt(alpha)
	bound := (1 + tau) * (1 + alpha/tau)
	total := 0.0
	for _, v := range s {
		total += v * v
	}
	// The noise lies between what explains all and what the smallest values allow.
	limit := min(int(math.Ceil(float64(l)/(1+alpha)))-1, l-1)
	limit = max(min(limit, len(s)-1), 0)
	high := total / float64(l*m)
	low := 0.0
	if limit+1 < len(s) {
		low = s[limit+1] * s[limit+1] / (float64(m) * bound)
		tail := 0.0
		for _, v := range s[limit+1:] {
			tail += v * v
		}
		low = max(low, tail/float64(len(s)-limit-1)/float64(m))
	}
	low = max(low, 1e-12*high)
	cost := func(sigma2 float64) float64 { return vbmfCost(s, l, m, alpha, bound, sigma2) }
	sigma2 := minimize(cost, math.Log(low), math.Log(max(high, low)))
	threshold := math.Sqrt(float64(m) * sigma2 * bound)
	k := 0
	for k < len(s) && s[k] > threshold {
		k++
	}
	return k
}

// vbmfCost is the free energy of a noise variance, up to a constant.
func vbmfCost(s []float64, l, m int, alpha, bound, sigma2 float64) float64 {
	e := 0.0
	for _, v := range s {
		x := max(v*v/(float64(m)*sigma2), 1e-300)
		e += x - math.Log(x)
		if x > bound {
			t := x - 1 - alpha
			tau := (t + math.Sqrt(max(t*t-4*alpha, 0))) / 2
			e += math.Log(tau+1) + alpha*math.Log(tau/alpha+1) - tau
		}
	}
	return e + float64(l-len(s))*math.Log(sigma2)
}

// minimize looks for the minimum of f(exp(t)) over lo..hi: the best of a grid, then golden sections around it.
func minimize(f func(float64) float64, lo, hi float64) float64 {
	const grid = 64
	best, at := math.Inf(1), lo
	for i := range grid + 1 {
		t := lo + (hi-lo)*float64(i)/grid
		if v := f(math.Exp(t)); v < best {
			best, at = v, t
		}
	}
	a, b := max(lo, at-(hi-lo)/grid), min(hi, at+(hi-lo)/grid)
	for range 60 {
		third := (b - a) / 3
		if f(math.Exp(a+third)) < f(math.Exp(b-third)) {
			b -= third
		} else {
			a += third
		}
	}
	return math.Exp((a + b) / 2)
}
