package metric

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// read is the share of samples that two recognizers of sequences read alike. Their outputs score symbols step by step, [1, steps, symbols],
// and are read as those trained with CTC are (Graves et al., 2006), greedily: the symbol with the largest score of each step, repetitions
// once, without the blank, which is the first symbol.
type read struct {
	output     string
	same, rows int
}

func (r *read) Name() string   { return "text" }
func (r *read) Needs() Needs   { return Outputs }
func (r *read) Value() float64 { return float64(r.same) / float64(r.rows) }

func (r *read) Add(row Row) error {
	x, y, err := both(row, r.output)
	if err != nil {
		return err
	}
	shape := row.Out[r.output].(*ir.Tensor).Shape()
	if len(shape) < 2 || shape[len(shape)-1] < 2 {
		return fmt.Errorf("output %q of shape %v does not score symbols step by step, as [1,steps,symbols] does", r.output, shape)
	}
	r.rows++
	if a, ok := greedy(x, int(shape[len(shape)-1])); ok {
		if b, ok := greedy(y, int(shape[len(shape)-1])); ok && slices.Equal(a, b) {
			r.same++
		}
	}
	return nil
}

// greedy reads steps of n scores; it fails on NaN.
func greedy(v []float64, n int) (text []int, ok bool) {
	last := 0
	for ; len(v) >= n; v = v[n:] {
		k := Argmax(v[:n])
		if k < 0 {
			return nil, false
		}
		if k != last && k != 0 {
			text = append(text, k)
		}
		last = k
	}
	return text, true
}
