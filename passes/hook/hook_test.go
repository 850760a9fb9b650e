package hook_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
	"github.com/stretchr/testify/require"
)

const model = `<ir_version: 8, opset_import: ["": 17]>
g (float[4] x) => (float[4] y) {
   a = Identity (x)
   b = Neg (a)
   c = Neg (b)
   d = Identity (c)
   y = Relu (d)
}`

// rename is a pass that replaces operators of type From by To: wrong on purpose where they differ.
func rename(name string, promise passes.Promise, from, to string) *passes.Pass {
	return passes.Define(passes.Info{Name: name, Doc: "renames operators", Promise: promise}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			if n.Is(from) {
				c.Rewrite(name, n, nil, func() { n.SetOp(ir.Op(to)) })
			}
		}
		return nil
	})
}

func parse(t *testing.T) *ir.Model {
	m, err := text.Parse([]byte(model))
	require.NoError(t, err)
	return m
}

func run(t *testing.T, m *ir.Model, p *passes.Pass, hooks ...passes.Hook) (*passes.Report, error) {
	r, err := passes.NewRegistry(p)
	require.NoError(t, err)
	pipe, err := r.Parse(p.Name)
	require.NoError(t, err)
	return pipe.Run(context.Background(), m, passes.Config{Hooks: hooks})
}

func TestVerifyEach(t *testing.T) {
	exact := &hook.Verify{Engine: native.New()}
	_, err := run(t, parse(t), rename("neg-to-abs", passes.Promise{}, "Neg", "Abs"), exact)
	require.ErrorContains(t, err, "pass neg-to-abs promises to be exact: mismatch")
	_, err = run(t, parse(t), rename("neg-to-abs", passes.Promise{Lossy: true}, "Neg", "Abs"), exact)
	require.NoError(t, err, "nothing is promised")
	_, err = run(t, parse(t), rename("to-nothing", passes.Promise{Lossy: true}, "Neg", "NoSuchOperator"), exact)
	require.ErrorContains(t, err, "NoSuchOperator", "the schemas are checked all the same")
	_, err = run(t, parse(t), rename("to-dropout", passes.Promise{}, "Identity", "Dropout"), exact)
	require.NoError(t, err)
}

func TestBisectFindsTheRewrite(t *testing.T) {
	p := rename("neg-to-abs", passes.Promise{}, "Neg", "Abs")
	runs := 0
	bad := func(_ context.Context, limit int) (bool, error) {
		runs++
		m := parse(t)
		_, err := run(t, m, p, &hook.Limit{N: limit}, &hook.Verify{Engine: native.New()})
		return err != nil, nil
	}
	first, err := hook.Bisect(context.Background(), 2, bad)
	require.NoError(t, err)
	require.Equal(t, 1, first)
	trace := &hook.Trace{Watch: first - 1}
	_, err = run(t, parse(t), p, trace)
	require.NoError(t, err)
	require.Equal(t, &hook.Offer{Number: 0, Path: "neg-to-abs", Rule: "neg-to-abs", Node: `node of "b" (Neg)`}, trace.Found)
	require.LessOrEqual(t, runs, 1)
}

func TestVetoHoldsForLaterOffers(t *testing.T) {
	v := &hook.Veto{Numbers: map[int]bool{0: true}}
	p := rename("neg-to-abs", passes.Promise{Lossy: true}, "Neg", "Abs")
	r, err := passes.NewRegistry(p)
	require.NoError(t, err)
	pipe, err := r.Parse("neg-to-abs,neg-to-abs")
	require.NoError(t, err)
	m := parse(t)
	rep, err := pipe.Run(context.Background(), m, passes.Config{Hooks: []passes.Hook{v}})
	require.NoError(t, err)
	require.Equal(t, 2, rep.Vetoed)
	require.Equal(t, 1, rep.Rewrites)
}

func TestPrintAndDump(t *testing.T) {
	var b bytes.Buffer
	dir := filepath.Join(t.TempDir(), "new")
	printer := func(w io.Writer, m *ir.Model) error {
		return text.Print(w, m, text.Options{})
	}
	p := &hook.Print{W: &b, Model: printer, Ahead: []string{"*"}, AfterChange: []string{"neg-to-abs"}}
	_, err := run(t, parse(t), rename("neg-to-abs", passes.Promise{Lossy: true}, "Neg", "Abs"), p, &hook.Dump{Dir: dir, Model: printer})
	require.NoError(t, err)
	before, after, ok := strings.Cut(b.String(), "# model after neg-to-abs (step 1)")
	require.True(t, ok)
	require.Contains(t, before, "= Neg (")
	require.Contains(t, after, "= Abs (")
	dumped, err := os.ReadFile(filepath.Join(dir, "001-neg-to-abs.onnxtxt"))
	require.NoError(t, err)
	m, err := text.Parse(dumped)
	require.NoError(t, err)
	require.Equal(t, 5, m.Main.NumNodes())
}

func TestReproducerRoundTrip(t *testing.T) {
	m := parse(t)
	g := m.Main
	big := g.NamedConst("w", ir.TensorOf(make([]float32, 1<<16)))
	small := g.NamedConst("s", ir.TensorOf([]float32{1, 2}))
	g.AddOutput("w1", big, nil)
	g.AddOutput("s1", small, nil)
	r := &hook.Reproducer{Model: m, Pipeline: "simplify,cse{only=a}", Skip: []string{"dce"}, Why: "it went\nwrong", Fill: true}
	var b bytes.Buffer
	require.NoError(t, r.Write(&b))
	require.Less(t, b.Len(), 4096)
	require.True(t, hook.IsReproducer(b.Bytes()))
	s, err := hook.ReadReproducer(b.Bytes())
	require.NoError(t, err)
	require.Equal(t, "simplify,cse{only=a}", s.Pipeline)
	require.Equal(t, []string{"dce"}, s.Skip)
	require.Equal(t, "it went wrong", s.Why)
	require.NoError(t, ir.Verify(s.Model))
	for _, v := range s.Model.Main.Consts() {
		f, err := ir.Elements[float32](v.Const())
		require.NoError(t, err)
		if len(f) > 2 {
			require.NotEqual(t, f[0], f[1])
		} else {
			require.Equal(t, []float32{1, 2}, f)
		}
	}
	var again bytes.Buffer
	s.Fill = false
	require.NoError(t, s.Write(&again), "filled constants can be written out in full")
	_, err = hook.ReadReproducer([]byte("g () => () {}"))
	require.Error(t, err)
}
