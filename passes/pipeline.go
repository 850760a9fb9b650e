package passes

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// Pipeline is a list of steps. It is immutable and may run any number of times, also at once on different models.
type Pipeline struct{ steps []*Step }

// Step is one call of a pass, or of an alias.
type Step struct {
	Pass   *Pass  // nil for an alias
	Alias  string // "" for a pass
	given  []KeyValue
	only   []string
	except []string

	options  any
	nested   *Pipeline
	prepares []*Pipeline
}

// Name is the pass's or alias's name.
func (s *Step) Name() string {
	if s.Pass != nil {
		return s.Pass.Name
	}
	return s.Alias
}

// Nested is the pipeline of an alias, or that in parentheses of a pass that nests; else nil.
func (s *Step) Nested() *Pipeline { return s.nested }

// Alone is the pipeline of this step only.
func (s *Step) Alone() *Pipeline { return &Pipeline{steps: []*Step{s}} }

// Promise is what this step promises with its options; a nested pipeline's for aliases and nesting passes.
func (s *Step) Promise() Promise {
	if s.nested != nil {
		return s.nested.Promise()
	}
	return s.Pass.promise(s.options)
}

// String is the step's text.
func (s *Step) String() string {
	var b strings.Builder
	b.WriteString(s.Name())
	if len(s.given) > 0 {
		b.WriteByte('{')
		for i, kv := range s.given {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(quote(kv.Key, true) + "=" + quote(kv.Value, false))
		}
		b.WriteByte('}')
	}
	if s.Pass != nil && s.Pass.Nests {
		b.WriteString("(" + s.nested.String() + ")")
	}
	return b.String()
}

// Steps lists the steps.
func (p *Pipeline) Steps() []*Step { return slices.Clone(p.steps) }

// Promise is the weakest promise of the steps; their errors are not added up, because the bound of -O2 holds for the whole.
func (p *Pipeline) Promise() Promise {
	var r Promise
	for _, s := range p.steps {
		r = r.Weakest(s.Promise())
	}
	return r
}

// String is the text of p; parsing it gives p again.
func (p *Pipeline) String() string {
	t := make([]string, len(p.steps))
	for i, s := range p.steps {
		t[i] = s.String()
	}
	return strings.Join(t, ",")
}

// Files lists what the options of type File and Data name, so that they can be opened before the first pass.
func (p *Pipeline) Files() (files []File, data []Data) {
	for _, s := range p.steps {
		if s.nested != nil {
			f, d := s.nested.Files()
			files, data = append(files, f...), append(data, d...)
		}
		if s.Pass != nil {
			f, d := s.Pass.options.files(s.options)
			files, data = append(files, f...), append(data, d...)
		}
	}
	return files, data
}

// Config is what a run needs besides the model. The zero value is usable.
type Config struct {
	Hooks   []Hook
	Skip    []Skip
	Files   map[File][]byte
	Data    map[Data]any
	Remarks func(Remark) // nil: remarks are counted, not kept
	// Notes is told what passes have to say to their user, step by step; may be nil.
	Notes  func(path, text string)
	Primed []Primed // results of analyses that the caller has already
}

// Skip takes a pass, or one of its rules, out of a run.
type Skip struct{ Pass, Rule string }

// ParseSkip reads "pass" or "pass,rule" and checks that they exist.
func (r *Registry) ParseSkip(text string) (Skip, error) {
	pass, rule, _ := strings.Cut(text, ",")
	p, ok := r.Lookup(pass)
	if !ok {
		return Skip{}, fmt.Errorf("there is no pass %q%s", pass, r.Hint(pass))
	}
	if rule != "" && !slices.ContainsFunc(p.Rules, func(d RuleDoc) bool { return d.Name == rule }) {
		var names []string
		for _, d := range p.Rules {
			names = append(names, d.Name)
		}
		return Skip{}, fmt.Errorf("pass %s has no rule %q; it has %s", pass, rule, strings.Join(names, ", "))
	}
	return Skip{pass, rule}, nil
}

// Report says what a run did.
type Report struct {
	Steps    []StepReport
	Rewrites int // applied in all
	Vetoed   int // kept from being applied by a hook
	// Border relates the interface of the result to that of the model before the run; nil if no pass changed it.
	Border *ir.Border
}

// StepReport says what one execution of a pass did.
type StepReport struct {
	Path     string // "simplify/fixpoint#2/cse"
	Pass     string
	Rewrites []RuleCount
	Changed  bool
	Duration time.Duration
	Promise  Promise // of the step with its options
}

// RuleCount is how often a rule was applied.
type RuleCount struct {
	Rule  string
	Count int
}

// Run runs the steps on m. On an error m is left as the failing step left it, but structurally valid edits only: callers
// that need the old model clone it first. A panic of a pass becomes an *InternalError.
func (p *Pipeline) Run(ctx context.Context, m *ir.Model, cfg Config) (*Report, error) {
	r := newRunner(ctx, m, cfg)
	defer r.close()
	p.absent(m, r.absent)
	err := r.pipeline(p, "", nil)
	return &r.report, err
}

// InternalError is a failure of a pass itself.
type InternalError struct {
	Step, Rule, Node string
	Cause            any
	Stack            []byte
}

func (e *InternalError) Error() string {
	s := "internal error in pass " + e.Step
	if e.Rule != "" {
		s += ", rule " + e.Rule
	}
	if e.Node != "" {
		s += ", at " + e.Node
	}
	return fmt.Sprintf("%s: %v", s, e.Cause)
}

// StepError is an error that a pass returned.
type StepError struct {
	Step string
	Err  error
}

func (e *StepError) Error() string { return "pass " + e.Step + ": " + e.Err.Error() }
func (e *StepError) Unwrap() error { return e.Err }

type runner struct {
	ctx      context.Context
	m        *ir.Model
	cfg      Config
	report   Report
	rewrites []RewriteHook
	numbered int // rewrites offered so far
	index    int // steps run so far
	tx       *transaction
	stop     func()
	cache    map[any]cached
	goal     *Goal
	freshAt  uint64            // what changes was when the cache was last emptied
	clean    map[string]uint64 // steps by text: what changes was when they changed nothing, all analyses being as new
	absent   map[string]bool   // selectors that have matched nothing yet
}

// renew empties the cache of analyses unless nothing has changed since that was last done.
func (r *runner) renew() {
	if now := changes(r.m); now != r.freshAt {
		clear(r.cache)
		r.freshAt = now
	}
}

func newRunner(ctx context.Context, m *ir.Model, cfg Config) *runner {
	r := &runner{ctx: ctx, m: m, cfg: cfg, cache: map[any]cached{}, clean: map[string]uint64{}, absent: map[string]bool{}, freshAt: changes(m)}
	for _, p := range cfg.Primed {
		p(r)
	}
	for _, h := range cfg.Hooks {
		if w, ok := h.(RewriteHook); ok {
			r.rewrites = append(r.rewrites, w)
		}
	}
	r.stop = m.Listen(r.listener())
	return r
}

func (r *runner) close() { r.stop() }

// pipeline runs the steps of p; outer is the selection that aliases hand down.
func (r *runner) pipeline(p *Pipeline, path string, outer []selection) error {
	for _, s := range p.steps {
		if err := r.step(s, path, outer); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) step(s *Step, path string, outer []selection) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if path != "" {
		path += "/"
	}
	path += s.Name()
	sel := outer
	if len(s.only)+len(s.except) > 0 {
		sel = append(slices.Clone(outer), selection{s.only, s.except})
	}
	if s.Pass != nil && slices.Contains(r.cfg.Skip, Skip{Pass: s.Pass.Name}) {
		return nil
	}
	if err := r.checkSelection(path, s); err != nil {
		return err
	}
	if s.Pass == nil {
		return r.pipeline(s.nested, path, sel)
	}
	for _, i := range s.Pass.prepare(r.m, s.options) {
		if s.prepares[i] == nil {
			return fmt.Errorf("pass %s: its preparation %s names what is not known here", path, s.Pass.Prepares[i])
		}
		if err := r.pipeline(s.prepares[i], path, outer); err != nil {
			return err
		}
	}
	c := &Context{runner: r, step: s, path: path, selections: sel}
	if s.Pass.Nests {
		return r.call(c)
	}
	return r.hooked(c)
}

// hooked runs a pass between its hooks. A pass that changed nothing is not run again before something changes: rounds that confirm a
// fixpoint cost nothing where another one has confirmed it.
func (r *runner) hooked(c *Context) error {
	before, vetoed := changes(r.m), r.report.Vetoed
	what := c.step.String()
	if at, ok := r.clean[what]; ok && at == before && len(c.selections) == 0 {
		return nil
	}
	run := &StepRun{Step: c.step, Index: r.index, Path: c.path, Model: r.m, Context: r.ctx, Promise: c.step.Promise()}
	r.index++
	for _, h := range r.cfg.Hooks {
		if !h.Before(run) {
			return nil
		}
	}
	start := time.Now()
	err := r.call(c)
	run.Duration = time.Since(start)
	run.Changed = changes(r.m) != before
	run.Rewrites, run.Border = c.counts, c.border
	if err == nil && !run.Changed && r.freshAt == before && r.report.Vetoed == vetoed && len(c.selections) == 0 {
		r.clean[what] = before
	}
	r.report.Border = r.report.Border.Then(c.border)
	r.report.Steps = append(r.report.Steps, StepReport{c.path, c.step.Pass.Name, c.counts, run.Changed, run.Duration, run.Promise})
	for _, h := range slices.Backward(r.cfg.Hooks) {
		if e := h.After(run, err); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// call runs the pass and turns panics into errors, but not faults on memory: those are of mapped files, and the caller's.
func (r *runner) call(c *Context) (err error) {
	defer func() {
		if p := recover(); par.IsFault(p) {
			panic(p)
		} else if p != nil {
			e := &InternalError{Step: c.path, Cause: p, Stack: debug.Stack()}
			if r.tx != nil {
				e.Rule, e.Node = r.tx.rule, r.tx.place
			}
			r.tx = nil
			err = e
		}
	}()
	err = c.step.Pass.run(c, r.m, c.step.options)
	if err == nil {
		err = c.err
	}
	var ie *InternalError
	var se *StepError
	if err != nil && !errors.As(err, &ie) && !errors.As(err, &se) && r.ctx.Err() == nil {
		err = &StepError{c.path, err}
	}
	return err
}

// changes sums the epochs of all facets: it differs after any edit.
func changes(m *ir.Model) uint64 {
	return m.Epoch(ir.Structure) + m.Epoch(ir.Types) + m.Epoch(ir.Consts) + m.Epoch(ir.Metadata)
}
