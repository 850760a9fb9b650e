package optimize

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// Fault is how a run fails. Two faults with the same Kind and Pass are taken for the same one.
type Fault struct {
	Kind string // "crash", "error", "invalid result" or "mismatch"
	Pass string // that crashed or returned the error
	Why  string // for people
}

// Same reports whether f and g are the same fault; of two runs that did not fail, too.
func (f *Fault) Same(g *Fault) bool {
	if f == nil || g == nil {
		return f == g
	}
	return f.Kind == g.Kind && f.Pass == g.Pass
}

// Probe runs the request on a copy of its model and says how that fails, nil if it does not: without looking for a rewrite to
// blame, which makes it what reduction asks again and again. Verify says whether outputs are compared; a comparison that cannot be
// made is no fault. The error is that of the context.
func Probe(ctx context.Context, q Request) (fault *Fault, err error) {
	r := &run{q: q, eng: q.Engine}
	if r.eng == nil {
		r.eng = native.New()
	}
	guarded := onnxio.Guard(func() error {
		fault, err = r.probe(ctx)
		return nil
	})
	return fault, errors.Join(err, guarded)
}

func (r *run) probe(ctx context.Context) (*Fault, error) {
	original := r.q.Model
	r.q.Model = original.Clone()
	report, err := r.q.Pipeline.Run(ctx, r.q.Model, r.config(nil, r.hooks(&position{})))
	var crash *passes.InternalError
	var broken *hook.StepMismatch
	var failed *passes.StepError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &crash):
		return &Fault{"crash", passOf(crash.Step), err.Error()}, nil
	case errors.As(err, &broken):
		return &Fault{"mismatch", "", err.Error()}, nil
	case errors.As(err, &failed):
		return &Fault{"error", passOf(failed.Step), err.Error()}, nil
	case err != nil: // a hook found the model invalid
		return &Fault{"invalid result", "", err.Error()}, nil
	}
	if err := check(r.q.Model); err != nil {
		return &Fault{"invalid result", "", "the result is not valid: " + err.Error()}, nil
	}
	if r.q.Verify == Off || r.q.Verify == "" || r.lossy() {
		return nil, nil
	}
	v, err := r.compare(ctx, original, r.q.Model, report.Border, nil)
	if err != nil || v.State != compare.Mismatch {
		return nil, ctx.Err()
	}
	return &Fault{"mismatch", "", "the result differs from the original: " + v.Why}, nil
}

// passOf is the pass of a step: "cse" of "simplify/fixpoint#2/cse".
func passOf(step string) string {
	name, _, _ := strings.Cut(path.Base(step), "#")
	return name
}
