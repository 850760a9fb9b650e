package ort

import (
	"context"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// Run implements engine.Session.
func (s *session) Run(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, error) {
	out, _, err := s.RunTaps(ctx, in)
	return out, err
}

// RunTaps implements engine.Session.
func (s *session) RunTaps(ctx context.Context, in map[string]ir.Datum) (map[string]ir.Datum, []ir.Datum, error) {
	if err := s.check(in); err != nil {
		return nil, nil, err
	}
	s.running.RLock()
	defer s.running.RUnlock()
	if s.handle == 0 {
		return nil, nil, errClosed
	}
	r := &run{session: s}
	defer r.free()
	if err := r.do(ctx, in); err != nil {
		return nil, nil, err
	}
	return r.collect(in)
}

// run is one evaluation. Inputs stay pinned until the results are copied, because a result may share their elements.
type run struct {
	*session
	feed    feed
	results []uintptr // OrtValues, parallel to the session's outputs
}

// free gives everything back.
func (r *run) free() {
	for _, v := range r.results {
		r.release(fnReleaseValue, v)
	}
	r.feed.free()
}

// do evaluates the model; the results are the library's values.
func (r *run) do(ctx context.Context, in map[string]ir.Datum) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.feed.s = r.session
	f := &r.feed.scratch
	n := len(in)
	block := make([]uintptr, 2*n+2*len(r.outputs)) // names and values of inputs, names and values of outputs
	names, values, outNames := block[:0:n], block[n:n:2*n], block[2*n:2*n+len(r.outputs)]
	r.results = block[2*n+len(r.outputs):]
	for i := range r.inputs {
		slot := &r.inputs[i]
		d, ok := in[slot.Name()]
		if !ok {
			continue
		}
		v, err := r.feed.value(d, slot.Type())
		if err != nil {
			return fmt.Errorf("input %q: %w", slot.Name(), err)
		}
		names, values = append(names, first(f, slot.cname)), append(values, v)
	}
	for i := range r.outputs {
		outNames[i] = first(f, r.outputs[i].cname)
	}
	options, done, err := r.stoppable(ctx)
	if err != nil {
		return err
	}
	err = r.try(fnRun, r.handle, options, first(f, names), first(f, values), uintptr(len(names)),
		first(f, outNames), uintptr(len(outNames)), first(f, r.results))
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// stoppable makes run options through which the end of ctx stops the run; none if ctx does not end. done must be called
// after the run.
func (r *run) stoppable(ctx context.Context) (options uintptr, done func(), err error) {
	if ctx.Done() == nil {
		return 0, func() {}, nil
	}
	handle := new(uintptr)
	if err := r.try(fnCreateRunOptions, addr(&r.feed.scratch, handle)); err != nil {
		return 0, nil, err
	}
	stop := onEnd(ctx, func() { r.release(fnReleaseStatus, r.call(fnRunOptionsSetTerminate, *handle)) })
	return *handle, func() { stop(); r.release(fnReleaseRunOptions, *handle) }, nil
}

// collect copies the results.
func (r *run) collect(in map[string]ir.Datum) (map[string]ir.Datum, []ir.Datum, error) {
	f := &fetch{s: r.session}
	defer f.free()
	all := make([]ir.Datum, len(r.outputs))
	out := make(map[string]ir.Datum, r.own)
	for i := range r.outputs {
		o := &r.outputs[i]
		d, err := f.datum(r.results[i], o.typ)
		if err != nil {
			return nil, nil, fmt.Errorf("output %q: %w", o.name, err)
		}
		all[i] = d
		if i >= r.own {
			continue
		}
		if d == nil {
			return nil, nil, fmt.Errorf("output %q was not computed", o.name)
		}
		out[o.name] = d
	}
	tapped := make([]ir.Datum, len(r.taps))
	for i, t := range r.taps {
		switch {
		case t.constant != nil:
			tapped[i] = t.constant
		case t.input == nil:
			tapped[i] = all[r.own+t.output]
		case in[t.input.Name()] != nil:
			tapped[i] = in[t.input.Name()]
		default:
			tapped[i] = t.input.Value().Default()
		}
	}
	return out, tapped, nil
}
