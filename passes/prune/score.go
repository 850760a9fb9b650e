package prune

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// norms scores the units of a family by the norms of what goes with them: for each weight the share of its norm that is in the slice of the
// unit, added up over weights. p is 1 or 2.
func norms(f *family, p float64) ([]float64, error) {
	score := make([]float64, len(f.Units))
	read := map[*ir.Tensor][]float64{}
	for k, s := range f.Units[0].Slices {
		v := s.Const()
		if v == nil || v.Const().Rank() < 2 {
			continue
		}
		t := v.Const()
		w, ok := read[t]
		if !ok {
			var err error
			if w, err = floats(t); err != nil {
				return nil, fmt.Errorf("constant %q: %w", v.Name(), err)
			}
			if slices.ContainsFunc(w, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }) {
				return nil, fmt.Errorf("weight %q is not finite", v.Name())
			}
			read[t] = w
		}
		row := rowNorms(w, t.Shape(), s.Dim, p)
		total := 0.0
		part := make([]float64, len(f.Units))
		for i, u := range f.Units {
			for _, e := range u.Slices[k].Elements {
				part[i] += row[e]
			}
			total += part[i]
		}
		if total > 0 {
			for i := range part {
				score[i] += part[i] / total
			}
		}
	}
	return score, nil
}

// rowNorms is Σ|w|^p by element of a dimension.
func rowNorms(w []float64, shape []int64, dim int, p float64) []float64 {
	r := make([]float64, shape[dim])
	inner := int(ir.NumElements(shape[dim+1:]))
	for i, x := range w {
		if x = math.Abs(x); p == 2 {
			x *= x
		}
		r[i/inner%len(r)] += x
	}
	return r
}

// floats reads weights, also those that are stored in integers.
func floats(t *ir.Tensor) ([]float64, error) {
	if weights.Supported(t.DType()) {
		return weights.Floats(t)
	}
	switch t.DType() {
	case ir.Int8:
		return numbers[int8](t)
	case ir.Uint8:
		return numbers[uint8](t)
	case ir.Int16:
		return numbers[int16](t)
	case ir.Int32:
		return numbers[int32](t)
	case ir.Int64:
		return numbers[int64](t)
	}
	return nil, fmt.Errorf("elements of type %s are not read as numbers", t.DType())
}

func numbers[T int8 | uint8 | int16 | int32 | int64](t *ir.Tensor) ([]float64, error) {
	e, err := ir.Elements[T](t)
	r := make([]float64, len(e))
	for i, x := range e {
		r[i] = float64(x)
	}
	return r, err
}

// rank sorts the units by score. What is lost with the first of them is the share of the scores; with lamp, each score is over the sum of
// those not smaller (Lee, Park, Mo, Ahn and Shin, "Layer-adaptive sparsity for the magnitude-based pruning", ICLR 2021).
func (f *family) rank(score []float64, lamp bool) {
	f.order = make([]int, len(score))
	for i := range f.order {
		f.order[i] = i
	}
	slices.SortStableFunc(f.order, func(a, b int) int {
		switch {
		case score[a] < score[b]:
			return -1
		case score[a] > score[b]:
			return 1
		}
		return 0
	})
	total := 0.0
	for _, s := range score {
		total += s
	}
	f.cost = make([]float64, len(score)+1)
	rest := total
	for k, i := range f.order {
		x := score[i] / max(total, 1e-300)
		if lamp {
			x = score[i] / max(rest, 1e-300)
			rest -= score[i]
		}
		f.cost[k+1] = f.cost[k] + x
	}
}
