package hook

import (
	"context"
	"fmt"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// Verify checks the model after each step that changed it: the structure, the schemas, and the numbers against the model
// before the step under the step's promise. It is --verify-each.
type Verify struct {
	Engine engine.Engine                    // nil: structure and schemas only
	Source func(m *ir.Model) compare.Source // inputs for a model; nil: generated ones
	Budget compare.Budget                   // of one step
	// Unverified is told why the numbers of a step could not be compared; may be nil.
	Unverified func(path, why string)

	before *ir.Model
}

// StepMismatch says that a step broke its promise.
type StepMismatch struct {
	Path    string
	Promise passes.Promise
	Verdict *compare.Verdict
}

func (e *StepMismatch) Error() string {
	return fmt.Sprintf("pass %s promises to be %s: %s", e.Path, e.Promise, e.Verdict)
}

// Before implements passes.Hook.
func (v *Verify) Before(s *passes.StepRun) bool {
	v.before = nil
	if v.Engine != nil && !s.Promise.Lossy {
		v.before = s.Model.Clone()
	}
	return true
}

// After implements passes.Hook.
func (v *Verify) After(s *passes.StepRun, err error) error {
	if err != nil || !s.Changed {
		return err
	}
	if err := Structure(s.Model); err != nil {
		return fmt.Errorf("after pass %s: %w", s.Path, err)
	}
	if v.before == nil {
		return nil
	}
	rel, err := compare.Relate(v.before, s.Model, s.Border)
	if err != nil {
		v.unverified(s.Path, err.Error())
		return nil
	}
	var src compare.Source
	if v.Source != nil {
		src = v.Source(rel.Original)
	}
	verdict, err := compare.Models(s.Context, v.Engine, rel.Original, s.Model, src, compare.Options{
		Budget: v.Budget, Tolerance: Tolerance(rel.Original, s.Promise), Relation: rel,
	})
	switch {
	case err != nil:
		return err
	case verdict.State == compare.Mismatch:
		return &StepMismatch{s.Path, s.Promise, verdict}
	case verdict.State == compare.NotVerified:
		v.unverified(s.Path, verdict.Why)
	}
	return nil
}

func (v *Verify) unverified(path, why string) {
	if v.Unverified != nil {
		v.Unverified(path, why)
	}
}

// Structure checks the invariants of ir and the schemas.
func Structure(m *ir.Model) error {
	_, err := Infer(m)
	return err
}

// Infer is Structure and also returns the inference it made.
func Infer(m *ir.Model) (*infer.Result, error) {
	if err := ir.Verify(m); err != nil {
		return nil, err
	}
	return ops.Infer(m)
}

// Tolerance is what the outputs of m are held to under a promise: equal bits for an exact one, else the tolerances of -O2 with
// the promise's bound where that is wider. A nil result stands for the tolerances of -O2.
func Tolerance(m *ir.Model, p passes.Promise) func(output string) compare.Tolerance {
	if p.Exact() {
		return func(string) compare.Tolerance { return compare.Tolerance{Exact: true} }
	}
	known := compare.Tolerances(m)
	return func(output string) compare.Tolerance {
		return known[output].Widen(compare.Tolerance{Rel: p.RelTol})
	}
}

// Bisect finds the first rewrite after which run fails: the smallest n such that run(n) is bad although run(n-1) is not, where
// run(n) applies the first n rewrites of total. run(0) must be good and run(total) bad. It takes about log2(total) runs (the method of
// LLVM's -opt-bisect-limit).
func Bisect(ctx context.Context, total int, run func(ctx context.Context, limit int) (bad bool, err error)) (first int, err error) {
	good, bad := 0, total
	for bad-good > 1 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		mid := good + (bad-good)/2
		b, err := run(ctx, mid)
		if err != nil {
			return 0, err
		}
		if b {
			bad = mid
		} else {
			good = mid
		}
	}
	return bad, nil
}
