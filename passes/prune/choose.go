package prune

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
)

// share is how many weights of a group become zero.
func (p *plan) share(l *measured.Linear) int { return p.zeros / l.Groups }

// magnitude chooses by the size of weights: masks by group, the bias always kept.
func (p *plan) magnitude(o Options, l *measured.Linear, w []linalg.Matrix[float64]) [][]bool {
	r := make([][]bool, len(w))
	for g := range w {
		score := make([]float64, len(w[g].Data))
		for k, x := range w[g].Data {
			score[k] = x * x
		}
		if o.Pattern != "none" {
			r[g] = someOfFour(l, w[g].Rows, w[g].Cols, 2, score)
		} else {
			r[g] = lowest(score[:(w[g].Rows-1)*w[g].Cols], p.share(l), len(score))
		}
	}
	return r
}

// lowest clears the places of the cut lowest scores in a mask of n.
func lowest(score []float64, cut, n int) []bool {
	r := make([]bool, n)
	for i := range r {
		r[i] = true
	}
	at := make([]int, len(score))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(a, b int) int {
		switch {
		case score[a] < score[b]:
			return -1
		case score[a] > score[b]:
			return 1
		}
		return 0
	})
	for _, i := range at[:min(cut, len(at))] {
		r[i] = false
	}
	return r
}

// someOfFour keeps so many, the best, of four: neighbours along the input channels, at the same place of the kernel, of the same output, as sparse
// tensor cores multiply (Mishra et al., "Accelerating sparse deep neural networks", 2021; TensorRT takes weights K,C,R,S in fours along C).
func someOfFour(l *measured.Linear, n, m, keep int, score []float64) []bool {
	r := make([]bool, n*m)
	for o := range m {
		r[(n-1)*m+o] = true
		for c := 0; c+4 <= l.Inputs(); c += 4 {
			for k := range l.Taps() {
				var at [4]int
				for i := range at {
					at[i] = ((c+i)*l.Taps()+k)*m + o
				}
				slices.SortStableFunc(at[:], func(a, b int) int {
					switch {
					case score[a] > score[b]:
						return -1
					case score[a] < score[b]:
						return 1
					}
					return a - b
				})
				for _, i := range at[:keep] {
					r[i] = true
				}
			}
		}
	}
	return r
}

// choose chooses which weights stay, and makes the others in w zero; it returns masks by group, and what the weights that stay are when they have
// made up for the others. Weights go in steps, the fewest losses first: what a weight is worth is its square over the diagonal of the inverse
// normal matrix (the optimal brain surgeon, Hassibi and Stork 1993; in steps over whole layers as in SparseGPT, Frantar and Alistarh, ICML
// 2023), and after each step the others are fitted again.
func (p *plan) choose(o Options, l *measured.Linear, eq []*linalg.LeastSquares, w []linalg.Matrix[float64], pool *par.Pool) (masks [][]bool, start []linalg.Matrix[float64]) {
	if o.Importance == "magnitude" || o.Importance == "lamp" {
		masks = p.magnitude(o, l, w)
	} else {
		for g := range w {
			mask, x := p.chooseGroup(o, l, eq[g], w[g], pool)
			masks, start = append(masks, mask), append(start, x)
		}
	}
	for g := range w {
		cut(w[g], masks[g])
	}
	return masks, start
}

func cut(w linalg.Matrix[float64], mask []bool) {
	for k := range w.Data {
		if !mask[k] {
			w.Data[k] = 0
		}
	}
}

const steps = 8

func (p *plan) chooseGroup(o Options, l *measured.Linear, eq *linalg.LeastSquares, w linalg.Matrix[float64], pool *par.Pool) ([]bool, linalg.Matrix[float64]) {
	n, m := w.Rows, w.Cols
	inverse, err := diagonal(eq, pool)
	if o.Importance == "taylor" { // the second-order term of the layer's own error, without what the others make up for
		for i := range inverse {
			inverse[i] = 1 / (eq.H.Data[i*n+i]/float64(eq.Rows) + 1e-30)
		}
	}
	if err != nil {
		return p.magnitude(o, l, []linalg.Matrix[float64]{w})[0], w
	}
	x, err := eq.Solve(linalg.Ridge{Lambda: ridge, Prior: w, Free: 1}) // what is chosen from is what the layer would be, on what it is handed now
	if err != nil {
		x = w.Clone()
	}
	score := make([]float64, n*m)
	total := p.share(l)
	mask := make([]bool, n*m)
	for i := range mask {
		mask[i] = true
	}
	rounds := steps
	if o.Pattern != "none" {
		rounds = 2
	}
	for k := range rounds {
		for i, v := range x.Data {
			score[i] = v * v / inverse[i/m]
			if !mask[i] {
				score[i] = -1
			}
		}
		if o.Pattern != "none" {
			mask = someOfFour(l, n, m, 3-k, score)
		} else {
			// As many go in each step as leave the same share of the rest.
			keep := math.Pow(1-float64(total)/float64((n-1)*m), float64(k+1)/float64(rounds))
			gone := total
			if k+1 < rounds {
				gone = int(math.Round((1 - keep) * float64((n-1)*m)))
			}
			mask = lowest(score[:(n-1)*m], gone, n*m)
		}
		prior := w.Clone()
		cut(prior, mask)
		y, err := eq.SolveMasked(linalg.Ridge{Lambda: ridge, Prior: prior, Free: 1}, mask, x)
		if err != nil {
			return mask, x
		}
		x = y
	}
	return exchange(o, l, eq, w, x, mask, inverse, pool)
}

// ridge is what layers are fitted with while weights are chosen.
const ridge = 1e-3

// exchanges bounds the rounds of exchange.
const exchanges = 4

// exchange lets weights that went come back for others, as long as the error falls: what one would gain is the square of its residual over the
// diagonal of the normal matrix (the step of CoSaMP, Needell and Tropp 2009), what one is worth as above.
func exchange(o Options, l *measured.Linear, eq *linalg.LeastSquares, w, x linalg.Matrix[float64], mask []bool, inverse []float64, pool *par.Pool) ([]bool, linalg.Matrix[float64]) {
	n, m := w.Rows, w.Cols
	h := eq.Normal()
	least := eq.Error(x)
	count := 0
	for _, kept := range mask[:(n-1)*m] {
		if !kept {
			count++
		}
	}
	for range exchanges {
		r := linalg.Mul(h.View(), x.View(), pool)
		score := make([]float64, n*m)
		for k, v := range x.Data {
			if i := k / m; mask[k] {
				score[k] = v * v / inverse[i]
			} else {
				d := eq.G.Data[k] - r.Data[k]
				score[k] = d * d / (h.Data[i*n+i] + 1e-30)
			}
		}
		var next []bool
		if o.Pattern != "none" {
			next = someOfFour(l, n, m, 2, score)
		} else {
			next = lowest(score[:(n-1)*m], count, n*m)
		}
		prior := w.Clone()
		cut(prior, next)
		y, err := eq.SolveMasked(linalg.Ridge{Lambda: ridge, Prior: prior, Free: 1}, next, x)
		if err != nil {
			return mask, x
		}
		e := eq.Error(y)
		if e >= least {
			return mask, x
		}
		x, mask, least = y, next, e
	}
	return mask, x
}

// diagonal is that of the inverse of the damped normal matrix.
func diagonal(eq *linalg.LeastSquares, pool *par.Pool) ([]float64, error) {
	h := eq.Normal().Clone()
	n := h.Rows
	mean := 0.0
	for i := range n - 1 {
		mean += h.Data[i*n+i] / float64(max(1, n-1))
	}
	for i := range n {
		h.Data[i*n+i] += 1e-2*mean + 1e-30
	}
	c, err := linalg.NewCholesky(h, pool)
	if err != nil {
		return nil, err
	}
	return c.InverseDiagonal(), nil
}
