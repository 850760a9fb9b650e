package measured

import (
	"context"
	"errors"
	"slices"

	"github.com/onnxopt/onnxopt/internal/linalg"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// Moments are the second moments of what a layer reads.
type Moments struct {
	// H holds XᵀX for each group, In+1 by In+1: the last column of X is one, so that the last row holds the sums.
	H    []linalg.Matrix[float64]
	Rows int64
	// Positions is the number of rows that the last sample has, X and Y are the shapes of the layer's input and result on it.
	Positions int
	X, Y      []int64
	// Refused says why there are none; empty otherwise.
	Refused string
}

// momentsMemory bounds the matrices that are summed at once, in bytes.
const momentsMemory = 384 << 20

// MomentsOf runs m over the samples and sums the second moments of the input rows of each layer, over at most so many rows each.
func (c *Calibration) MomentsOf(ctx context.Context, m *ir.Model, layers []*Linear, rows int) ([]*Moments, error) {
	var all []*Moments
	for len(layers) > 0 {
		size, k := 0, 0
		for k < len(layers) && (k == 0 || size < momentsMemory) {
			size += layers[k].Groups * (layers[k].In + 1) * (layers[k].In + 1) * 8
			k++
		}
		part, err := c.momentsOf(ctx, m, layers[:k], rows)
		if err != nil {
			return nil, err
		}
		all, layers = append(all, part...), layers[k:]
	}
	return all, nil
}

func (c *Calibration) momentsOf(ctx context.Context, m *ir.Model, layers []*Linear, most int) ([]*Moments, error) {
	pool := par.New(c.threads)
	var taps []*ir.Value
	eq := make([]*gatherer, len(layers))
	r := make([]*Moments, len(layers))
	for i, l := range layers {
		taps = append(taps, l.Node.Operand(0), l.Node.Result(0))
		eq[i] = newGatherer(l, 0, pool)
		r[i] = &Moments{}
	}
	per := max((most+c.Len()-1)/max(c.Len(), 1), 1)
	type part struct {
		rows []*sampleRows
		size []int
		x, y [][]int64
		why  []error
	}
	work := func(sample int, taps []*ir.Tensor) (p part, err error) {
		for i, l := range layers {
			s, size, err := l.inputRows(taps[2*i], taps[2*i+1], per, sample)
			p.rows, p.size, p.why = append(p.rows, s), append(p.size, size), append(p.why, err)
			var x, y []int64
			if err == nil {
				x, y = slices.Clone(taps[2*i].Shape()), slices.Clone(taps[2*i+1].Shape())
			}
			p.x, p.y = append(p.x, x), append(p.y, y)
		}
		return p, nil
	}
	var wait []part
	flush := func() {
		for i := range layers {
			for _, p := range wait {
				if p.why[i] != nil {
					r[i].Refused = p.why[i].Error()
					continue
				}
				eq[i].add(p.rows[i])
				r[i].Positions, r[i].X, r[i].Y = p.size[i], p.x[i], p.y[i]
			}
		}
		wait = nil
	}
	err := TapsWith(ctx, c, m, taps, work, func(_ int, p part) error {
		if wait = append(wait, p); len(wait) == chunkSamples {
			flush()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	flush()
	for i := range layers {
		eq[i].flush()
		for _, e := range eq[i].eq {
			r[i].H = append(r[i].H, e.Normal())
			r[i].Rows = e.Rows
		}
	}
	return r, nil
}

// inputRows reads some positions of a layer's input, and says how many there are.
func (l *Linear) inputRows(x, y *ir.Tensor, most, sample int) (*sampleRows, int, error) {
	if x == nil || y == nil {
		return nil, 0, errors.New("it was not computed on all samples")
	}
	rows, err := l.rowsOf(x, y.Shape())
	if err != nil {
		return nil, 0, err
	}
	places := pick(rows.count, most, 0, sample)
	s := &sampleRows{count: len(places), x: make([]float32, l.Groups*len(places)*(l.In+1))}
	for i, p := range places {
		for g := range l.Groups {
			dst := s.x[(g*len(places)+i)*(l.In+1):][:l.In+1]
			rows.fill(p, g, dst[:l.In])
			dst[l.In] = 1
		}
	}
	if !linalg.Finite(s.x) {
		return nil, 0, errors.New("values on the data are NaN or infinite")
	}
	return s, rows.count, nil
}
