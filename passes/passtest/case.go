package passtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/internal/check"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
)

// attempt is one run of a case's pipeline.
type attempt struct {
	model    *ir.Model
	rules    map[string]int // applied
	offered  int
	remarks  []string
	rewrites int
	promise  passes.Promise // of the whole pipeline
	border   *ir.Border     // how the interface changed
}

// gate lets the first rewrites of a run through and counts those that are offered.
type gate struct {
	limit   int // -1: all
	offered int
}

func (*gate) Before(*passes.StepRun) bool              { return true }
func (*gate) After(_ *passes.StepRun, err error) error { return err }
func (g *gate) Rewrite(int, string, *ir.Node) bool {
	g.offered++
	return g.limit < 0 || g.offered <= g.limit
}

// validate is a hook that checks the model after each step.
type validate struct{}

func (validate) Before(*passes.StepRun) bool { return true }
func (validate) After(s *passes.StepRun, err error) error {
	if err == nil && s.Changed {
		err = valid(s.Model)
	}
	return err
}

func valid(m *ir.Model) error {
	if err := ir.Verify(m); err != nil {
		return err
	}
	return ops.Verify(m)
}

// run holds everything of the package documentation against the case.
func (k *testCase) run(t *testing.T, reg *passes.Registry, p *passes.Pass) {
	text := k.pipeline
	if text == "" {
		text = p.Name
	}
	pipe, err := reg.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	in := k.parse(t, k.in)
	if err := valid(in); err != nil {
		t.Fatalf("the input is not valid: %v", err)
	}
	before := k.roundTrip(t, in)
	if k.fails != "" {
		k.refused(t, pipe, in)
		return
	}
	a := k.execute(t, pipe, in.Clone(), -1)
	k.outcome(t, before, k.roundTrip(t, a.model), a)
	k.numbers(t, p, in, a, "", false)
	k.elsewhere(t, p, in, a)
	k.again(t, pipe, p, a)
	k.shuffled(t, pipe, p, in, a)
	k.partial(t, pipe, p, in, a)
	k.tapped(t, pipe, p, in)
}

// refused runs a pipeline that has to fail.
func (k *testCase) refused(t *testing.T, pipe *passes.Pipeline, in *ir.Model) {
	t.Helper()
	_, err := k.attempted(pipe, in.Clone(), -1)
	switch {
	case err == nil:
		t.Errorf("the pipeline succeeds, and should fail with: %s", k.fails)
	case !strings.HasSuffix(err.Error(), ": "+k.fails):
		t.Errorf("the pipeline fails with %q, and should with %q", err, k.fails)
	}
}

// parse reads a model with or without a header.
func (k *testCase) parse(t *testing.T, src string) *ir.Model {
	t.Helper()
	var m *ir.Model
	var err error
	if headed(src) {
		m, err = text.Parse([]byte(src))
	} else {
		m, err = text.ParseGraph([]byte(src), ir.Opset{Version: k.opset})
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, src)
	}
	return m
}

// headed reports whether the first line that is no comment opens a header.
func headed(src string) bool {
	for line := range strings.Lines(src) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return strings.HasPrefix(line, "<")
		}
	}
	return false
}

// print is the text of m, without its header if the case has none and the operator sets are those of the input.
func (k *testCase) print(t *testing.T, m *ir.Model) string {
	t.Helper()
	var b bytes.Buffer
	if err := text.Print(&b, m, text.Options{}); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	if !headed(k.in) && slices.Equal(m.Opsets(), []ir.Opset{{Version: k.opset}}) {
		if _, body, ok := strings.Cut(s, "\n>\n"); ok {
			return body
		}
	}
	return s
}

// roundTrip prints m and checks that the text reads back as a model that prints the same.
func (k *testCase) roundTrip(t *testing.T, m *ir.Model) string {
	t.Helper()
	s := k.print(t, m)
	if again := k.print(t, k.parse(t, s)); again != s {
		t.Errorf("the text does not read back as the same model:\n%s\nbecomes\n%s", s, again)
	}
	return s
}

// dataOf is the data that the passes are given for a model.
func (k *testCase) dataOf(m *ir.Model) map[passes.Data]any {
	if k.data == nil {
		return nil
	}
	return k.data(m)
}

// execute runs the pipeline on m with the first limit rewrites let through, -1 for all.
func (k *testCase) execute(t *testing.T, pipe *passes.Pipeline, m *ir.Model, limit int) *attempt {
	t.Helper()
	a, err := k.attempted(pipe, m, limit)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// attempted is execute for a pipeline that may fail.
func (k *testCase) attempted(pipe *passes.Pipeline, m *ir.Model, limit int) (*attempt, error) {
	g := &gate{limit: limit}
	a := &attempt{model: m, rules: map[string]int{}, promise: pipe.Promise()}
	report, err := pipe.Run(context.Background(), m, passes.Config{
		Hooks: []passes.Hook{g, validate{}},
		Data:  k.dataOf(m),
		Remarks: func(r passes.Remark) {
			if !r.Applied {
				a.remarks = append(a.remarks, r.Rule+": "+r.Why)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	for _, s := range report.Steps {
		for _, r := range s.Rewrites {
			a.rules[r.Rule] += r.Count
		}
	}
	a.offered, a.rewrites, a.border = g.offered, report.Rewrites, report.Border
	return a, nil
}

// outcome compares rules, output and remarks with what is expected.
func (k *testCase) outcome(t *testing.T, before, after string, a *attempt) {
	t.Helper()
	fired := slices.Sorted(maps.Keys(a.rules))
	want := slices.Sorted(slices.Values(k.fires))
	if k.pipeline == "" && !slices.Equal(fired, want) {
		t.Errorf("rules %v fired, want %v", fired, want)
	}
	for _, r := range want {
		if a.rules[r] == 0 {
			t.Errorf("rule %s did not fire", r)
		}
	}
	for _, r := range k.misses {
		if a.rules[r] > 0 && !slices.Contains(k.fires, r) {
			t.Errorf("rule %s fired although this is a near miss", r)
		}
	}
	remarks := ""
	if len(a.remarks) > 0 {
		remarks = strings.Join(a.remarks, "\n") + "\n"
	}
	if *update {
		k.out, k.hasOut = after, !k.hasCheck && after != before
		k.remarks, k.hasRemarks = remarks, remarks != "" && (k.hasRemarks || len(k.misses) > 0)
		return
	}
	switch {
	case k.hasCheck:
		if err := check.Lines(k.check, after); err != nil {
			t.Error(err)
		}
	case k.hasOut:
		same(t, "output", k.out, after)
	default:
		same(t, "output of a case without NAME/out", before, after)
	}
	if k.hasRemarks {
		same(t, "remarks", k.remarks, remarks)
	}
}

// same compares two texts but for blank lines at the end.
func same(t *testing.T, what, want, got string) {
	t.Helper()
	want, got = strings.TrimRight(want, "\n"), strings.TrimRight(got, "\n")
	if want != got {
		t.Errorf("%s differs; want\n%s\ngot\n%s", what, want, got)
	}
}

// again runs the pipeline on its own result.
func (k *testCase) again(t *testing.T, pipe *passes.Pipeline, p *passes.Pass, a *attempt) {
	t.Helper()
	if pipe.Promise().Lossy || a.border != nil { // the names and layouts that options state are those before the first run
		return
	}
	before := k.print(t, a.model)
	b := k.execute(t, pipe, a.model.Clone(), -1)
	if b.rewrites > 0 {
		t.Errorf("a second run applies %v", b.rules)
	}
	same(t, "the output of a second run", before, k.print(t, b.model))
}

// shuffled runs the pipeline with independent nodes in another order.
func (k *testCase) shuffled(t *testing.T, pipe *passes.Pipeline, p *passes.Pass, in *ir.Model, a *attempt) {
	t.Helper()
	for seed := uint64(1); seed <= 3; seed++ {
		m := in.Clone()
		m.Shuffle(seed)
		b := k.execute(t, pipe, m, -1)
		m.Shuffle(0)
		if !maps.Equal(operators(a.model), operators(m)) {
			t.Errorf("shuffled with seed %d the pass leaves %v instead of %v", seed, operators(m), operators(a.model))
		}
		k.numbers(t, p, in, b, fmt.Sprintf("shuffled with seed %d: ", seed), false)
	}
}

// operators counts the nodes of each operator.
func operators(m *ir.Model) map[ir.OpID]int {
	r := map[ir.OpID]int{}
	for n := range m.Nodes() {
		r[n.Op()]++
	}
	return r
}

// partial applies the first rewrites only, none to begin with.
func (k *testCase) partial(t *testing.T, pipe *passes.Pipeline, p *passes.Pass, in *ir.Model, a *attempt) {
	t.Helper()
	m := in.Clone()
	epochs := func() (e [4]uint64) {
		for i, f := range []ir.Facet{ir.Structure, ir.Types, ir.Consts, ir.Metadata} {
			e[i] = m.Epoch(f)
		}
		return e
	}
	before := epochs()
	k.execute(t, pipe, m, 0)
	if epochs() != before {
		t.Error("the model was edited outside Context.Rewrite: it changed although every rewrite was vetoed")
	}
	for n := 1; n < min(a.offered, 20); n++ {
		k.numbers(t, p, in, k.execute(t, pipe, in.Clone(), n), fmt.Sprintf("with %d rewrites: ", n), false)
	}
}
