package rewrite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// run applies rules to a model in text and returns the body of the main graph, one node a line, and the remarks.
func run(t *testing.T, src string, rules ...*rewrite.Rule) (body string, remarks []string, err error) {
	t.Helper()
	m := parse(t, src)
	pass := rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, rules...)
	remarks, err = apply(t, m, pass)
	require.NoError(t, ir.Verify(m))
	return nodes(t, m), remarks, err
}

func parse(t *testing.T, src string) *ir.Model {
	t.Helper()
	if !strings.HasPrefix(strings.TrimSpace(src), "<") {
		src = `<ir_version: 8, opset_import: ["" : 17]> ` + src
	}
	m, err := text.Parse([]byte(src))
	require.NoError(t, err)
	return m
}

func apply(t testing.TB, m *ir.Model, pass *passes.Pass) (remarks []string, err error) {
	t.Helper()
	reg, err := passes.NewRegistry(pass)
	require.NoError(t, err)
	p, err := reg.Parse(pass.Name)
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{Remarks: func(r passes.Remark) {
		if !r.Applied {
			remarks = append(remarks, fmt.Sprintf("%s: %s", r.Rule, r.Why))
		}
	}})
	return remarks, err
}

// nodes prints m and keeps what stands between the first braces of a graph's body.
func nodes(t *testing.T, m *ir.Model) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, text.Print(&b, m, text.Options{}))
	var r []string
	for _, l := range strings.Split(b.String(), "\n") {
		if strings.Contains(l, ") {") {
			r = nil
		} else if l = strings.TrimSpace(l); strings.Contains(l, " = ") && !strings.HasPrefix(l, "<") {
			r = append(r, l)
		}
	}
	return strings.Join(r, "\n")
}

func lines(s string) string {
	var r []string
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		r = append(r, strings.TrimSpace(l))
	}
	return strings.Join(r, "\n")
}

func rule(match string, replace func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value) *rewrite.Rule {
	return &rewrite.Rule{Name: "r", Doc: "a rule", Match: rewrite.MustParse(match), Replace: replace}
}

// to replaces a match by one operator over captures.
func to(op string, names ...string) func(*rewrite.Builder, *rewrite.Match) []*ir.Value {
	return func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := make([]*ir.Value, len(names))
		for i, s := range names {
			in[i] = m.Value(s)
		}
		return []*ir.Value{b.Op(op, in)}
	}
}

var doubleNeg = rule("y = Neg (x)\n z = Neg (y)", func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	return []*ir.Value{m.Value("x")}
})

func TestRule(t *testing.T) {
	body, _, err := run(t, `g (float[N] a) => (float[N] y) { b = Neg (a) c = Neg (b) d = Neg (c) y = Neg (d) }`, doubleNeg)
	require.NoError(t, err)
	assert.Equal(t, "y = Identity (a)", body, "the writer names an output that is an input")
}

func TestMatching(t *testing.T) {
	const relu = `g (float[N] x, float[N] w) => (float[N] y) { `
	for name, c := range map[string]struct{ match, graph, want string }{
		"commutative":           {"y = Add (Z, c: const)", `y = Add (one, x)`, "y = Max (x, one)"},
		"commutative interior":  {"p = Neg (Z)\n y = Add (p, c: const)", `n = Neg (x) y = Add (one, n)`, "y = Max (x, one)"},
		"not commutative":       {"y = Sub (Z, c: const)", `y = Sub (one, x)`, "y = Sub (one, x)"},
		"alternatives":          {"y = {Sub, Mul} (Z, c)", `y = Mul (x, one)`, "y = Max (x, one)"},
		"optional absent":       {"y = Clip (Z, lo?, c)", `y = Clip (x, , one)`, "y = Max (x, one)"},
		"optional present":      {"y = Clip (Z, lo?, c)", `y = Clip (x, one, one)`, "y = Max (x, one)"},
		"optional trailing":     {"y = Clip (Z, c, hi?)", `y = Clip (x, one)`, "y = Max (x, one)"},
		"omitted":               {"y = Clip (Z, , c)", `y = Clip (x, one, one)`, "y = Clip (x, one, one)"},
		"more operands":         {"y = Clip (Z, c)", `y = Clip (x, one, one)`, "y = Clip (x, one, one)"},
		"variadic":              {"y = Sum (Z, c, r...)", `y = Sum (x, one, w, w)`, "y = Max (x, one)"},
		"same value":            {"c = Sigmoid (Z)\n y = Mul (Z, c)", `s = Sigmoid (x) y = Mul (s, x)`, "s = Sigmoid (x)\ny = Max (x, s)"},
		"another value":         {"c = Sigmoid (Z)\n y = Mul (Z, c)", `s = Sigmoid (x) y = Mul (s, w)`, "s = Sigmoid (x)\ny = Mul (s, w)"},
		"attribute":             {"c = Neg (Z)\n y = Softmax <axis = 1> (c)", `n = Neg (x) y = Softmax <axis: int = 1> (n)`, "n = Neg (x)\ny = Max (x, n)"},
		"attribute by default":  {"c = Neg (Z)\n y = Softmax <axis = -1> (c)", `n = Neg (x) y = Softmax (n)`, "n = Neg (x)\ny = Max (x, n)"},
		"other attribute":       {"c = Neg (Z)\n y = Softmax <axis = 1> (c)", `n = Neg (x) y = Softmax <axis: int = 0> (n)`, "n = Neg (x)\ny = Softmax <axis: int = 0> (n)"},
		"silent attribute":      {"c = Neg (Z)\n y = Softmax (c)", `n = Neg (x) y = Softmax <axis: int = 0> (n)`, "n = Neg (x)\ny = Softmax <axis: int = 0> (n)"},
		"silent default":        {"c = Neg (Z)\n y = Softmax (c)", `n = Neg (x) y = Softmax <axis: int = -1> (n)`, "n = Neg (x)\ny = Max (x, n)"},
		"any attributes":        {"c = Neg (Z)\n y = Softmax <...> (c)", `n = Neg (x) y = Softmax <axis: int = 0> (n)`, "n = Neg (x)\ny = Max (x, n)"},
		"captured attributes":   {"c = Softmax <axis = @a> (Z)\n y = Softmax <axis = @a> (c)", `n = Softmax <axis: int = -1> (x) y = Softmax (n)`, "n = Softmax <axis: int = -1> (x)\ny = Max (x, n)"},
		"unequal attributes":    {"c = Softmax <axis = @a> (Z)\n y = Softmax <axis = @a> (c)", `n = Softmax <axis: int = 0> (x) y = Softmax (n)`, "n = Softmax <axis: int = 0> (x)\ny = Softmax (n)"},
		"literal":               {"c = Neg (Z)\n y = Pow (c, 2)", `n = Neg (x) y = Pow (n, two)`, "n = Neg (x)\ny = Max (x, n)"},
		"literal swapped":       {"c = Neg (Z)\n y = Mul (c, 0.1)", `n = Neg (x) y = Mul (tenth, n)`, "n = Neg (x)\ny = Max (x, n)"},
		"literal first":         {"c = Neg (Z)\n y = Mul (0.1, c)", `n = Neg (x) y = Mul (n, tenth)`, "n = Neg (x)\ny = Max (x, n)"},
		"other literal":         {"c = Neg (Z)\n y = Pow (c, 2)", `n = Neg (x) y = Pow (n, one)`, "n = Neg (x)\ny = Pow (n, one)"},
		"zero is not minus 0":   {"c = Neg (Z)\n y = Add (c, 0)", `n = Neg (x) y = Add (n, minus)`, "n = Neg (x)\ny = Add (n, minus)"},
		"minus 0":               {"c = Neg (Z)\n y = Add (c, -0.0)", `n = Neg (x) y = Add (n, minus)`, "n = Neg (x)\ny = Max (x, n)"},
		"constant of many":      {"y = Add (Z, c: scalar)", `y = Add (x, vec)`, "y = Add (x, vec)"},
		"no constant":           {"y = Add (Z, c: const)", `y = Add (x, w)`, "y = Add (x, w)"},
		"second use":            {"c = Neg (Z)\n y = Abs (c)", `n = Neg (x) m = Abs (n) y = Add (m, n)`, "n = Neg (x)\nm = Abs (n)\ny = Add (m, n)"},
		"shared":                {"c: shared = Neg (Z)\n y = Abs (c)", `n = Neg (x) m = Abs (n) y = Add (m, n)`, "n = Neg (x)\nm = Max (x, n)\ny = Add (m, n)"},
		"unnamed result in use": {"y = Dropout (Z, c)", `a, k = Dropout (x, one) b = Cast <to: int = 1> (k) y = Add (a, b)`, "a, k = Dropout (x, one)\nb = Cast <to: int = 1> (k)\ny = Add (a, b)"},
		"unused result":         {"y = Dropout (Z, c)", `y, k = Dropout (x, one)`, "y = Max (x, one)"},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.Replace(relu, "{", `<float one = {1}, float two = {2}, float tenth = {0.1}, float minus = {-0.0}, float[1] vec1 = {1}, float[2] vec = {1, 2}> {`, 1)
			body, _, err := run(t, src+c.graph+"}", rule(strings.ReplaceAll(c.match, "Z", "x"), to("Max", "x", "c")))
			require.NoError(t, err)
			assert.Equal(t, c.want, body)
		})
	}
}

func TestInteriorValueThatIsAnOutput(t *testing.T) {
	body, remarks, err := run(t, `g (float[N] x) => (float[N] n, float[N] y) { n = Neg (x) y = Neg (n) }`, doubleNeg)
	require.NoError(t, err)
	assert.Equal(t, "n = Neg (x)\ny = Neg (n)", body)
	assert.Equal(t, []string{`r: y is also used by outputs of graph "g"`}, remarks)
}

func TestInteriorValueThatASubgraphCaptures(t *testing.T) {
	m := parse(t, `g (float[N] x, bool c) => (float[N] y) {
		n = Neg (x)
		z = Neg (n)
		y = If (c) <then_branch = t () => (a) { a = Abs (n) }, else_branch = e () => (b) { b = Abs (z) }>
	}`)
	remarks, err := apply(t, m, rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, doubleNeg))
	require.NoError(t, err)
	assert.Equal(t, 3, m.Main.NumNodes())
	assert.Equal(t, []string{`r: y is also used by node of "a" (Abs)`}, remarks)
}

func TestRulesReachSubgraphsAndFunctions(t *testing.T) {
	m := parse(t, `<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
	g (float[N] x, bool c) => (float[N] y) {
		z = local.f (x)
		y = If (c) <then_branch = t () => (a2) { a = Neg (z) a1 = Neg (a) a2 = Abs (a1) }, else_branch = e () => (b) { b = Abs (z) }>
	}
	<domain: "local", opset_import: ["" : 17]> f (x) => (y) { a = Neg (x) b = Neg (a) y = Relu (b) }`)
	_, err := apply(t, m, rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, doubleNeg))
	require.NoError(t, err)
	require.NoError(t, ir.Verify(m))
	for n := range m.Nodes() {
		assert.NotEqual(t, "Neg", n.Op().Type)
	}
}

func TestFunctionOfTheSameNameAndReferences(t *testing.T) {
	softmax := rule("y = Softmax <...> (x)", to("Abs", "x"))
	body, _, err := run(t, `<ir_version: 8, opset_import: ["" : 17]>
	g (float[N] x) => (float[N] y) { y = Softmax (x) }
	<opset_import: ["" : 17]> Softmax (x) => (y) { y = Relu (x) }`, softmax)
	require.NoError(t, err)
	assert.Contains(t, body, "Relu")
	body, _, err = run(t, `<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
	g (float[N] x) => (float[N] y) { y = local.f <k: int = 0> (x) }
	<domain: "local", opset_import: ["" : 17]> f <k> (x) => (y) { y = Softmax <axis: int = @k> (x) }`, softmax)
	require.NoError(t, err)
	assert.Contains(t, body, "Softmax")
}

func TestReplacedInteriorValue(t *testing.T) {
	two := func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		n := b.Node("Split", []*ir.Value{m.Value("x")}, 2)
		b.Import("", 17)
		return []*ir.Value{n.Result(0), n.Result(1)}
	}
	r := rule("a: result = Neg (x)\n y = Mul (a, w)", two)
	body, _, err := run(t, `g (float[N] x, float[N] w) => (y, z) { a = Neg (x) z = Exp (a) y = Mul (a, w) }`, r)
	require.NoError(t, err)
	assert.Equal(t, "y, a = Split (x)\nz = Exp (a)", body)

	body, remarks, err := run(t, `g (float[N] x) => (y) { a = Neg (x) w = Exp (a) y = Mul (a, w) }`, r)
	require.NoError(t, err)
	assert.Contains(t, body, "Mul", "w depends on a, which Split would have to follow")
	assert.Len(t, remarks, 1)
}

func TestReplacementsThatDoNotDo(t *testing.T) {
	const graph = `g (float[N] x) => (float[N] y, z) { a = Neg (x) y = Neg (a) z = Exp (y) }`
	type build = func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value
	check := func(replace build) (remarks []string, err error) {
		body, remarks, err := run(t, graph, rule("y = Neg (x)\n z = Neg (y)", replace))
		assert.Equal(t, lines("a = Neg (x)\ny = Neg (a)\nz = Exp (y)"), body, "everything was taken back")
		return remarks, err
	}
	for want, replace := range map[string]build{
		"r: opset 17 has no operator Gelu":                                      to("Gelu", "x"),
		`r: domain "com.microsoft" of operator com.microsoft.X is not imported`: to("com.microsoft.X", "x"),
		`r: result "y" of type float[N] would become one of type int64[1]`:      func(b *rewrite.Builder, _ *rewrite.Match) []*ir.Value { return []*ir.Value{b.Ints("", 1)} },
	} {
		remarks, err := check(replace)
		require.NoError(t, err)
		assert.Equal(t, []string{want}, remarks)
	}
	for want, replace := range map[string]build{
		"the replacement has 0 values instead of 1":       func(*rewrite.Builder, *rewrite.Match) []*ir.Value { return nil },
		"value 0 of the replacement is missing":           func(*rewrite.Builder, *rewrite.Match) []*ir.Value { return []*ir.Value{nil} },
		"value 0 of the replacement is what it is to rep": func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value { return []*ir.Value{m.Value("z")} },
		`uses value "y", which is not part of the match or is to be replaced`: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			return []*ir.Value{b.Op("Abs", []*ir.Value{m.Value("z")})}
		},
		`uses value "z", which is not part of the match`: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			for u := range m.Value("z").Uses() {
				if !u.Node.IsReturn() {
					return []*ir.Value{b.Op("Abs", u.Node.Results())}
				}
			}
			return nil
		},
	} {
		_, err := check(replace)
		var internal *passes.InternalError
		require.ErrorAs(t, err, &internal)
		assert.ErrorContains(t, err, want)
	}
	_, err := check(func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		b.Op("Abs", []*ir.Value{m.Value("x")})
		b.Fail(errors.New("no bytes"))
		return nil
	})
	assert.ErrorContains(t, err, `rule r at node of "y" (Neg): no bytes`)
}

func TestRulesThatUndoEachOther(t *testing.T) {
	a := rule("y = Neg (x)", to("Abs", "x"))
	b := rule("y = Abs (x)", to("Neg", "x"))
	a.Name, b.Name = "there", "back"
	_, _, err := run(t, `g (float[N] x) => (float[N] y) { y = Neg (x) }`, a, b)
	require.Error(t, err)
	assert.Regexp(t, `rules undo each other without end: there \(\d+ times\), back \(\d+ times\)`, err.Error())
}

func TestRemarks(t *testing.T) {
	r := rule("y = Neg (x)\n z = Neg (y)", to("Abs", "x"))
	r.Where = func(m *rewrite.Match) error { return errors.New("it is Monday") }
	_, remarks, err := run(t, `g (float[N] x) => (float[N] y) { a = Neg (x) y = Neg (a) }`, r)
	require.NoError(t, err)
	assert.Equal(t, []string{"r: it is Monday"}, remarks)
}

func TestUnusedConstantsGo(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] y) <float[1] c = {1}, float[1] kept = {2}> { k = Constant <value = float[1] {1}> () a = Add (x, c) y = Sub (a, k) }`)
	r := rule("a = Add (x, c)\n y = Sub (a, k)", to("Abs", "x"))
	_, err := apply(t, m, rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, r))
	require.NoError(t, err)
	assert.Equal(t, "y = Abs (x)", nodes(t, m))
	require.Len(t, m.Main.Consts(), 1, "a constant that was unused before is not the driver's business")
	assert.Equal(t, "kept", m.Main.Consts()[0].Name())
}

func TestOriginOfTheReplacement(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] y) { [one] a = Neg (x) [two] y = Neg (a) }`)
	r := rule("y = Neg (x)\n z = Neg (y)", to("Abs", "x"))
	_, err := apply(t, m, rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, r))
	require.NoError(t, err)
	n := m.Main.NodeList()[0]
	assert.Equal(t, []string{"test/r"}, n.Origin().Rules())
}

func TestParseErrors(t *testing.T) {
	for src, want := range map[string]string{
		"":                          "there is no node",
		"y = Neg x":                 "expected '('",
		"y = Neg (x) z = Abs (x)":   "node 1 does not lead to the last one",
		"y = Neg (y)":               "used by the node that defines it",
		"y = Neg (z) z = Neg (y)":   "defined after it was used",
		"y = Concat (x..., z)":      "is not the last operand",
		"y = Neg (x: big)":          "no mark",
		"y: const = Neg (x)":        "no mark",
		"y = Pow (x, 1e999)":        "is no number",
		"y = Pad <pads = [1, 2.5]>": "different kinds",
		"= Neg (x)":                 "no named result",
	} {
		_, err := rewrite.Parse(src)
		assert.ErrorContains(t, err, want, src)
	}
}

func TestLinear(t *testing.T) {
	m := ir.NewModel(8, 17)
	g := m.Main
	x := g.AddInput("x", nil)
	one := g.NamedConst("one", ir.ScalarOf(float32(1)))
	v := x
	const n = 20000
	for range n { // every Add uses the same constant, and every result of Neg has one use
		v = g.New(nil, ir.Op("Add"), []*ir.Value{v, one}).Result(0)
		v = g.New(nil, ir.Op("Neg"), []*ir.Value{v}).Result(0)
		v = g.New(nil, ir.Op("Neg"), []*ir.Value{v}).Result(0)
	}
	g.AddOutput("y", v, nil)
	visits := 0
	r := rule("a = Add (x, c: const)\n b = Neg (a)", to("Sub", "c", "x"))
	r.Where = func(*rewrite.Match) error { visits++; return nil }
	_, err := apply(t, m, rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, doubleNeg2, r))
	require.NoError(t, err)
	assert.Equal(t, 2*n, m.Main.NumNodes())
	assert.Equal(t, n, visits)
}

// doubleNeg2 is doubleNeg under another name.
var doubleNeg2 = &rewrite.Rule{Name: "neg", Doc: "a rule", Match: doubleNeg.Match, Replace: doubleNeg.Replace}

func TestVisitsAgain(t *testing.T) {
	drop := rule("y = Sub (a, b)", func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value { return []*ir.Value{m.Value("b")} })
	drop.Name = "drop"
	body, _, err := run(t, `g (float[N] x) => (float[N] y, float[N] z) { n = Neg (x) z = Neg (n) y = Sub (n, x) }`, doubleNeg, drop)
	require.NoError(t, err)
	assert.NotContains(t, body, "Neg", "the second use of n went after z had been visited")

	relu := rule("y = Relu (x)", to("Neg", "x"))
	relu.Name = "relu"
	three := rule("a = Neg (x)\n b = Exp (a)\n c = Log (b)", to("Abs", "x"))
	three.Name = "three"
	body, _, err = run(t, `g (float[N] x) => (float[N] c) { a = Relu (x) b = Exp (a) c = Log (b) }`, three, relu)
	require.NoError(t, err)
	assert.Equal(t, "c = Abs (x)", body, "a became a Neg after c had been visited")
}

func TestEveryBindingIsTried(t *testing.T) {
	r := rule("y = Mul (p, q)", to("Sub", "p", "q"))
	r.Where = func(m *rewrite.Match) error {
		if m.Value("p").Name() != "second" {
			return errors.New("p is not the second")
		}
		return nil
	}
	body, _, err := run(t, `g (float[N] first, float[N] second) => (float[N] y) { y = Mul (first, second) }`, r)
	require.NoError(t, err)
	assert.Equal(t, "y = Sub (second, first)", body)
}

// veto is a hook that lets nothing through and counts.
type veto struct{ offers int }

func (*veto) Before(*passes.StepRun) bool              { return true }
func (*veto) After(_ *passes.StepRun, err error) error { return err }
func (v *veto) Rewrite(int, string, *ir.Node) bool     { v.offers++; return false }

func TestVetoedOnce(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] y) { a = Neg (x) b = Neg (a) y = Relu (b) }`)
	reg, err := passes.NewRegistry(rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, doubleNeg))
	require.NoError(t, err)
	p, err := reg.Parse("test")
	require.NoError(t, err)
	v := &veto{}
	_, err = p.Run(context.Background(), m, passes.Config{Hooks: []passes.Hook{v}})
	require.NoError(t, err)
	assert.Equal(t, 1, v.offers)
	assert.Equal(t, 3, m.Main.NumNodes())
}

func TestUnreadableConstantEndsThePass(t *testing.T) {
	m := parse(t, `g (float[N] x) => (float[N] y) { a = Neg (x) y = Neg (a) }`)
	g := m.Main
	bad := g.Const(ir.NewLazyTensor(ir.Float32, []int64{1}, broken{}))
	g.Outputs()[0].SetValue(g.New(nil, ir.Op("Mul"), []*ir.Value{g.Outputs()[0].Value(), bad}).Result(0))
	_, err := apply(t, m, rewrite.Define(passes.Info{Name: "test", Doc: "a test"}, rule("y = Mul (x, 2)", to("Neg", "x"))))
	assert.ErrorContains(t, err, "rule r at node Mul: the disk is gone")
}

type broken struct{}

func (broken) Bytes() ([]byte, error)     { return nil, errors.New("the disk is gone") }
func (broken) Strings() ([]string, error) { return nil, errors.New("the disk is gone") }
