package fuzz

import (
	"context"
	"maps"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/internal/reduce"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Shrink reduces a failing case to a small one of the same kind of failure.
func (f *Fuzzer) Shrink(ctx context.Context, c *Case, failure *Failure) (*Case, *Failure, error) {
	last := failure
	same := func(ctx context.Context, k reduce.Case) (bool, error) {
		d := *c
		d.Model, d.Pipeline = k.Model, k.Pipeline
		limited, cancel := context.WithTimeout(ctx, caseTime)
		defer cancel()
		found := f.again(limited, &d, failure.Kind)
		if found == nil || found.Kind != failure.Kind || found.Engine != failure.Engine || limited.Err() != nil {
			return false, nil
		}
		last = found
		return true, nil
	}
	small, _, err := reduce.Run(ctx, reduce.Case{Model: c.Model, Pipeline: c.Pipeline}, same, reduce.Options{Parse: f.pipes.reg.Parse})
	d := *c
	d.Model, d.Pipeline = small.Model, small.Pipeline
	return &d, last, err
}

// again checks a variant of a case, whose model may have other inputs; nil if it finds nothing or cannot run it.
func (f *Fuzzer) again(ctx context.Context, c *Case, kind Kind) *Failure {
	sets := variants(ctx, c)
	if len(sets) == 0 {
		return nil
	}
	if kind == Inference {
		var in []map[string]ir.Datum
		for _, s := range sets[:min(len(sets), bindings)] {
			in = append(in, s.Inputs)
		}
		g := &generator{random: newRandom(c.Seed, 3), ctx: ctx}
		if len(in) < bindings || !g.sampleOn(c.Model, in) {
			return nil
		}
		return sound(c.Model, g.scope.vals, g.sizes)
	}
	c.Sets = sets
	return f.Check(ctx, c).Failure
}

// variants are the sets of c as far as its model's inputs are in them, or generated ones.
func variants(ctx context.Context, c *Case) []compare.Set {
	var r []compare.Set
	if len(c.Sets) == 0 {
		return generated(ctx, c)
	}
	for _, s := range c.Sets {
		t := compare.Set{Inputs: map[string]ir.Datum{}, Label: s.Label}
		for _, slot := range c.Model.Main.Inputs() {
			d := s.Inputs[slot.Name()]
			if slot.Value().Default() != nil {
				continue
			}
			if d == nil {
				return generated(ctx, c)
			}
			if _, ok := slot.Type().Merge(d.Type()); !ok {
				return generated(ctx, c)
			}
			t.Inputs[slot.Name()] = d
		}
		r = append(r, t)
	}
	return r
}

func generated(ctx context.Context, c *Case) []compare.Set {
	var r []compare.Set
	src := compare.NewGenerator(c.Model, compare.GenerateOptions{Seed: c.Seed, Memory: 1 << 20, Attempts: bindings})
	for s, err := range src.Sets(ctx) {
		if err != nil {
			return nil
		}
		if r = append(r, s); len(r) == bindings {
			break
		}
	}
	if len(r) == 1 {
		r = append(r, r[0])
	}
	rnd := newRandom(c.Seed, 5)
	wild := func(p *passes.Pipeline) bool { return p.Promise().Exact() }(c.Pipeline)
	for _, s := range r[:len(r):len(r)] {
		for range 4 {
			w := compare.Set{Inputs: maps.Clone(s.Inputs), Label: s.Label + ", special values"}
			for _, slot := range c.Model.Main.Inputs() {
				if d := w.Inputs[slot.Name()]; d != nil && wild {
					w.Inputs[slot.Name()] = sprinkle(rnd, d)
				}
			}
			r = append(r, w)
		}
	}
	return r
}
