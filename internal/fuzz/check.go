package fuzz

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// Kind says in which way something is wrong.
type Kind string

// The kinds.
const (
	Crash     Kind = "crash"            // a pass panics
	Refusal   Kind = "refusal"          // a pass returns an error
	Invalid   Kind = "invalid"          // a pass leaves a model that breaks an invariant or a schema
	Interface Kind = "interface"        // inputs or outputs changed
	NotRun    Kind = "does not run"     // the result does not run where the original does
	Mismatch  Kind = "mismatch"         // the outputs differ by more than is promised
	Declared  Kind = "declared type"    // the result declares a type of an output that it does not have
	Inference Kind = "inference"        // inference says what is not so
	Order     Kind = "order"            // the result depends on chance
	Rewritten Kind = "text or protobuf" // the result does not survive being written and read
)

// Failure is what is wrong with a case.
type Failure struct {
	Kind   Kind
	Detail string
	Engine string // of a difference
}

func (f *Failure) Error() string {
	s := string(f.Kind)
	if f.Engine != "" {
		s += " in " + f.Engine
	}
	return s + ": " + f.Detail
}

func failf(k Kind, format string, a ...any) *Failure {
	return &Failure{Kind: k, Detail: strings.Join(strings.Fields(fmt.Sprintf(format, a...)), " ")}
}

// checker holds models to a pipeline's promise.
type checker struct {
	eng   engine.Engine
	exact bool // whether equal bits can be asked of the engine: not of ONNX Runtime
	mark  func(string)
}

// structure is a hook that checks the model after each step that changed it.
type structure struct{ failed error }

func (*structure) Before(*passes.StepRun) bool { return true }

func (h *structure) After(s *passes.StepRun, err error) error {
	if err == nil && s.Changed {
		if e := hook.Structure(s.Model); e != nil {
			h.failed = fmt.Errorf("after %s: %w", s.Path, e)
			return h.failed
		}
	}
	return err
}

// optimize runs the pipeline on m. The report is nil where there is none.
func optimize(ctx context.Context, m *ir.Model, pipe *passes.Pipeline, hooks ...passes.Hook) (*passes.Report, *Failure) {
	h := &structure{}
	report, err := pipe.Run(ctx, m, passes.Config{Hooks: append([]passes.Hook{h}, hooks...)})
	var internal *passes.InternalError
	switch {
	case err == nil:
		return report, nil
	case ctx.Err() != nil:
		return nil, nil
	case h.failed != nil:
		return nil, failf(Invalid, "%v", h.failed)
	case errors.As(err, &internal):
		return nil, failf(Crash, "%v", internal)
	case strings.Contains(err.Error(), "matches no"): // only= and except= that select nothing
		return nil, nil
	}
	return nil, failf(Refusal, "%v", err)
}

// differs runs a and b on the sets and compares them under the promise. What cannot be compared is said in skipped.
func (c *checker) differs(ctx context.Context, a, b *ir.Model, promise passes.Promise, sets []compare.Set) (f *Failure, skipped string) {
	if err := compare.Interface(a, b); err != nil {
		return failf(Interface, "%v", err), ""
	}
	tolerance := c.tolerance(a, promise)
	eo := engine.Options{MaxMemory: 64 << 20}
	c.mark(Original)
	sa, err := c.eng.Load(ctx, a, eo)
	if err != nil {
		return nil, "the original does not load: " + err.Error()
	}
	defer sa.Close()
	c.mark(Optimized)
	sb, err := c.eng.Load(ctx, b, eo)
	if err != nil {
		return c.named(failf(NotRun, "the result does not load: %v", err)), ""
	}
	defer sb.Close()
	for _, set := range sets {
		c.mark(Original)
		want, err := sa.Run(ctx, set.Inputs)
		if err != nil {
			skipped = "the original does not run: " + err.Error()
			continue
		}
		c.mark(Optimized)
		got, err := sb.Run(ctx, set.Inputs)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, engine.ErrMemory) {
				return nil, err.Error()
			}
			return c.named(failf(NotRun, "%s: %v", set.Label, err)), ""
		}
		for _, slot := range a.Main.Outputs() {
			name := slot.Name()
			if err := tolerance(name).Check(compare.Datum(want[name], got[name])); err != nil {
				f := c.named(failf(Mismatch, "output %q on %s: %v", name, set.Label, err))
				if !promise.Exact() && overflows(want[name]) && !overflows(got[name]) {
					skipped = "a rewrite avoids an overflow"
					continue
				}
				if (!promise.Exact() || !c.exact) && c.unsteady(ctx, a, set, name, tolerance(name)) {
					skipped = "output is too sensitive to rounding to be compared"
					continue
				}
				return f, ""
			}
		}
		if f := declared(b, a, got); f != nil {
			return f, ""
		}
	}
	return nil, skipped
}

func (c *checker) named(f *Failure) *Failure {
	f.Engine = c.eng.Name()
	return f
}

// tolerance is that of package hook; an exact promise is 1e-5 in ONNX Runtime, which packs weights and so sums in other orders.
func (c *checker) tolerance(a *ir.Model, p passes.Promise) func(string) compare.Tolerance {
	if p.Exact() && !c.exact {
		known := compare.Tolerances(a)
		return func(name string) compare.Tolerance {
			t := known[name]
			if t.Rel <= 1e-4 {
				t.Rel = 1e-5
			}
			return t
		}
	}
	return hook.Tolerance(a, p)
}

// declared compares the types that b declares of its outputs with what they are. What a declares wrongly b may, too.
func declared(b, a *ir.Model, got map[string]ir.Datum) *Failure {
	for i, s := range b.Main.Outputs() {
		d, ok := got[s.Name()].(*ir.Tensor)
		if !ok || d == nil {
			continue
		}
		if _, ok := s.Type().Merge(d.Type()); ok {
			continue
		}
		if _, ok := a.Main.Outputs()[i].Type().Merge(d.Type()); ok {
			return failf(Declared, "output %q is declared %s and is %s", s.Name(), s.Type(), d.Type())
		}
	}
	return nil
}

// overflows reports a tensor with a NaN or an infinity.
func overflows(d ir.Datum) bool {
	t, ok := d.(*ir.Tensor)
	if !ok || t == nil || !t.DType().IsFloat() {
		return false
	}
	zero := ir.NewTensor(t.DType(), t.Shape(), make([]byte, max(t.ByteLen(), 0)))
	return compare.Datum(t, zero).Unlike != ""
}
