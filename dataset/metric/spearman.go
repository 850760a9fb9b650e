package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// maxRanked bounds the pairs that are kept to be ranked.
const maxRanked = 1 << 25

// spearman is Spearman's rank correlation between the output, one number a row, and the labels; or between all elements of both
// outputs where rows have no label. Equal values share the mean of their ranks.
type spearman struct {
	output string
	x, y   []float64
}

func (s *spearman) Name() string { return "spearman" }
func (s *spearman) Needs() Needs { return Either }

func (s *spearman) Add(r Row) error {
	var x, y []float64
	var err error
	if r.Want != nil {
		x, y, err = both(r, s.output)
	} else {
		x, err = values(r.Out, s.output)
		if err == nil && len(x) != 1 {
			err = fmt.Errorf("output %q has %d elements; one is ranked against the label", s.output, len(x))
		}
		y = []float64{r.Label}
	}
	if err == nil && len(s.x) > maxRanked-len(x) {
		err = fmt.Errorf("more than %d values to rank", maxRanked)
	}
	if err != nil {
		return err
	}
	s.x, s.y = append(s.x, x...), append(s.y, y...)
	return nil
}

// Value is NaN where one side is constant, or holds NaN.
func (s *spearman) Value() float64 {
	if slices.ContainsFunc(s.x, math.IsNaN) || slices.ContainsFunc(s.y, math.IsNaN) {
		return math.NaN()
	}
	return pearson(ranks(s.x), ranks(s.y))
}

// ranks are the places of the values in order, from one on.
func ranks(v []float64) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v[a], v[b]) })
	r := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			r[order[k]] = float64(i+j+1) / 2
		}
		i = j
	}
	return r
}

func pearson(x, y []float64) float64 {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx += x[i] / n
		my += y[i] / n
	}
	var xx, yy, xy float64
	for i := range x {
		a, b := x[i]-mx, y[i]-my
		xx += a * a
		yy += b * b
		xy += a * b
	}
	return xy / math.Sqrt(xx*yy)
}
