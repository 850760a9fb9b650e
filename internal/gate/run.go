package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/audit"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/report"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
)

// Outcome is what one rule of a budget came to for one model.
type Outcome struct {
	Model string `json:"model"`
	Rule  string `json:"rule"`
	// State is "ok", "violated", or "known": violated, but no worse than the baseline says.
	State string `json:"state"`
	Text  string `json:"text"`
	Node  string `json:"node,omitempty"` // the node it is about
	// Value is the number that is limited, 0 if there is none.
	Value float64 `json:"value,omitempty"`
	Limit float64 `json:"limit,omitempty"`
}

// The states.
const (
	OK       = "ok"
	Violated = "violated"
	Known    = "known"
)

// Result is what Run found.
type Result struct {
	Outcomes []Outcome          `json:"outcomes"`
	Numbers  map[string]Numbers `json:"numbers"` // by model
}

// Numbers of a model that budgets limit.
type Numbers struct {
	Bytes      int64 `json:"bytes"`
	Nodes      int64 `json:"nodes"`
	Parameters int64 `json:"parameters"`
	MACs       int64 `json:"macs"`
	Activation int64 `json:"peak_activation_bytes"`
	unknown    [5]string
}

var numberNames = [5]string{"bytes", "nodes", "parameters", "macs", "activation"}

func (n Numbers) list() [5]int64 {
	return [5]int64{n.Bytes, n.Nodes, n.Parameters, n.MACs, n.Activation}
}

// Violations counts outcomes that fail the run.
func (r *Result) Violations() (n int) {
	for _, o := range r.Outcomes {
		if o.State == Violated {
			n++
		}
	}
	return n
}

// World is what Run needs of its caller.
type World struct {
	// Open reads a model; bytes are those of the file and its data files.
	Open func(path string) (m *ir.Model, bytes int64, close func() error, err error)
	// Audit audits a file.
	Audit func(path string) (*audit.Report, error)
	// Drift is the largest difference of an output of b to a, with its name. why says why it cannot be told.
	Drift func(ctx context.Context, a, b *ir.Model, data string) (rel float64, output, why string, err error)
}

// Run holds the models of c against their budgets. only restricts it to some paths, as c's folder sees them. base may be nil.
func (c *Config) Run(ctx context.Context, w World, base *Baseline, only []string) (*Result, error) {
	r := &Result{Outcomes: []Outcome{}, Numbers: map[string]Numbers{}}
	done := map[string]bool{}
	for _, e := range c.Models {
		files, err := c.files(e)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if len(only) > 0 && !slices.Contains(only, f) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			g := &gauge{c: c, w: w, b: &e.Budget, r: r, base: base, name: f, path: filepath.Join(c.dir, filepath.FromSlash(f))}
			if err := g.run(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", f, err)
			}
			done[f] = true
		}
	}
	for _, f := range only {
		if !done[f] {
			return nil, fmt.Errorf("%s: no entry of %s is about this model", f, c.file)
		}
	}
	return r, nil
}

// Covers reports whether an entry is about a model of that path, as c's folder sees it.
func (c *Config) Covers(name string) bool {
	return slices.ContainsFunc(c.Models, func(e *Entry) bool {
		ok, _ := filepath.Match(filepath.FromSlash(e.Path), filepath.FromSlash(name))
		return ok
	})
}

// Relative is a path as c's folder sees it, with slashes.
func (c *Config) Relative(path string) (string, error) {
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return "", err
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(dir, full)
	return filepath.ToSlash(rel), err
}

// files are the models that an entry names. None is an error: a budget that holds nothing is a mistake.
func (c *Config) files(e *Entry) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(c.dir, filepath.FromSlash(e.Path)))
	if err != nil {
		return nil, err
	}
	var r []string
	for _, f := range found {
		rel, err := filepath.Rel(c.dir, f)
		if err != nil {
			return nil, err
		}
		r = append(r, filepath.ToSlash(rel))
	}
	if len(r) == 0 {
		return nil, fmt.Errorf("%s: %w", e.Path, fs.ErrNotExist)
	}
	return r, nil
}

// gauge holds one model against one budget.
type gauge struct {
	c          *Config
	w          World
	b          *Budget
	r          *Result
	base       *Baseline
	name, path string
	m          *ir.Model
}

func (g *gauge) say(o Outcome) {
	o.Model = g.name
	if o.State == Violated && g.base.knows(o) {
		o.State = Known
	}
	g.r.Outcomes = append(g.r.Outcomes, o)
}

func (g *gauge) run(ctx context.Context) error {
	if g.b.Audit != nil && *g.b.Audit {
		if err := g.audit(); err != nil {
			return err
		}
	}
	m, bytes, done, err := g.w.Open(g.path)
	if err != nil {
		return err
	}
	defer done()
	g.m = m
	s, err := report.Summarize(m, report.Options{Sizes: g.sizes()})
	if err != nil {
		return err
	}
	g.numbers(s, bytes)
	g.operators()
	g.versions()
	if err := g.targets(ctx); err != nil {
		return err
	}
	return g.drift(ctx)
}

// sizes are those that this model's inputs have open: a default for all models may name others.
func (g *gauge) sizes() map[string]int64 {
	r := map[string]int64{}
	for _, s := range g.m.Main.Inputs() {
		for axis, d := range s.Type().TensorShape() {
			for _, name := range []string{d.Param, fmt.Sprintf("%s[%d]", s.Name(), axis)} {
				if n, ok := g.b.Sizes[name]; ok && !d.IsStatic() && name != "" {
					r[name] = n
				}
			}
		}
	}
	return r
}

func (g *gauge) audit() error {
	a, err := g.w.Audit(g.path)
	if err != nil {
		return err
	}
	for _, f := range a.Findings {
		if f.Severity == audit.Danger {
			g.say(Outcome{Rule: "audit", State: Violated, Node: f.Place, Text: fmt.Sprintf("%s: %s: %s", f.Code, f.Place, f.Text)})
		}
	}
	if a.Dangers == 0 {
		g.say(Outcome{Rule: "audit", State: OK, Text: "no dangers"})
	}
	return nil
}

// numbers compares the numbers with their limits and with the baseline.
func (g *gauge) numbers(s *report.Summary, bytes int64) {
	n := Numbers{Bytes: bytes, Nodes: int64(s.Nodes), Parameters: s.Parameters, MACs: s.MACs, Activation: s.PeakActivation}
	if s.Uncounted > 0 {
		n.unknown[3] = fmt.Sprintf("%d nodes of unknown size are not counted; give sizes", s.Uncounted)
	}
	if s.Unsized > 0 {
		n.unknown[4] = fmt.Sprintf("%d values of unknown size are not counted; give sizes", s.Unsized)
	}
	g.r.Numbers[g.name] = n
	limits := [5]*int64{(*int64)(g.b.MaxBytes), g.b.MaxNodes, (*int64)(g.b.MaxParameters), (*int64)(g.b.MaxMACs), (*int64)(g.b.MaxActivation)}
	old, had := g.base.numbers(g.name)
	for i, v := range n.list() {
		name := numberNames[i]
		if limit := limits[i]; limit != nil {
			o := Outcome{Rule: "max-" + name, State: OK, Value: float64(v), Limit: float64(*limit), Text: fmt.Sprintf("%s %s of at most %s", grouped(v), name, grouped(*limit))}
			switch {
			case v > *limit:
				o.State, o.Text = Violated, fmt.Sprintf("%s %s, %s more than the budget of %s", grouped(v), name, grouped(v-*limit), grouped(*limit))
			case n.unknown[i] != "":
				o.State, o.Text = Violated, fmt.Sprintf("at least %s %s: %s", grouped(v), name, n.unknown[i])
			}
			g.say(o)
		}
		if p := g.b.MaxGrowth; p != nil && had {
			was := old.list()[i]
			limit := float64(was) * (1 + float64(*p)/100)
			o := Outcome{Rule: "max-growth-" + name, State: OK, Value: float64(v), Limit: limit, Text: fmt.Sprintf("%s %s, %s in the baseline", grouped(v), name, grouped(was))}
			if float64(v) > limit {
				o.State = Violated
				o.Text += fmt.Sprintf(": more than %g %% growth", float64(*p))
			}
			g.say(o)
		}
	}
}

// operators looks for operators that are not allowed, one outcome for each.
func (g *gauge) operators() {
	if g.b.AllowedOps == nil && g.b.DeniedOps == nil {
		return
	}
	seen := map[ir.OpID]bool{}
	bad := 0
	for n := range g.m.Nodes() {
		op := n.Op()
		if seen[op] || g.m.Function(op) != nil || op == ir.Op("Constant") {
			continue
		}
		seen[op] = true
		matches := func(p string) bool { return passes.Glob(p, op.String()) }
		rule := ""
		switch {
		case slices.ContainsFunc(g.b.DeniedOps, matches):
			rule = "denied-ops"
		case g.b.AllowedOps != nil && !slices.ContainsFunc(g.b.AllowedOps, matches):
			rule = "allowed-ops"
		default:
			continue
		}
		bad++
		g.say(Outcome{Rule: rule, State: Violated, Node: targets.NodeName(n), Text: fmt.Sprintf("operator %s is not allowed; the first is node %q", op, targets.NodeName(n))})
	}
	if bad == 0 {
		g.say(Outcome{Rule: "allowed-ops", State: OK, Text: fmt.Sprintf("all %d operators are allowed", len(seen))})
	}
}

func (g *gauge) versions() {
	for _, v := range []struct {
		rule string
		is   int64
		want *Range
	}{{"opset", g.m.Opset(""), g.b.Opset}, {"ir-version", g.m.IRVersion, g.b.IRVersion}} {
		if v.want == nil {
			continue
		}
		o := Outcome{Rule: v.rule, State: OK, Value: float64(v.is), Text: fmt.Sprintf("%d lies in %s", v.is, v.want)}
		if v.is < v.want.Min || v.is > v.want.Max {
			o.State, o.Text = Violated, fmt.Sprintf("%d does not lie in %s", v.is, v.want)
		}
		g.say(o)
	}
}

// targets runs the pipeline of each target on a copy and asks whether it can run what comes out.
func (g *gauge) targets(ctx context.Context) error {
	for _, name := range g.b.Targets {
		t, _ := all.Lookup(name)
		err := legal(ctx, t, g.m.Clone())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var illegal *targets.IllegalError
		switch {
		case err == nil:
			g.say(Outcome{Rule: "target-" + name, State: OK, Text: name + " can run it"})
		case errors.As(err, &illegal):
			for _, n := range illegal.Nodes {
				g.say(Outcome{Rule: "target-" + name, State: Violated, Node: n.Name, Text: fmt.Sprintf("%s cannot run node %q (%s): %s", name, n.Name, n.Op, n.Why)})
			}
		default:
			g.say(Outcome{Rule: "target-" + name, State: Violated, Text: fmt.Sprintf("its pipeline fails: %v", err)})
		}
	}
	return nil
}

func legal(ctx context.Context, t *targets.Target, m *ir.Model) error {
	r, err := passlist.Registry()
	if err != nil {
		return err
	}
	p, err := r.Parse(t.Pipeline)
	if err != nil {
		return err
	}
	if _, err := p.Run(ctx, m, passes.Config{}); err != nil {
		return err
	}
	return t.Check(m)
}

func (g *gauge) drift(ctx context.Context) error {
	d := g.b.Drift
	if d == nil {
		return nil
	}
	a, _, done, err := g.w.Open(filepath.Join(g.c.dir, filepath.FromSlash(d.Against)))
	if err != nil {
		return err
	}
	defer done()
	data := d.Data
	if data != "" {
		data = filepath.Join(g.c.dir, filepath.FromSlash(data))
	}
	rel, output, why, err := g.w.Drift(ctx, a, g.m, data)
	if err != nil {
		return err
	}
	o := Outcome{Rule: "max-drift", State: OK, Value: rel, Limit: d.Bound, Text: fmt.Sprintf("output %q differs from %s by %.3g of at most %g", output, d.Against, rel, d.Bound)}
	switch {
	case why != "":
		o.State, o.Value, o.Text = Violated, 0, fmt.Sprintf("against %s: %s", d.Against, why)
	case !(rel <= d.Bound):
		o.State, o.Text = Violated, fmt.Sprintf("output %q differs from %s by %.3g, more than %g", output, d.Against, rel, d.Bound)
	}
	g.say(o)
	return nil
}

// grouped is a number with blanks between thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return strings.Join(append([]string{s}, parts...), " ")
}
