package measured

import (
	"context"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// A Record holds the values that a model takes on samples, for compressed models that are repaired one after another on the same ones.
type Record struct {
	m      *ir.Model
	values []map[*ir.Value]ir.Datum // of each sample: inputs and results of the main graph
}

// Record runs m over the samples and keeps what all nodes of its main graph give.
func (c *Calibration) Record(ctx context.Context, m *ir.Model) (*Record, error) {
	r := &Record{m: m}
	var values []*ir.Value
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Const() == nil {
				values = append(values, v)
			}
		}
	}
	for _, s := range m.Main.Inputs() {
		values = append(values, s.Value())
	}
	s, err := c.engine.Load(ctx, m, engine.Options{Threads: 1, Taps: values})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	run := func(ctx context.Context, in map[string]ir.Datum) ([]ir.Datum, error) {
		_, taps, err := s.RunTaps(ctx, in)
		return taps, err
	}
	err = ordered(ctx, c, run, func(_ int, taps []ir.Datum) error {
		v := map[*ir.Value]ir.Datum{}
		for i, t := range taps {
			if t != nil {
				v[values[i]] = t
			}
		}
		r.values = append(r.values, v)
		return nil
	})
	return r, err
}

// walker is one over the recorded model, all of which was run.
func (r *Record) walker() *walker {
	w := &walker{m: r.m, done: map[*ir.Node]bool{}, kept: true, values: r.values}
	for n := range r.m.Main.Nodes() {
		w.done[n] = true
	}
	return w
}

// beside is a walker over a model made of the recorded one, that begins behind all that is as it was there.
func (r *Record) beside(w *walker, same map[*ir.Value]*ir.Value) {
	w.frontier = nil
	for n := range w.m.Main.Nodes() {
		if len(n.Results()) > 0 && n.Result(0) != nil && same[n.Result(0)] != nil {
			w.done[n] = true
		}
	}
	begin := func(v *ir.Value) {
		if v != nil && same[v] != nil && v.Const() == nil {
			w.frontier = append(w.frontier, v)
		}
	}
	for _, s := range w.m.Main.Inputs() {
		begin(s.Value())
	}
	for n := range w.m.Main.Nodes() {
		if w.done[n] {
			for _, v := range n.Results() {
				begin(v)
			}
		}
	}
	w.values = nil
	for _, have := range r.values {
		v := map[*ir.Value]ir.Datum{}
		for _, f := range w.frontier {
			v[f] = have[same[f]]
		}
		w.values = append(w.values, v)
	}
}
