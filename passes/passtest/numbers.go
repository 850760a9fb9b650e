package passtest

import (
	"context"
	"math"
	"testing"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/special"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// numbers compares the outputs of the input and the result under the promise of the rules that were applied. Unless lenient is
// set, it is an error if they cannot be compared and the case does not say so.
func (k *testCase) numbers(t *testing.T, p *passes.Pass, in *ir.Model, a *attempt, prefix string, lenient bool) {
	t.Helper()
	promise := k.promise(p, a)
	if promise.Lossy {
		return
	}
	rel, err := compare.Relate(in, a.model, a.border)
	if err != nil {
		t.Error(prefix, err)
		return
	}
	in = rel.Original
	tolerance := func(string) compare.Tolerance { return compare.Tolerance{Exact: true} }
	if !promise.Exact() {
		known := compare.Tolerances(in)
		tolerance = func(output string) compare.Tolerance {
			o := known[output]
			o.Rel = math.Max(promise.RelTol, halfPrecision(in, output))
			return o
		}
	}
	verdict := func(src compare.Source, prefix string) compare.State {
		v, err := compare.Models(context.Background(), native.New(), in, a.model, src, compare.Options{Tolerance: tolerance, Relation: rel})
		if err != nil {
			t.Fatal(prefix, err)
		}
		if v.State == compare.Mismatch || v.State == compare.NotVerified && !lenient && k.unverified == "" {
			t.Errorf("%s%s", prefix, v)
		}
		return v.State
	}
	generated := compare.NewGenerator(in, compare.GenerateOptions{Seed: 1})
	state := verdict(generated, prefix)
	if state == compare.Verified && !lenient && k.unverified != "" {
		t.Errorf("%sthe case says that it cannot be verified, but it was", prefix)
	}
	if promise.Exact() && state == compare.Verified && a.rewrites > 0 {
		lenient = true // special values may well make every output NaN, of which no comparison is made
		verdict(special.Source{Source: generated}, prefix+"with special values: ")
	}
}

// elsewhere compares the numbers in the further engines, which round as they like: exact means within 1e-5 there.
func (k *testCase) elsewhere(t *testing.T, p *passes.Pass, in *ir.Model, a *attempt) {
	t.Helper()
	promise := k.promise(p, a)
	if a.rewrites == 0 || promise.Lossy || k.unverified != "" {
		return
	}
	known := compare.Tolerances(in)
	tolerance := func(output string) compare.Tolerance {
		o := known[output]
		o.Rel = math.Max(math.Max(promise.RelTol, 1e-5), halfPrecision(in, output))
		return o
	}
	for i, e := range k.engines {
		v, err := compare.Models(context.Background(), e, in, a.model, compare.NewGenerator(in, compare.GenerateOptions{Seed: 1}), compare.Options{Tolerance: tolerance})
		if err != nil {
			t.Fatalf("in engine %s (%d): %v", e.Name(), i, err)
		}
		if v.State != compare.Verified {
			t.Errorf("in engine %s (%d): %s", e.Name(), i, v)
		}
	}
}

// promise is the weakest of the applied rules; that of the whole pipeline where other passes took part.
func (k *testCase) promise(p *passes.Pass, a *attempt) passes.Promise {
	var r passes.Promise
	for name := range a.rules {
		known := false
		for _, d := range p.Rules {
			if d.Name == name {
				r, known = r.Weakest(d.Promise), true
			}
		}
		if !known {
			return a.promise
		}
	}
	return r
}

// halfPrecision is the bound of narrow floats, which a promise in relative terms of float32 does not cover.
func halfPrecision(m *ir.Model, output string) float64 {
	for _, o := range m.Main.Outputs() {
		if o.Name() != output {
			continue
		}
		d := o.Type().DType()
		if d == ir.Undefined {
			d = o.Value().Type().DType()
		}
		if d.IsFloat() && d.Bits() <= 16 {
			return compare.O2(d).Rel
		}
	}
	return 0
}
