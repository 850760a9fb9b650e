package prune

import (
	"context"
	"fmt"
	"maps"

	"github.com/onnxopt/onnxopt/analysis"
	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// data is the calibration data of a run.
type data struct {
	c     *passes.Context
	pool  *par.Pool
	cal   *measured.Calibration
	read  []map[string]ir.Datum
	all   *measured.Calibration  // as many samples as memory has room for
	types map[*ir.Value]*ir.Type // of the values of the first sample
	bytes int64                  // of all values of a sample
	macs  float64                // of the nodes of the main graph on it
	few   *measured.Calibration  // for trials, on one thread each
	was   *measured.Record       // values of the original on those; nil: too many to hold
	ref   *measured.Reference    // the original's outputs on other samples, which trials are judged by
	said  string                 // what drift told of the repaired model as it was judged; empty: it was not
	other bool                   // layers were changed since
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
	err := cal.Limit(1).Taps(c.Context(), m, values, func(_ int, taps []*ir.Tensor) error {
		for i, t := range taps {
			if t != nil {
				d.types[values[i]] = t.Type()
				d.bytes += t.ByteLen()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sizes := analysis.Options{Types: func(v *ir.Value) *ir.Type {
		if t := d.types[v]; t != nil {
			return t
		}
		return v.Type()
	}}
	for n := range m.Main.Nodes() {
		if macs, ok, err := cost.Node(n, sizes); ok && err == nil {
			d.macs += float64(macs)
		}
	}
	// Of all values that a sample takes, about a third are held at once, of the original and of the smaller model.
	n := min(maxSamples, max(8, int(maxHeld/max(1, d.bytes*2/3))))
	if all := cal.Len(); all > 0 {
		n = min(n, all)
	}
	for s, err := range cal.Limit(n).Each(c.Context()) {
		if err != nil {
			return nil, err
		}
		d.read = append(d.read, maps.Clone(s))
	}
	if len(d.read) == 0 {
		return nil, fmt.Errorf("%s: there are no samples", cal.Name())
	}
	d.all = d.part(d.read, cal.Threads())
	return d, nil
}

func (d *data) part(s []map[string]ir.Datum, threads int) *measured.Calibration {
	return measured.New(measured.Fixed(s...), d.cal.Engine(), threads, measured.Named(d.cal.Name()), measured.Total(len(s)))
}

// beginTrials runs the original on the samples that trials are fitted on, and on those that they are judged by.
func (d *data) beginTrials(m *ir.Model) (err error) {
	few, judge := d.read, d.read
	if len(d.read) >= 16 {
		few, judge = nil, nil
		for i, s := range d.read {
			if i%2 == 0 {
				few = append(few, s)
			} else {
				judge = append(judge, s)
			}
		}
		few, judge = measured.Spread(few, fits), measured.Spread(judge, judges)
	}
	d.few = d.part(few, 1)
	if d.bytes*int64(len(few)) <= maxHeld/3 {
		if d.was, err = d.part(few, d.cal.Threads()).Record(d.c.Context(), m); err != nil {
			return err
		}
	}
	d.ref, err = d.part(judge, 1).Reference(d.c.Context(), m)
	return err
}

// loss is how far a model's outputs lie from the original's.
func (d *data) loss(ctx context.Context, m *ir.Model) (float64, error) {
	v, err := d.ref.Divergence(ctx, m)
	return v.Loss(), err
}

// judged is the number of samples that the outputs of so many models are compared on.
func (d *data) judged(models int) int {
	return int(min(64, max(16, maxTrial/(max(d.macs, 1e5)*float64(models)))))
}

// judge keeps what drift tells of a repaired model in which no layer was fitted on the samples kept back.
func (d *data) judge(original *ir.Model) func(*ir.Model) error {
	return func(m *ir.Model) (err error) {
		d.said, err = d.drift(original, m)
		return err
	}
}

// drift says how far the outputs of m are from the original's, on samples that nothing in it was fitted on if there are enough; of m as it was
// judged where that is known.
func (d *data) drift(original, m *ir.Model) (string, error) {
	if d.said != "" && !d.other {
		return d.said, nil
	}
	_, held := d.all.HoldBack()
	on, what := d.all.Pick(measured.Spread(held, d.judged(2))), " that nothing was fitted on"
	switch {
	case len(held) < 4:
		on, what = d.all, ""
	case d.said != "":
		what = " kept back until the last solve"
	}
	v, err := on.Divergence(d.c.Context(), original, m)
	return "outputs beside the original's: " + v.String() + what, err
}
