package optimize

import (
	"context"
	"errors"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// maxLiteral is how many bytes of weights a reproducer may hold; beyond, they are filled even if the failure needs the true ones.
const maxLiteral = 64 << 20

// failing is a case that may fail: a pipeline on a model.
type failing struct {
	model    *ir.Model
	pipeline *passes.Pipeline
}

// reproduce makes the reproducer of a rewrite: the model as it was before it, and the step alone, if that still fails;
// else the whole case.
func (r *run) reproduce(ctx context.Context, c *culprit, why string, src compare.Source) (*hook.Reproducer, string) {
	r.progress("making a reproducer")
	m := r.original.Clone()
	if _, err := r.rerun(ctx, r.q.Pipeline, m, r.limited(c.offer.Number)...); err != nil || c.step == nil {
		return r.whole(why), ""
	}
	return r.narrow(ctx, why, src, failing{m, c.step.Alone()})
}

// reproduceStep makes the reproducer of a step that failed: the model as it was before it, and the step alone.
func (r *run) reproduceStep(ctx context.Context, at *position, why error) (*hook.Reproducer, string) {
	if err := r.takeOriginal(); err != nil {
		return nil, err.Error()
	}
	r.progress("making a reproducer")
	shot := &snapshot{index: at.index}
	_, _ = r.rerun(ctx, r.q.Pipeline, r.original.Clone(), r.limited(r.limit(), shot)...) // it ends as the run did
	if shot.model == nil {
		return r.whole(why.Error()), "the failing step was not reached again"
	}
	return r.narrow(ctx, why.Error(), nil, failing{shot.model, at.step.Alone()})
}

// narrow is the reproducer of c if it fails, with filled weights if it fails with them, too; else that of the whole case.
func (r *run) narrow(ctx context.Context, why string, src compare.Source, c failing) (*hook.Reproducer, string) {
	if !r.fails(ctx, c, src) {
		c = failing{r.original, r.q.Pipeline}
		if !r.fails(ctx, c, src) {
			return r.whole(why), "the failure did not occur again"
		}
	}
	p := &hook.Reproducer{Model: c.model, Pipeline: c.pipeline.String(), Skip: r.skips(), Why: why}
	if filled, err := hook.Filled(c.model); err == nil {
		p.Fill = r.fails(ctx, failing{filled, c.pipeline}, src)
	}
	if !p.Fill && weights(c.model) > maxLiteral {
		p.Fill = true
		return p, "the reproducer holds other weights than the model, because they are large, and fails only with the model's own"
	}
	return p, ""
}

// whole is the reproducer of the request itself.
func (r *run) whole(why string) *hook.Reproducer {
	return &hook.Reproducer{
		Model: r.original, Pipeline: r.q.Pipeline.String(), Skip: r.skips(), Why: why, Fill: weights(r.original) > maxLiteral,
	}
}

func (r *run) skips() []string {
	var s []string
	for _, k := range r.q.Skip {
		if k.Rule != "" {
			k.Pass += "," + k.Rule
		}
		s = append(s, k.Pass)
	}
	return s
}

// fails reports whether c crashes, leaves an invalid model, or one that computes something else.
func (r *run) fails(ctx context.Context, c failing, src compare.Source) bool {
	m := c.model.Clone()
	report, err := r.rerun(ctx, c.pipeline, m, r.limited(r.limit())...)
	var crash *passes.InternalError
	if err != nil {
		return errors.As(err, &crash)
	}
	if check(m) != nil {
		return true
	}
	rel, err := compare.Relate(c.model, m, report.Border)
	if err != nil {
		return false
	}
	if src == nil {
		src = r.inputs(rel.Original)
	}
	v, err := compare.Models(ctx, r.eng, rel.Original, m, src, compare.Options{
		Budget: r.q.Budget, Threads: r.q.Threads, Tolerance: hook.Tolerance(rel.Original, c.pipeline.Promise()), Relation: rel,
	})
	return err == nil && v.State == compare.Mismatch
}

// weights is the number of bytes of the model's initializers.
func weights(m *ir.Model) int64 {
	n := int64(0)
	for _, g := range m.Graphs() {
		for _, v := range g.Consts() {
			n += max(v.Const().ByteLen(), 0)
		}
	}
	return n
}

// snapshot copies the model before a step.
type snapshot struct {
	index int
	model *ir.Model
}

// Before implements passes.Hook.
func (s *snapshot) Before(run *passes.StepRun) bool {
	if run.Index == s.index {
		s.model = run.Model.Clone()
	}
	return true
}

// After implements passes.Hook.
func (s *snapshot) After(_ *passes.StepRun, err error) error { return err }
