// Package optimize is the engine room of the command and of the library's Optimize: it runs a pipeline on a model, verifies
// the result against the original, and finds the rewrite to blame where they differ.
package optimize

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// Mode says whether the result is compared with the original.
type Mode string

// The modes.
const (
	Auto   Mode = "auto"   // compare where that can be done; say so where it cannot
	Strict Mode = "strict" // what cannot be compared is an error
	Off    Mode = "off"
)

// Request is a run. Model and Pipeline are required; the zero value of everything else is usable and means --verify=off.
type Request struct {
	Model    *ir.Model // optimized in place; after an error it must not be used
	Pipeline *passes.Pipeline
	Skip     []passes.Skip
	Files    map[passes.File][]byte
	Data     map[passes.Data]any
	Remarks  func(passes.Remark)
	Notes    func(path, text string)
	Hooks    []passes.Hook

	Verify     Mode
	VerifyEach bool // check structure and numbers after each step that changed something
	Budget     compare.Budget
	Engine     engine.Engine // nil: the embedded one
	Threads    int
	Seed       uint64 // of generated inputs
	// Inputs are what models are compared on; nil: generated inputs. They are read anew for each comparison.
	Inputs compare.Source

	// Undo leaves a rewrite that broke the model out and goes on.
	Undo bool
	// Limit applies the first *Limit rewrites only.
	Limit *int
	// Original makes the model anew, for a reproducer of a crash; nil where there is no way.
	Original func() (*ir.Model, error)
	// Progress is told what is going on, in a few words; may be nil.
	Progress func(doing string)
}

// Result is what a run did.
type Result struct {
	Report       *passes.Report
	Verification Verification
	Undone       []hook.Offer // rewrites left out because they broke the model
	Warnings     []string     // what the model that came in states wrongly
	Unverified   []string     // steps that --verify-each could not compare, and why
}

// State is the outcome of the verification of a run.
type State string

// The outcomes. A mismatch is an error and has no state here.
const (
	Verified    State = "verified"
	NotVerified State = "not verified"
	Drift       State = "drift" // a lossy pipeline: measured, not judged
	Skipped     State = "off"
)

// Verification says what was compared.
type Verification struct {
	State State
	// Why says why nothing could be verified, or what remains to be said of a verification.
	Why string
	// Unchanged reports that no pass changed anything, so that nothing had to be run.
	Unchanged bool
	Sets      int
	// Outputs holds the worst difference of each output.
	Outputs map[string]compare.Diff
}

// String is the verification in one line.
func (v Verification) String() string {
	s := string(v.State)
	switch {
	case v.State == Skipped && v.Why != "":
		return "not verified: " + v.Why
	case v.State == Skipped:
		return "not verified: --verify=off"
	case v.Unchanged:
		return s + ": no pass changed anything"
	case v.Sets > 0:
		s += fmt.Sprintf(" on %d set%s of inputs", v.Sets, plural(v.Sets))
		if worst, at := v.Worst(); at != "" {
			s += fmt.Sprintf(", largest difference %.2g (output %q)", worst, at)
		} else {
			s += ", the same bits"
		}
	}
	if v.Why != "" {
		s += ": " + v.Why
	}
	return s
}

// Worst is the largest relative difference of an output and its name, "" if all outputs have the same bits.
func (v Verification) Worst() (rel float64, output string) {
	for name, d := range v.Outputs {
		if d.Same() {
			continue
		}
		if output == "" || d.Rel > rel || d.Rel == rel && name < output {
			rel, output = d.Rel, name
		}
	}
	return rel, output
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// InputError says that the model is not valid. The pipeline did not run.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "the model is not valid: " + e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// UnverifiedError is the error of Strict where nothing could be compared.
type UnverifiedError struct{ Why string }

func (e *UnverifiedError) Error() string { return "not verified: " + e.Why }

// FailedError says that the result is wrong: it is not valid, does not run, or computes something else. The culprit and the reproducer are
// nil where they could not be found.
type FailedError struct {
	Err        error // what is wrong
	Crash      bool  // a pass crashed or left an invalid model, which is an error of the program
	Culprit    *hook.Offer
	Reproducer *hook.Reproducer
	Note       string // what went wrong with finding the culprit or the reproducer, or makes the comparison doubtful, if anything
}

func (e *FailedError) Error() string {
	s := e.Err.Error()
	if e.Culprit != nil {
		s += fmt.Sprintf("; rewrite %d, %s of %s", e.Culprit.Number+1, e.Culprit.Rule, e.Culprit.Path)
		if e.Culprit.Node != "" {
			s += " at " + e.Culprit.Node
		}
		s += ", is to blame"
	}
	return s
}

func (e *FailedError) Unwrap() error { return e.Err }

// Run runs the request. Errors are *InputError, *FailedError, *UnverifiedError, the context's, or those of a pass that could
// not do what its options ask for (*passes.StepError).
func Run(ctx context.Context, q Request) (res *Result, err error) {
	r := &run{q: q, eng: q.Engine}
	if r.eng == nil {
		r.eng = native.New()
	}
	// Weights are mapped: reading them may fault where a file changes.
	err = onnxio.Guard(func() error {
		res, err = r.do(ctx)
		return err
	})
	return res, err
}

// run is one Run.
type run struct {
	q        Request
	eng      engine.Engine
	original *ir.Model // a copy of the model as it came; nil if nothing will be compared
	res      Result
	vetoed   map[int]bool
	types    *infer.Result // of the model as it came; nil if that is not what the passes begin with
}

func (r *run) progress(doing string) {
	if r.q.Progress != nil {
		r.q.Progress(doing)
	}
}

func (r *run) do(ctx context.Context) (*Result, error) {
	r.progress("checking the model")
	if err := r.admit(); err != nil {
		return nil, err
	}
	if r.q.Verify != Off && r.q.Verify != "" {
		r.original = r.q.Model.Clone()
	}
	before := edits(r.q.Model)
	at := &position{}
	cfg := r.config(r.q.Remarks, r.hooks(at))
	cfg.Notes = r.q.Notes
	if r.types != nil {
		cfg.Primed, r.types = []passes.Primed{facts.Prime(r.types)}, nil
	}
	report, err := r.q.Pipeline.Run(ctx, r.q.Model, cfg)
	r.res.Report = report
	if err != nil {
		return &r.res, r.failed(ctx, err, at)
	}
	changed := edits(r.q.Model) != before
	if changed {
		r.progress("checking the result")
		if err := check(r.q.Model); err != nil {
			return &r.res, r.blame(ctx, fmt.Errorf("the result is not valid: %w", err), true)
		}
	}
	return &r.res, r.verify(ctx, changed)
}

// hooks are those of the real run, as opposed to the runs that bisection makes.
func (r *run) hooks(at *position) []passes.Hook {
	h := []passes.Hook{at}
	if r.q.Limit != nil {
		h = append(h, &hook.Limit{N: *r.q.Limit})
	}
	if r.q.VerifyEach {
		h = append(h, &hook.Verify{
			Engine: r.eng, Source: r.inputs, Budget: r.q.Budget,
			Unverified: func(path, why string) { r.res.Unverified = append(r.res.Unverified, path+": "+why) },
		})
	}
	if r.q.Progress != nil {
		h = append(h, stepProgress{r.q.Progress})
	}
	return append(h, r.q.Hooks...)
}

// config is what the request gives to every run of its passes.
func (r *run) config(remarks func(passes.Remark), hooks []passes.Hook) passes.Config {
	return passes.Config{Hooks: hooks, Skip: r.q.Skip, Files: r.q.Files, Data: r.q.Data, Remarks: remarks}
}

// rerun runs passes once more to find something out; nobody is told of it.
func (r *run) rerun(ctx context.Context, p *passes.Pipeline, m *ir.Model, hooks ...passes.Hook) (*passes.Report, error) {
	return p.Run(ctx, m, r.config(nil, hooks))
}

// failed is what an error of the pipeline becomes.
func (r *run) failed(ctx context.Context, err error, at *position) error {
	var crash *passes.InternalError
	var broken *hook.StepMismatch
	if !errors.As(err, &crash) && !errors.As(err, &broken) {
		return err
	}
	f := &FailedError{Err: err, Crash: crash != nil}
	f.Reproducer, f.Note = r.reproduceStep(ctx, at, err)
	return f
}

// inputs are what a model is compared on.
func (r *run) inputs(m *ir.Model) compare.Source {
	if r.q.Inputs != nil {
		return r.q.Inputs
	}
	memory := r.q.Budget.Memory
	return compare.NewGenerator(m, compare.GenerateOptions{Seed: r.q.Seed, Memory: memory / 4})
}

// edits sums the epochs of m: it differs after any edit.
func edits(m *ir.Model) uint64 {
	return m.Epoch(ir.Structure) + m.Epoch(ir.Types) + m.Epoch(ir.Consts) + m.Epoch(ir.Metadata)
}

// position remembers which step runs.
type position struct {
	index int
	step  *passes.Step
}

// Before implements passes.Hook.
func (p *position) Before(s *passes.StepRun) bool {
	p.index, p.step = s.Index, s.Step
	return true
}

// After implements passes.Hook.
func (p *position) After(_ *passes.StepRun, err error) error { return err }

// stepProgress tells which pass runs.
type stepProgress struct{ tell func(string) }

// Before implements passes.Hook.
func (p stepProgress) Before(s *passes.StepRun) bool {
	p.tell("pass " + s.Path)
	return true
}

// After implements passes.Hook.
func (p stepProgress) After(_ *passes.StepRun, err error) error { return err }
