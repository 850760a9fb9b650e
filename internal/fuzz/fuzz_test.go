package fuzz

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/passes/hook"
)

var cases = flag.Uint64("fuzz.cases", 3000, "number of random models; bench/fuzz runs as long as one wants")

func newFuzzer(t *testing.T) *Fuzzer {
	reg, err := all.Registry()
	require.NoError(t, err)
	f, err := New(reg, os.DirFS("../../passes"), nil)
	require.NoError(t, err)
	require.Greater(t, f.Motifs(), 200)
	return f
}

// TestRandom is a slice of what bench/fuzz does without end.
func TestRandom(t *testing.T) {
	f := newFuzzer(t)
	made, rewritten, operators := 0, 0, map[ir.OpID]bool{}
	n := *cases
	if testing.Short() {
		n = min(n, 500)
	}
	for seed := range n {
		r := f.Run(t.Context(), seed)
		if r.Failure != nil {
			small, why, _ := f.Shrink(t.Context(), r.Case, r.Failure)
			t.Errorf("case %d: %v\nmade smaller, -p '%s': %v\n%s", seed, r.Failure, small.Pipeline, why, Text(small.Model))
		}
		if r.Case == nil {
			continue
		}
		made++
		if r.Applied > 0 {
			rewritten++
		}
		for n := range r.Case.Model.Nodes() {
			operators[n.Op()] = true
		}
	}
	require.Greater(t, made, int(n)*3/4)
	require.Greater(t, rewritten, int(n)/3)
	require.Greater(t, len(operators), 120)
}

// TestRegressions runs what failed once: reproducers that fuzzing left.
func TestRegressions(t *testing.T) {
	files, err := filepath.Glob("testdata/*.onnxtxt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	f := newFuzzer(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".onnxtxt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			r, err := hook.ReadReproducer(b)
			require.NoError(t, err)
			pipe, err := f.pipes.reg.Parse(r.Pipeline)
			require.NoError(t, err)
			for seed := range uint64(8) { // some checks are made of some numbers only
				c := Case{Seed: seed, Model: r.Model, Pipeline: pipe}
				require.NotEmpty(t, variants(t.Context(), &c), "there are no inputs")
				for _, kind := range []Kind{Inference, Mismatch} {
					if bad := f.again(t.Context(), &c, kind); bad != nil {
						t.Fatalf("it was: %s\nit is: %v", r.Why, bad)
					}
				}
			}
		})
	}
}

// TestSameSeedSameCase: a number is a reproducer.
func TestSameSeedSameCase(t *testing.T) {
	f, g := newFuzzer(t), newFuzzer(t)
	for seed := range uint64(200) {
		a, b := f.Make(t.Context(), seed), g.Make(t.Context(), seed)
		require.Equal(t, a == nil, b == nil, seed)
		if a != nil {
			require.Equal(t, Text(a.Model), Text(b.Model), seed)
			require.Equal(t, a.Pipeline.String(), b.Pipeline.String(), seed)
			require.NoError(t, ops.Verify(a.Model))
		}
	}
}

// faulty is a pass that is wrong for negative numbers and for -0.
var faulty = passes.Define(passes.Info{Name: "test-abs", Doc: "removes Abs nodes"}, struct{}{},
	func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			if n.Is("Abs") {
				c.Rewrite("test-abs", n, nil, func() {
					n.Result(0).ReplaceUses(n.Operand(0))
					n.Graph().Erase(n)
				})
			}
		}
		return nil
	})

// TestFindsWhatIsWrong: a wrong pass is found, and the case becomes a single node.
func TestFindsWhatIsWrong(t *testing.T) {
	reg, err := passes.NewRegistry(faulty)
	require.NoError(t, err)
	f, err := New(reg, nil, nil)
	require.NoError(t, err)
	for seed := range uint64(20000) {
		r := f.Run(t.Context(), seed)
		if r.Failure == nil || r.Failure.Kind != Mismatch {
			continue
		}
		small, why, err := f.Shrink(t.Context(), r.Case, r.Failure)
		require.NoError(t, err)
		require.Equal(t, Mismatch, why.Kind)
		require.Equal(t, "test-abs", small.Pipeline.String(), "case %d: %v\n%s", seed, why, Text(small.Model))
		require.Equal(t, 1, small.Model.Main.NumNodes(), Text(small.Model))
		return
	}
	t.Fatal("nothing was found")
}

// TestSkipsWhatRoundingDecides: a difference that rounding alone can make is none.
func TestSkipsWhatRoundingDecides(t *testing.T) {
	const src = `<ir_version: 10, opset_import: ["" : 17]>
g (float[4] x) => (float[4] y, float[4] z) <float k = {16777216}> {
   a = Add (x, k)
   y = Sub (a, k)
   z = Mul (x, k)
}`
	r, err := hook.ReadReproducer([]byte("# onnxopt reproducer\n# pipeline: O2\n" + src))
	require.NoError(t, err)
	f := newFuzzer(t)
	set := generated(context.Background(), &Case{Seed: 1, Model: r.Model, Pipeline: mustParse(t, f, "O2")})[0]
	tolerance := f.native.tolerance(r.Model, passes.Promise{RelTol: 1e-4})("y")
	require.True(t, f.native.unsteady(t.Context(), r.Model, set, "y", tolerance))
	require.False(t, f.native.unsteady(t.Context(), r.Model, set, "z", tolerance))
}

func mustParse(t *testing.T, f *Fuzzer, s string) *passes.Pipeline {
	p, err := f.pipes.reg.Parse(s)
	require.NoError(t, err)
	return p
}
