package precision

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// extent is what calibration data showed of a value. Infinities and NaN do not count.
type extent struct {
	largest, below float64 // of all elements, and of those that stand for no infinity
	nonzero, small int64   // elements, and how many of them are below the precise range of the type
}

// tapped is the number of values that one run over the data looks at: all of them are held at once.
const tapped = 64

// measure finds the extents of the results of the main graph, if there are data.
func (p *planner) measure() error {
	p.inferTypes()
	if p.to == ir.Float32 || p.o.WeightsOnly {
		return nil
	}
	cal, err := measured.For(p.c, p.o.Calib)
	if errors.Is(err, measured.ErrNoData) {
		return nil
	}
	if err != nil {
		return err
	}
	var values []*ir.Value
	for n := range p.m.Main.Nodes() {
		for _, v := range n.Results() {
			if p.isFrom(v) && v.Const() == nil && v.NumUses() > 0 {
				values = append(values, v)
			}
		}
	}
	p.measured = map[*ir.Value]*extent{}
	for len(values) > 0 {
		batch := values[:min(tapped, len(values))]
		values = values[len(batch):]
		err := measured.TapsWith(p.c.Context(), cal, p.m, batch, func(_ int, taps []*ir.Tensor) ([]extent, error) {
			r := make([]extent, len(taps))
			for i, t := range taps {
				x, err := measured.Floats(t)
				if err != nil {
					return nil, err
				}
				r[i] = p.extent(x)
			}
			return r, nil
		}, func(_ int, r []extent) error {
			for i, e := range r {
				k := p.measured[batch[i]]
				if k == nil {
					k = &extent{}
					p.measured[batch[i]] = k
				}
				k.largest, k.below = math.Max(k.largest, e.largest), math.Max(k.below, e.below)
				k.nonzero += e.nonzero
				k.small += e.small
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("measuring ranges: %w", err)
		}
	}
	return nil
}

func (p *planner) extent(x []float32) (e extent) {
	least := weights.Smallest(p.to)
	for _, v := range x {
		a := math.Abs(float64(v))
		switch {
		case a == 0 || a-a != 0:
			continue
		case a < least:
			e.small++
		}
		e.nonzero++
		e.largest = math.Max(e.largest, a)
		if a < sentinel {
			e.below = math.Max(e.below, a)
		}
	}
	return e
}
