package prune

import (
	"fmt"
	"maps"
	"math"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/prune/internal/refit"
)

// data is the calibration data of a run.
type data struct {
	c       *passes.Context
	cal     *measured.Calibration
	pool    *par.Pool
	samples []map[string]ir.Datum  // as many as memory has room for
	types   map[*ir.Value]*ir.Type // of the values of the first sample
	few     []map[string]ir.Datum  // for trials
	was     *refit.Reference       // values of the original on those; nil: too many to hold
	bytes   int64                  // of all values of a sample
	ref     *measured.Reference    // the original on samples for trials
}

const (
	maxSamples = 1000
	maxHeld    = 3 << 29 // bytes of activations that may be held at once
	fits       = 160     // samples that layers are fitted on in trials
	judges     = 128     // others, on which trials are judged
)

// newData reads the samples, and what values the model takes on the first.
func newData(c *passes.Context, m *ir.Model, cal *measured.Calibration) (*data, error) {
	d := &data{c: c, cal: cal, pool: par.New(cal.Threads()), types: map[*ir.Value]*ir.Type{}}
	var values []*ir.Value
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Const() == nil {
				values = append(values, v)
			}
		}
	}
	bytes := int64(0)
	err := cal.Limit(1).Taps(c.Context(), m, values, func(_ int, taps []*ir.Tensor) error {
		for i, t := range taps {
			if t != nil {
				d.types[values[i]] = t.Type()
				bytes += t.ByteLen()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.bytes = bytes
	// Of all values that a sample takes, about a third are held at once, of the original and of the smaller model.
	n := min(maxSamples, max(8, int(maxHeld/max(1, bytes*2/3))))
	if all := cal.Len(); all > 0 {
		n = min(n, all)
	}
	for s, err := range cal.Limit(n).Each(c.Context()) {
		if err != nil {
			return nil, err
		}
		d.samples = append(d.samples, maps.Clone(s))
	}
	if len(d.samples) == 0 {
		return nil, fmt.Errorf("%s: there are no samples", cal.Name())
	}
	judge := d.samples
	if d.few = d.samples; len(d.samples) >= 16 {
		var a, b []map[string]ir.Datum
		for i, s := range d.samples {
			if i%2 == 0 {
				a = append(a, s)
			} else {
				b = append(b, s)
			}
		}
		d.few, judge = spread(a, fits), spread(b, judges)
	}
	if d.ref, err = measured.New(measured.Fixed(judge...), cal.Engine(), cal.Threads(), measured.Named(cal.Name())).Reference(c.Context(), m); err != nil {
		return nil, err
	}
	return d, nil
}

// spread takes n of s, evenly.
func spread[T any](s []T, n int) []T {
	if len(s) <= n {
		return s
	}
	r := make([]T, n)
	for i := range r {
		r[i] = s[i*len(s)/n]
	}
	return r
}

// loss is how far a model's outputs lie from the original's: the divergence of class probabilities, or else the share of the outputs' energy
// that the difference has.
func (d *data) loss(m *ir.Model) (float64, error) {
	v, err := d.ref.Divergence(d.c.Context(), m)
	if err != nil {
		return 0, err
	}
	x := v.KL
	if x == 0 || math.IsNaN(x) {
		x = math.Pow(10, -v.SQNR/10)
	}
	if math.IsNaN(x) || v.Lost > 0 {
		x = math.Inf(1)
	}
	return x, nil
}

// task is a refit of m, which was made of original.
func (d *data) task(original, m *ir.Model, of func(*ir.Value) *ir.Value, samples []map[string]ir.Datum) refit.Task {
	return refit.Task{Original: original, Model: m, Of: of, Samples: samples, Engine: d.cal.Engine(), Pool: d.pool}
}

// reference is m, unchanged, with its values on the samples of trials, if there is room for them.
func (d *data) reference(m *ir.Model) (*refit.Reference, error) {
	if d.bytes*int64(len(d.few)) > maxHeld/3 {
		return nil, nil
	}
	return refit.NewReference(d.task(m, m, nil, d.few))
}
