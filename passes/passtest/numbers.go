package passtest

import (
	"context"
	"iter"
	"math"
	"testing"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// numbers compares the outputs of the input and the result under the promise of the rules that were applied.
func (k *testCase) numbers(t *testing.T, p *passes.Pass, in *ir.Model, a *attempt, prefix string) {
	t.Helper()
	promise := k.promise(p, a)
	if promise.Lossy {
		return
	}
	tolerance := func(string) compare.Tolerance { return compare.Tolerance{Exact: true} }
	if !promise.Exact() {
		known := compare.Tolerances(in)
		tolerance = func(output string) compare.Tolerance {
			o := known[output]
			o.Rel = math.Max(promise.RelTol, halfPrecision(in, output))
			return o
		}
	}
	src := compare.Source(compare.NewGenerator(in, compare.GenerateOptions{Seed: 1}))
	k.compare(t, in, a.model, src, tolerance, prefix)
	if promise.Exact() && k.unverified == "" {
		k.compareSpecial(t, in, a.model, src, tolerance, prefix)
	}
}

// promise is the weakest of the applied rules; that of the whole pass where other passes took part.
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
			return p.Promise
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

func (k *testCase) compare(t *testing.T, a, b *ir.Model, src compare.Source, tolerance func(string) compare.Tolerance, prefix string) {
	t.Helper()
	v, err := compare.Models(context.Background(), native.New(), a, b, src, compare.Options{Tolerance: tolerance})
	switch {
	case err != nil:
		t.Fatal(prefix, err)
	case v.State == compare.Mismatch:
		t.Errorf("%s%s", prefix, v)
	case v.State == compare.NotVerified && k.unverified == "":
		t.Errorf("%s%s", prefix, v)
	case v.State == compare.Verified && k.unverified != "":
		t.Errorf("%sthe case says that it cannot be verified, but it was", prefix)
	}
}

// compareSpecial compares on special values. They may well make every output NaN, of which no comparison is made.
func (k *testCase) compareSpecial(t *testing.T, a, b *ir.Model, src compare.Source, tolerance func(string) compare.Tolerance, prefix string) {
	t.Helper()
	v, err := compare.Models(context.Background(), native.New(), a, b, specials(src), compare.Options{Tolerance: tolerance})
	if err != nil || v.State == compare.Mismatch {
		t.Errorf("%swith special values: %v %v", prefix, v, err)
	}
}

// specials is a source of inputs of the same shapes as those of src, in which floats are replaced here and there by NaN,
// infinities, zeros of both signs, subnormal and extreme values.
func specials(src compare.Source) compare.Source { return special{src} }

type special struct{ compare.Source }

// Sets yields three variants of the first set.
func (s special) Sets(ctx context.Context) iter.Seq2[compare.Set, error] {
	return func(yield func(compare.Set, error) bool) {
		for set, err := range s.Source.Sets(ctx) {
			for shift := range 3 {
				v := compare.Set{Inputs: map[string]ir.Datum{}, Label: set.Label + ", special values"}
				for name, d := range set.Inputs {
					v.Inputs[name] = sprinkle(d, shift)
				}
				if !yield(v, err) {
					return
				}
			}
			return
		}
	}
}

// Refused is false: a model that runs on ordinary numbers has to run on these.
func (special) Refused(error) bool { return false }

// sprinkle replaces every other element of a float tensor, beginning with shift.
func sprinkle(d ir.Datum, shift int) ir.Datum {
	t, ok := d.(*ir.Tensor)
	if !ok {
		return d
	}
	switch t.DType() {
	case ir.Float32:
		return replaced(t, shift, []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Copysign(0, -1)),
			float32(math.Inf(-1)), 0, math.SmallestNonzeroFloat32, math.MaxFloat32, -1e-39})
	case ir.Float64:
		return replaced(t, shift, []float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), math.Inf(-1), 0,
			math.SmallestNonzeroFloat64, math.MaxFloat64, -1e-310})
	case ir.Float16:
		return replaced(t, shift, []uint16{0x7e00, 0x7c00, 0x8000, 0xfc00, 0, 1, 0x7bff, 0x8001})
	case ir.BFloat16:
		return replaced(t, shift, []uint16{0x7fc0, 0x7f80, 0x8000, 0xff80, 0, 1, 0x7f7f, 0x8001})
	}
	return d
}

func replaced[T ir.Scalar](t *ir.Tensor, shift int, values []T) ir.Datum {
	old, err := ir.Elements[T](t)
	if err != nil {
		return t
	}
	v := append([]T(nil), old...)
	for i := shift % 2; i < len(v); i += 2 {
		v[i] = values[(i/2+3*shift)%len(values)]
	}
	return ir.NewTensor(t.DType(), t.Shape(), ir.AsBytes(v))
}
