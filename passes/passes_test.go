package passes_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/stretchr/testify/require"
)

type options struct {
	Max    int64       `opt:"max" doc:"a number"`
	Growth passes.Size `opt:"max-growth" doc:"a size"`
	Mode   string      `opt:"mode" doc:"a choice" enum:"fast|safe"`
	Ratio  float64     `opt:"ratio" doc:"a ratio"`
	On     bool        `opt:"on" doc:"a switch"`
	Axes   []int64     `opt:"axes" doc:"numbers"`
	Names  []string    `opt:"names" doc:"words"`
	Table  passes.File `opt:"table" doc:"a file"`
}

// bypass replaces each Relu by its operand.
func bypass(name string, after ...passes.Order) *passes.Pass {
	info := passes.Info{Name: name, Doc: "removes Relu", Promise: passes.Promise{Lossy: true}, After: after}
	return passes.Define(info, options{Mode: "safe", Growth: 1 << 20}, func(c *passes.Context, m *ir.Model, o options) error {
		for n := range m.Nodes() {
			if n.Is("Relu") {
				c.Rewrite(name, n, nil, func() {
					n.Result(0).ReplaceUses(n.Operand(0))
					n.Graph().Erase(n)
				})
			}
		}
		return nil
	})
}

func registry(t *testing.T, more ...*passes.Pass) *passes.Registry {
	r, err := passes.NewRegistry(append([]*passes.Pass{bypass("bypass"), bypass("late", passes.Order{Pass: "bypass", Reason: "it wants few nodes"})}, more...)...)
	require.NoError(t, err)
	require.NoError(t, r.Alias("both", "runs both", "bypass,fixpoint{max=3}(late)"))
	require.NoError(t, r.Check())
	return r
}

func model(names ...string) *ir.Model {
	m := ir.NewModel(10, 21)
	v := m.Main.AddInput("x", nil)
	for i, name := range names {
		n := m.Main.Append(ir.Op("Relu"), 1, 1)
		n.SetOperand(0, v)
		n.SetName(name)
		n.SetOrigin(ir.SourceOrigin(&ir.Source{Pos: i, Name: name, Op: n.Op()}))
		v = n.Result(0)
	}
	m.Main.AddOutput("y", v, nil)
	return m
}

func TestPipelineTextRoundTrip(t *testing.T) {
	r := registry(t)
	for _, text := range []string{
		"",
		"bypass",
		"bypass,late",
		"bypass{max=3 max-growth=2M mode=fast ratio=0.5 on=true axes=1,-2,3 names=a,b}",
		`bypass{only="a b,Relu" except=*conv?/x table="x y.bin"}`,
		"fixpoint{max=2}(bypass,fixpoint(late))",
		"both{only=Relu},late",
		`bypass{names=[/a:0,"b,c]","d e"]}`,
	} {
		p, err := r.Parse(text)
		require.NoError(t, err, text)
		q, err := r.Parse(p.String())
		require.NoError(t, err, p.String())
		require.Equal(t, p.String(), q.String())
		require.Equal(t, p, q)
	}
	p, err := r.Parse(" bypass { max=1, axes=[1,2] , on } ,\n late ")
	require.NoError(t, err)
	require.Equal(t, "bypass{max=1 axes=[1,2] on=true},late", p.String())
	files, _ := must(r.Parse("both,fixpoint(bypass{table=t.bin})")).Files()
	require.Equal(t, []passes.File{"t.bin"}, files)
}

func TestListsInOptions(t *testing.T) {
	for text, want := range map[string][]string{
		`[a,b]`: {"a", "b"}, `a,b`: {"a", "b"}, `[/a/b:0, c]`: {"/a/b:0", "c"}, `["a,b",c]`: {"a,b", "c"}, `["]"]`: {"]"}, `["x y" , "\""]`: {"x y", `"`}, `[]`: {},
	} {
		var got []string
		see := passes.Define(passes.Info{Name: "see", Doc: "looks at its options"}, options{}, func(_ *passes.Context, _ *ir.Model, o options) error {
			got = o.Names
			return nil
		})
		r := must(passes.NewRegistry(see))
		p, err := r.Parse("see{names=" + text + "}")
		require.NoError(t, err, text)
		_, err = must(r.Parse(p.String())).Run(context.Background(), model(), passes.Config{})
		require.NoError(t, err, text)
		require.Empty(t, cmp.Diff(want, got), text)
		p, err = r.Parse("see{names=" + passes.List(want) + "}")
		require.NoError(t, err, text)
		_, err = p.Run(context.Background(), model(), passes.Config{})
		require.NoError(t, err, text)
		require.Empty(t, cmp.Diff(want, got), passes.List(want))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestParseErrors(t *testing.T) {
	r := registry(t)
	for text, want := range map[string]string{
		"bypas":                   `column 1: there is no pass "bypas", did you mean "bypass"?`,
		"bypass,":                 "column 8: the name of a pass is expected",
		"bypass{mx=1}":            `bypass has no option "mx", did you mean "max"?`,
		"bypass{colour=1}":        `bypass has no option "colour"; it has max, max-growth`,
		"bypass{max=x}":           `option max of bypass: "x" is no whole number`,
		"bypass{mode=saef}":       `"saef" is none of fast, safe, did you mean "safe"?`,
		"bypass{max-growth=lots}": "is no size",
		"bypass{max=1 max=2}":     "given twice",
		"bypass{max=":             "a value is expected",
		`bypass{names="a`:         "a string is not closed",
		"bypass(late)":            "takes no pipeline in parentheses",
		"fixpoint":                "takes a pipeline",
		"fixpoint(bypass":         "')' is expected",
		"late,bypass":             "late has to come after bypass, because it wants few nodes",
		"both{max=1}":             "both stands for several passes",
		"bypass{only=[]}":         "only= is empty",
		"bypass late":             `"l" is not expected here`,
	} {
		_, err := r.Parse(text)
		require.ErrorContains(t, err, want, text)
	}
	deep := ""
	for range 100 {
		deep += "fixpoint("
	}
	_, err := r.Parse(deep)
	require.ErrorContains(t, err, "nested too deeply")
}

func TestRegistryChecks(t *testing.T) {
	_, err := passes.NewRegistry(bypass("a"), bypass("a"))
	require.ErrorContains(t, err, "two passes")
	_, err = passes.NewRegistry(bypass("Bad_Name"))
	require.ErrorContains(t, err, "lower-case")
	r, err := passes.NewRegistry(bypass("a", passes.Order{Pass: "gone", Reason: "x"}))
	require.NoError(t, err)
	require.ErrorContains(t, r.Check(), `"gone", which does not exist`)
	require.Error(t, r.Alias("b", "loops", "b"))
	lies := passes.Define(passes.Info{Name: "lies", Doc: "says exact", Rules: []passes.RuleDoc{{Name: "r", Doc: "is not", Promise: passes.Promise{RelTol: 1}}}},
		struct{}{}, func(*passes.Context, *ir.Model, struct{}) error { return nil })
	_, err = passes.NewRegistry(lies)
	require.ErrorContains(t, err, "promises exact and one of its rules only within 1")
}

func run(t *testing.T, m *ir.Model, text string, cfg passes.Config, more ...*passes.Pass) (*passes.Report, error) {
	p, err := registry(t, more...).Parse(text)
	require.NoError(t, err)
	return p.Run(context.Background(), m, cfg)
}

func TestSelection(t *testing.T) {
	for text, left := range map[string]int{
		"bypass":                                 0,
		"bypass{only=a/1}":                       2,
		"bypass{only=a/*}":                       1,
		"bypass{only=Relu except=b}":             1,
		"both{only=a/1}":                         2,
		"fixpoint{only=a/*}(bypass{except=a/2})": 2,
	} {
		m := model("a/1", "a/2", "b")
		_, err := run(t, m, text, passes.Config{})
		require.NoError(t, err, text)
		require.Equal(t, left, m.Main.NumNodes(), text)
	}
	_, err := run(t, model("a"), "bypass{only=zzz}", passes.Config{})
	require.ErrorContains(t, err, `selector "zzz" matches no node`)
}

func TestSkip(t *testing.T) {
	r := registry(t)
	s, err := r.ParseSkip("bypass,bypass")
	require.NoError(t, err)
	m := model("a")
	rep, err := run(t, m, "bypass,late", passes.Config{Skip: []passes.Skip{s}})
	require.NoError(t, err)
	require.Equal(t, "late", rep.Steps[1].Pass)
	require.Equal(t, []passes.RuleCount{{Rule: "late", Count: 1}}, rep.Steps[1].Rewrites)
	_, err = r.ParseSkip("bypass,typo")
	require.ErrorContains(t, err, "it has bypass")
	_, err = r.ParseSkip("bypas")
	require.ErrorContains(t, err, "did you mean")
}

type veto struct {
	at   int
	seen []string
}

func (v *veto) Before(s *passes.StepRun) bool { v.seen = append(v.seen, "before "+s.Path); return true }
func (v *veto) After(s *passes.StepRun, err error) error {
	v.seen = append(v.seen, fmt.Sprint("after ", s.Changed))
	return nil
}
func (v *veto) Rewrite(n int, rule string, at *ir.Node) bool { return n != v.at }

func TestHooks(t *testing.T) {
	v := &veto{at: 1}
	m := model("a", "b", "c")
	var remarks []passes.Remark
	rep, err := run(t, m, "bypass,fixpoint(late{only=b})", passes.Config{Hooks: []passes.Hook{v}, Remarks: func(r passes.Remark) { remarks = append(remarks, r) }})
	require.NoError(t, err)
	require.Equal(t, 0, m.Main.NumNodes())
	require.Equal(t, []string{"before bypass", "after true", "before fixpoint#1/late", "after true", "before fixpoint#2/late"}, v.seen[:5])
	require.Equal(t, 3, rep.Rewrites)
	require.Equal(t, 1, rep.Vetoed)
	want := passes.Remark{Path: "bypass", Rule: "bypass", Graph: `graph "main"`, Node: "a", Op: ir.Op("Relu"), Applied: true}
	require.Empty(t, cmp.Diff(want, remarks[0]))
}

func TestFixpointStopsWhenNothingMatchesItsSelectors(t *testing.T) {
	_, err := run(t, model("a", "b"), "fixpoint(bypass{only=b})", passes.Config{})
	require.NoError(t, err, "a selector whose nodes an earlier round removed is no error")
}

func TestPanicIsAnInternalError(t *testing.T) {
	boom := passes.Define(passes.Info{Name: "boom", Doc: "panics"}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		c.Rewrite("boom", m.Main.NodeList()[0], nil, func() { panic("ouch") })
		return nil
	})
	_, err := run(t, model("a"), "fixpoint(boom)", passes.Config{}, boom)
	var ie *passes.InternalError
	require.True(t, errors.As(err, &ie))
	require.Equal(t, "internal error in pass fixpoint#1/boom, rule boom, at a: ouch", ie.Error())
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := must(registry(t).Parse("bypass"))
	_, err := p.Run(ctx, model("a"), passes.Config{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestOriginsFollowRewrites(t *testing.T) {
	merge := passes.Define(passes.Info{Name: "merge", Doc: "makes one node of two"}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		ns := m.Main.NodeList()
		c.Rewrite("pair", ns[1], []*ir.Node{ns[0]}, func() {
			n := m.Main.New(ns[1], ir.Op("Abs"), []*ir.Value{ns[0].Operand(0)})
			ns[1].Result(0).ReplaceUses(n.Result(0))
			m.Main.Erase(ns[1])
			m.Main.Erase(ns[0])
		})
		return nil
	})
	m := model("a", "b")
	_, err := run(t, m, "merge", passes.Config{}, merge)
	require.NoError(t, err)
	o := m.Main.NodeList()[0].Origin()
	require.Equal(t, []string{"merge/pair"}, o.Rules())
	require.Len(t, o.Sources(), 2)
}

func TestAnalysesAreCachedByWhatTheyRead(t *testing.T) {
	computed := 0
	count := &passes.Analysis[int]{Name: "count", Reads: []ir.Facet{ir.Structure}, Compute: func(c *passes.Context, m *ir.Model) (int, error) {
		computed++
		return m.Main.NumNodes(), nil
	}}
	p := passes.Define(passes.Info{Name: "ask", Doc: "asks", Promise: passes.Promise{Lossy: true}}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for range 3 {
			require.Equal(t, 2, must(passes.Get(c, count)))
		}
		n := m.Main.NodeList()[0]
		c.Rewrite("ask", n, nil, func() {
			n.Result(0).ReplaceUses(n.Operand(0))
			m.Main.Erase(n)
		})
		require.Equal(t, 2, must(passes.GetFacts(c, count)))
		require.Equal(t, 1, must(passes.Get(c, count)))
		return nil
	})
	_, err := run(t, model("a", "b"), "ask", passes.Config{}, p)
	require.NoError(t, err)
	require.Equal(t, 2, computed)
}

// TestRequiredOption: an option without which a pass has no meaning is asked for before anything runs.
func TestRequiredOption(t *testing.T) {
	type needs struct {
		To int64 `opt:"to" required:"true" doc:"where to"`
	}
	p := passes.Define(passes.Info{Name: "p", Doc: "a pass", Example: "p{to=1}"}, needs{}, func(*passes.Context, *ir.Model, needs) error { return nil })
	r, err := passes.NewRegistry(p)
	require.NoError(t, err)
	require.NoError(t, r.Check())
	require.Empty(t, p.Options()[0].Default)
	_, err = r.Parse("p")
	require.ErrorContains(t, err, "p needs option to: where to")
	_, err = r.Parse("p{only=x}")
	require.Error(t, err)
	_, err = r.Parse("p{to=0}")
	require.NoError(t, err, "given is given")
}

// TestWithChoices: a copy takes other values than the pass, which stays as it was.
func TestWithChoices(t *testing.T) {
	type options struct {
		Kind string `opt:"kind" enum:"any" doc:"a kind"`
	}
	p := passes.Define(passes.Info{Name: "choosy", Doc: "chooses"}, options{"any"}, func(*passes.Context, *ir.Model, options) error { return nil })
	for _, c := range []struct {
		pass *passes.Pass
		ok   bool
	}{{p, false}, {p.WithChoices("kind", "any", "rare"), true}} {
		r, err := passes.NewRegistry(c.pass)
		require.NoError(t, err)
		_, err = r.Parse("choosy{kind=rare}")
		require.Equal(t, c.ok, err == nil, "%v", err)
	}
	require.Panics(t, func() { p.WithChoices("kind", "rare") })
	require.Panics(t, func() { p.WithChoices("mood", "any") })
}
