package optimize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// verify compares the model with the original as the request asks.
func (r *run) verify(ctx context.Context, changed bool) error {
	switch {
	case r.original == nil:
		r.res.Verification = Verification{State: Skipped}
		return nil
	case !changed:
		r.res.Verification = Verification{State: Verified, Unchanged: true}
		return nil
	}
	r.progress("comparing with the original")
	verdict, err := r.compare(ctx, r.original, r.q.Model, r.res.Report.Border, nil)
	if err != nil {
		return err
	}
	if verdict.State == compare.Mismatch && !r.lossy() {
		if !r.q.Undo {
			return r.mismatch(ctx, verdict)
		}
		if verdict, err = r.undo(ctx, verdict); err != nil {
			return err
		}
	}
	return r.conclude(verdict)
}

// conclude turns a verdict that is no failure into the result's verification.
func (r *run) conclude(v *compare.Verdict) error {
	w := Verification{State: Verified, Why: v.Why, Sets: v.Sets, Outputs: v.Outputs}
	switch {
	case v.State == compare.NotVerified:
		w.State, w.Sets = NotVerified, 0
	case r.lossy():
		w.State = Drift
	}
	r.res.Verification = w
	if w.State == NotVerified && r.q.Verify == Strict {
		return &UnverifiedError{w.Why}
	}
	return nil
}

// lossy reports whether a pass that promises nothing changed the model, or may have where there is no report yet.
func (r *run) lossy() bool {
	if rep := r.res.Report; rep != nil {
		return slices.ContainsFunc(rep.Steps, func(s passes.StepReport) bool { return s.Promise.Lossy && s.Changed })
	}
	return r.q.Pipeline.Promise().Lossy
}

// compare runs both models, whose interfaces are related by the border; a nil src means the request's inputs.
func (r *run) compare(ctx context.Context, a, b *ir.Model, border *ir.Border, src compare.Source) (*compare.Verdict, error) {
	rel, err := compare.Relate(a, b, border)
	if err != nil {
		return &compare.Verdict{State: compare.NotVerified, Why: err.Error()}, nil
	}
	if src == nil {
		src = r.inputs(rel.Original)
		if r.q.Inputs != nil {
			src = rel.Source(src)
		}
	}
	return compare.Models(ctx, r.eng, rel.Original, b, src, compare.Options{
		Budget: r.q.Budget, Threads: r.q.Threads, Tolerance: r.tolerance(rel.Original), Relation: rel,
	})
}

// tolerance is what the outputs are held to: a lossy pipeline's drift is measured only.
func (r *run) tolerance(a *ir.Model) func(string) compare.Tolerance {
	if r.lossy() {
		anything := compare.Tolerance{Rel: math.Inf(1), Abs: math.Inf(1), Steps: math.Inf(1)}
		return func(string) compare.Tolerance { return anything }
	}
	p := r.q.Pipeline.Promise()
	if rep := r.res.Report; rep != nil {
		for _, s := range rep.Steps {
			if s.Changed { // one that prepares for a pass may promise less than that
				p = p.Weakest(s.Promise)
			}
		}
	}
	p.Lossy = false
	return hook.Tolerance(a, p)
}

// again is the source of the set on which the models differ; nil, generated inputs, if they differ without having run, or the
// interface has changed, so that fewer rewrites take other inputs.
func (r *run) again(v *compare.Verdict) compare.Source {
	if v.Set.Inputs == nil || r.res.Report.Border != nil {
		return nil
	}
	return compare.Fixed(v.Set)
}

// mismatch is the error of a result that computes something else.
func (r *run) mismatch(ctx context.Context, v *compare.Verdict) error {
	f := &FailedError{Err: fmt.Errorf("the result differs from the original: %s", v.Why)}
	if c, err := r.bisect(ctx, r.again(v)); err == nil {
		f.Culprit = c.offer
		f.Reproducer, f.Note = r.reproduce(ctx, c, f.Error(), r.again(v))
	} else if r.note(f, err) {
		f.Reproducer = r.whole(f.Error())
	} else {
		return err
	}
	if v.Unsteady != nil {
		f.Note = strings.TrimPrefix(fmt.Sprintf("%s; on these inputs %v; --data compares on others, --on-mismatch=undo leaves the rewrite out", f.Note, v.Unsteady), "; ")
	}
	return f
}

// blame is the error of a result that is not valid.
func (r *run) blame(ctx context.Context, why error, crash bool) error {
	f := &FailedError{Err: why, Crash: crash}
	if err := r.takeOriginal(); err != nil {
		f.Note = err.Error()
		return f
	}
	c, err := r.bisect(ctx, nil)
	switch {
	case err == nil:
		f.Culprit = c.offer
		f.Reproducer, f.Note = r.reproduce(ctx, c, f.Error(), nil)
	case r.note(f, err):
		f.Reproducer = r.whole(f.Error())
	default:
		return err
	}
	return f
}

// note records why bisection failed; it is false for the end of the context, which is the run's error.
func (r *run) note(f *FailedError, err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	f.Note = "the rewrite to blame was not found: " + err.Error()
	return true
}

// takeOriginal makes the original anew if no copy was kept.
func (r *run) takeOriginal() error {
	if r.original != nil {
		return nil
	}
	if r.q.Original == nil {
		return errors.New("there is no copy of the original to look for the rewrite to blame")
	}
	m, err := r.q.Original()
	r.original = m
	return err
}

// maxUndo bounds the rewrites that are left out of one run.
const maxUndo = 16

// undo leaves rewrites out until the result agrees with the original, and makes that the model.
func (r *run) undo(ctx context.Context, v *compare.Verdict) (*compare.Verdict, error) {
	r.vetoed = map[int]bool{}
	for range maxUndo {
		c, err := r.bisect(ctx, r.again(v))
		if err != nil {
			return nil, err
		}
		r.vetoed[c.offer.Number] = true
		r.res.Undone = append(r.res.Undone, *c.offer)
		m := r.original.Clone()
		report, err := r.rerun(ctx, r.q.Pipeline, m, r.limited(r.limit())...)
		if err != nil {
			return nil, err
		}
		if err := check(m); err != nil {
			return nil, r.blame(ctx, fmt.Errorf("the result is not valid: %w", err), true)
		}
		r.res.Report = report
		if v, err = r.compare(ctx, r.original, m, report.Border, nil); err != nil {
			return nil, err
		}
		if v.State != compare.Mismatch {
			r.q.Model.Assign(m)
			return v, nil
		}
	}
	return nil, &FailedError{Err: fmt.Errorf("the result differs from the original after %d rewrites were left out: %s", maxUndo, v.Why)}
}

// culprit is the rewrite that breaks a model.
type culprit struct {
	offer *hook.Offer
	step  *passes.Step
	index int
}

// bisect finds the first rewrite after which the result is bad on src.
func (r *run) bisect(ctx context.Context, src compare.Source) (*culprit, error) {
	total := min(r.res.Report.Rewrites+r.res.Report.Vetoed, r.limit())
	bad, err := r.bad(ctx, 0, src)
	if err != nil {
		return nil, err
	}
	if bad {
		return nil, errors.New("the original does not agree with itself")
	}
	first, err := hook.Bisect(ctx, total, func(ctx context.Context, limit int) (bool, error) {
		r.progress(fmt.Sprintf("looking for the rewrite to blame: the first %d of %d", limit, total))
		return r.bad(ctx, limit, src)
	})
	if err != nil {
		return nil, err
	}
	return r.identify(ctx, first)
}

// bad reports whether the first limit rewrites break the model.
func (r *run) bad(ctx context.Context, limit int, src compare.Source) (bool, error) {
	m := r.original.Clone()
	report, err := r.rerun(ctx, r.q.Pipeline, m, r.limited(limit)...)
	if err != nil {
		return false, err
	}
	if check(m) != nil {
		return true, nil
	}
	v, err := r.compare(ctx, r.original, m, report.Border, src)
	if err != nil {
		return false, err
	}
	if v.State == compare.NotVerified {
		return false, errors.New(v.Why)
	}
	return v.State == compare.Mismatch, nil
}

// limited are the hooks of a run of the first limit rewrites, without those that are left out already.
func (r *run) limited(limit int, more ...passes.Hook) []passes.Hook {
	return append([]passes.Hook{&hook.Limit{N: limit}, &hook.Veto{Numbers: r.vetoed}}, more...)
}

// limit is how many rewrites the request lets through.
func (r *run) limit() int {
	if r.q.Limit != nil {
		return *r.q.Limit
	}
	return math.MaxInt
}

// identify names the last of the first n rewrites.
func (r *run) identify(ctx context.Context, n int) (*culprit, error) {
	t := &hook.Trace{Watch: n - 1}
	at := &watched{trace: t}
	_, err := r.rerun(ctx, r.q.Pipeline, r.original.Clone(), r.limited(n, t, at)...)
	if err != nil {
		return nil, err
	}
	if t.Found == nil {
		return nil, fmt.Errorf("rewrite %d was not offered again", n)
	}
	return &culprit{t.Found, at.step, at.index}, nil
}

// watched remembers the step in which a trace found its rewrite.
type watched struct {
	trace *hook.Trace
	step  *passes.Step
	index int
}

// Before implements passes.Hook.
func (w *watched) Before(*passes.StepRun) bool { return true }

// After implements passes.Hook.
func (w *watched) After(s *passes.StepRun, err error) error {
	if w.step == nil && w.trace.Found != nil {
		w.step, w.index = s.Step, s.Index
	}
	return err
}
