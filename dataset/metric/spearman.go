package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// maxRanked bounds the pairs that are kept to be ranked.
const maxRanked = 1 << 25

// spearman is Spearman's rank correlation between the output, one number a row, and the labels; or between all elements of both
// outputs where rows have no label. Of a row that is a pair of sequences it ranks how near they are: the cosine between their
// embeddings, which are an output of shape [2, n], or the means of one of shape [2, length, n] over what is not padding, as in
// N. Reimers, I. Gurevych, Sentence-BERT, 2019. Equal values share the mean of their ranks.
type spearman struct {
	output string
	x, y   []float64
}

func (s *spearman) Name() string { return "spearman" }
func (s *spearman) Needs() Needs { return Either }

func (s *spearman) Add(r Row) error {
	var x, y []float64
	var err error
	if r.Mask != nil {
		x, y, err = s.pair(r)
	} else if r.Want != nil {
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

// pair is the nearness of a pair, and what it is ranked against: that in the other model, or the label.
func (s *spearman) pair(r Row) (x, y []float64, err error) {
	near, err := nearness(r.Out, s.output, r.Mask)
	want := r.Label
	if err == nil && r.Want != nil {
		want, err = nearness(r.Want, s.output, r.Mask)
	}
	return []float64{near}, []float64{want}, err
}

// nearness is the cosine between the embeddings of two sequences.
func nearness(out map[string]ir.Datum, output string, mask *ir.Tensor) (float64, error) {
	v, err := values(out, output)
	if err != nil {
		return 0, err
	}
	shape, length := out[output].(*ir.Tensor).Shape(), mask.Shape()[1]
	if len(shape) < 2 || len(shape) > 3 || shape[0] != 2 || len(shape) == 3 && shape[1] != length {
		return 0, fmt.Errorf("output %q of shape %v is no embedding of two sequences of %d", output, shape, length)
	}
	n := int(shape[len(shape)-1])
	a, b := v[:len(v)/2], v[len(v)/2:]
	if len(shape) == 3 {
		m, err := ir.Elements[int64](mask)
		if err != nil {
			return 0, err
		}
		a, b = pooled(a, m[:length], n), pooled(b, m[length:], n)
	}
	var aa, bb, ab float64
	for i := range a {
		aa += a[i] * a[i]
		bb += b[i] * b[i]
		ab += a[i] * b[i]
	}
	return ab / (math.Sqrt(aa) * math.Sqrt(bb)), nil
}

// pooled is the sum of the rows of n elements that the mask selects; the cosine does not see how many there are.
func pooled(v []float64, mask []int64, n int) []float64 {
	r := make([]float64, n)
	for i, keep := range mask {
		if keep != 0 {
			for k := range r {
				r[k] += v[i*n+k]
			}
		}
	}
	return r
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
