package rewrite_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// signs are rules that move and remove negations, some of which share values, replace interior ones, or make the graph larger.
func signs() *passes.Pass {
	named := func(name string, r *rewrite.Rule) *rewrite.Rule {
		r.Name = name
		return r
	}
	return rewrite.Define(passes.Info{Name: "signs", Doc: "moves negations"},
		named("neg-neg", rule("y: shared = Neg (x)\n z = Neg (y)", func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			return []*ir.Value{m.Value("x")}
		})),
		named("abs-neg", rule("y = Neg (x)\n z = Abs (y)", to("Abs", "x"))),
		named("neg-times-neg", rule("p = Neg (a)\n q = Neg (b)\n z = Mul (p, q)", to("Mul", "a", "b"))),
		named("add-neg", rule("p: shared = Neg (a)\n z = Add (b, p)", to("Sub", "b", "a"))),
		named("neg-times", rule("p = Neg (a)\n z = Mul (p, b)", func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			return []*ir.Value{b.Op("Neg", []*ir.Value{b.Op("Mul", []*ir.Value{m.Value("a"), m.Value("b")})})}
		})),
		named("twice", rule("p: result = Max (a, b)\n z = Add (p, c)", func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
			p := b.Op("Max", []*ir.Value{m.Value("b"), m.Value("a")})
			s := b.Op("Sub", []*ir.Value{p, b.Op("Neg", []*ir.Value{m.Value("c")})})
			return []*ir.Value{s, p}
		})),
	)
}

// TestRandomGraphs applies rules to graphs in which values are shared, returned and captured at random.
func TestRandomGraphs(t *testing.T) {
	pass := signs()
	rapid.Check(t, func(r *rapid.T) {
		m := ir.NewModel(8, 17)
		floats := ir.TensorType(ir.Float32, ir.StaticShape(3))
		values := []*ir.Value{m.Main.AddInput("x", floats), m.Main.AddInput("w", floats)}
		cond := m.Main.AddInput("c", ir.TensorType(ir.Bool, ir.Shape{}))
		pick := func(from []*ir.Value) *ir.Value { return from[rapid.IntRange(0, len(from)-1).Draw(r, "operand")] }
		grow := func(g *ir.Graph, values []*ir.Value) []*ir.Value {
			for range rapid.IntRange(1, 12).Draw(r, "nodes") {
				op := rapid.SampledFrom([]string{"Neg", "Neg", "Abs", "Add", "Mul", "Max"}).Draw(r, "op")
				in := []*ir.Value{pick(values), pick(values)}
				if op == "Neg" || op == "Abs" {
					in = in[:1]
				}
				values = append(values, g.New(nil, ir.Op(op), in).Result(0))
			}
			return values
		}
		values = grow(m.Main, values)
		var branches []*ir.Attr
		for _, name := range []string{"then_branch", "else_branch"} {
			g := m.Main.NewSubgraph(name)
			inner := grow(g, values)
			g.AddOutput("o", inner[len(inner)-1], floats)
			branches = append(branches, ir.GraphAttr(name, g))
		}
		values = append(values, m.Main.New(nil, ir.Op("If"), []*ir.Value{cond}, branches...).Result(0))
		values = grow(m.Main, values)
		for i := range 3 {
			m.Main.AddOutput(string(rune('p'+i)), pick(values[3:]), floats)
		}
		before := m.Clone()
		m.Shuffle(rapid.Uint64().Draw(r, "order"))
		_, err := apply(t, m, pass)
		require.NoError(r, err)
		require.NoError(r, ir.Verify(m))
		v, err := compare.Models(context.Background(), native.New(), before, m, nil, compare.Options{})
		require.NoError(r, err)
		require.Equal(r, compare.Verified, v.State, v.String())
	})
}
