package reduce_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/reduce"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
)

const large = `<ir_version: 8, opset_import: ["" : 17, "local" : 1], producer_name: "p">
g (float[N,8] x, bool c, float[8] d) => (float[?,?] y, float[?,?] z, bool e)
<float[8] d = {1,2,3,4,5,6,7,8}, float[8,6] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48}, float[6] b = {1,2,3,4,5,6}>
{
  a = Add (x, d)
  f = local.F (a)
  i = If (c) <
     then_branch = t () => (float[?,?] p) { k = Gemm <alpha = 2.0, transB = 0> (f, w, b)  p = Relu (k) },
     else_branch = s () => (float[?,?] q) { k = MatMul (a, w)  q = Tanh (k) }
  >
  y = Neg (i)
  z = Concat <axis = 1> (a, f, x)
  e = Not (c)
}
<domain: "local", opset_import: ["" : 17]>
F (v) => (r) { u = Exp (v)  r = Sigmoid (u) }`

func parse(t *testing.T, s string) *ir.Model {
	m, err := text.Parse([]byte(s))
	require.NoError(t, err)
	return m
}

func print(t *testing.T, m *ir.Model) string {
	var b bytes.Buffer
	require.NoError(t, text.Print(&b, m, text.Options{}))
	return b.String()
}

// has is the question whether a model holds an operator.
func has(typ string) reduce.Test {
	return func(_ context.Context, c reduce.Case) (bool, error) {
		for n := range c.Model.Nodes() {
			if n.Op().Type == typ {
				return true, nil
			}
		}
		return false, nil
	}
}

// TestOneOperator: whichever operator the failure needs, wherever it stands, little else is left, and every model that is asked about
// is valid.
func TestOneOperator(t *testing.T) {
	for _, typ := range []string{"Add", "Gemm", "MatMul", "Tanh", "Sigmoid", "Concat", "Not", "Exp", "Relu"} {
		m := parse(t, large)
		before := print(t, m)
		test := func(ctx context.Context, c reduce.Case) (bool, error) {
			require.NoError(t, ops.Verify(c.Model), typ)
			return has(typ)(ctx, c)
		}
		c, stats, err := reduce.Run(t.Context(), reduce.Case{Model: m}, test, reduce.Options{})
		require.NoError(t, err)
		nodes := 0
		for range c.Model.Nodes() {
			nodes++
		}
		require.Equal(t, 1, nodes, "%s\n%s", typ, print(t, c.Model))
		require.Empty(t, c.Model.Functions)
		require.Less(t, stats.Tests, 200, typ)
		require.Equal(t, before, print(t, m), "the given model stays")
		for _, v := range c.Model.Main.Consts() {
			require.LessOrEqual(t, v.Const().Len(), int64(1), print(t, c.Model))
		}
	}
}

// TestKeepsWhatMatters: what the failure depends on stays, be it a size, an element or a second node.
func TestKeepsWhatMatters(t *testing.T) {
	both := func(ctx context.Context, c reduce.Case) (bool, error) {
		a, _ := has("Gemm")(ctx, c)
		b, _ := has("Exp")(ctx, c)
		big := slices.ContainsFunc(c.Model.Graphs(), func(g *ir.Graph) bool {
			return slices.ContainsFunc(g.Consts(), func(v *ir.Value) bool {
				f, err := ir.Elements[float32](v.Const())
				return err == nil && slices.Contains(f, 17)
			})
		})
		return a && b && big, nil
	}
	c, _, err := reduce.Run(t.Context(), reduce.Case{Model: parse(t, large)}, both, reduce.Options{})
	require.NoError(t, err)
	s := print(t, c.Model)
	require.Equal(t, 2, c.Model.Main.NumNodes(), s)
	require.Contains(t, s, "17", s)
	require.NotContains(t, s, "48", s)
}

// TestPipeline: steps, presets, parentheses and options go.
func TestPipeline(t *testing.T) {
	reg, err := all.Registry()
	require.NoError(t, err)
	for from, want := range map[string]string{
		"O2":                             "conv-bn",
		"dce,O2,cse":                     "conv-bn",
		"fixpoint{max=3}(simplify,fuse)": "conv-bn",
		"dedup-constants{min-size=3},conv-bn{only=[a,b]},constfold{exact=true max-size=3}": "conv-bn",
	} {
		p, err := reg.Parse(from)
		require.NoError(t, err)
		c, _, err := reduce.Run(t.Context(), reduce.Case{Model: parse(t, large), Pipeline: p}, func(_ context.Context, c reduce.Case) (bool, error) {
			return mentions(c.Pipeline, "conv-bn"), nil
		}, reduce.Options{Parse: reg.Parse})
		require.NoError(t, err)
		require.Equal(t, want, c.Pipeline.String(), from)
	}
}

// mentions reports whether p runs a pass.
func mentions(p *passes.Pipeline, name string) bool {
	return slices.ContainsFunc(p.Steps(), func(s *passes.Step) bool {
		return s.Name() == name || s.Nested() != nil && mentions(s.Nested(), name)
	})
}

// TestStops: the end of the context, and an error of the test, leave the smallest case so far.
func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	c, _, err := reduce.Run(ctx, reduce.Case{Model: parse(t, large)}, func(ctx context.Context, c reduce.Case) (bool, error) {
		if n++; n == 12 {
			cancel()
		}
		return has("Gemm")(ctx, c)
	}, reduce.Options{})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, len(print(t, c.Model)), len(print(t, parse(t, large))))
	ok, _ := has("Gemm")(ctx, c)
	require.True(t, ok)

	boom := errors.New("boom")
	_, _, err = reduce.Run(t.Context(), reduce.Case{Model: parse(t, large)}, func(context.Context, reduce.Case) (bool, error) { return false, boom }, reduce.Options{})
	require.ErrorIs(t, err, boom)
}

// TestUnused: what nobody uses goes unless the failure needs it.
func TestUnused(t *testing.T) {
	const src = `<ir_version: 8, opset_import: ["" : 17]>
g (float[4] x) => (float[4] y) { y = Neg (x)  a = Exp (x)  b = Log (a)  c = Abs (b) }`
	c, _, err := reduce.Run(t.Context(), reduce.Case{Model: parse(t, src)}, has("Log"), reduce.Options{})
	require.NoError(t, err)
	require.True(t, strings.Contains(print(t, c.Model), "Log"))
	require.Equal(t, 1, c.Model.Main.NumNodes(), print(t, c.Model))
}
