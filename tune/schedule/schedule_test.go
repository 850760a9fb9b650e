package schedule

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/targets/c"
	"github.com/onnxopt/onnxopt/tune/trial"
)

// TestLearn: what is learned orders candidates that the analytical model cannot tell apart.
func TestLearn(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var list []example
	for range 400 {
		x := []float64{rng.Float64(), rng.Float64() * 5, rng.Float64()}
		slow := 1.0
		if x[1] > 3 {
			slow = 4
		}
		list = append(list, example{Layer: string(rune('a' + rng.IntN(8))), Cycles: 100, Features: x, seconds: 1e-6 * slow * (1 + x[0]) * (1 + 0.02*rng.NormFloat64())})
	}
	analytical, learned, layers := agreement(list)
	require.Equal(t, 8, layers)
	require.Zero(t, analytical)
	require.Greater(t, learned, 0.9)
	require.Nil(t, learn(list[:enough-1]))
	require.Equal(t, math.Log(100), guess(nil, 100, nil))
	m := learn(list)
	require.Greater(t, guess(m, 100, []float64{.5, 4, .5}), guess(m, 100, []float64{.5, 2, .5})+1)
	same := learn(list)
	for _, e := range list {
		require.Equal(t, m.predict(e.Features), same.predict(e.Features))
	}
}

func TestSpearman(t *testing.T) {
	require.InDelta(t, 1, spearman([]float64{1, 2, 3, 4}, []float64{1, 4, 9, 99}), 1e-12)
	require.InDelta(t, -1, spearman([]float64{1, 2, 3}, []float64{3, 2, 1}), 1e-12)
	require.Zero(t, spearman([]float64{1, 2, 3}, []float64{5, 5, 5}))
	require.Equal(t, []float64{0.5, 2, 0.5}, ranks([]float64{1, 7, 1}))
}

func compiler(t *testing.T, options ...string) *Compiler {
	for _, name := range []string{"cc", "gcc", "clang"} {
		if _, err := exec.LookPath(name); err == nil {
			cc, err := NewCompiler(t.Context(), append([]string{name}, options...))
			require.NoError(t, err)
			return cc
		}
	}
	t.Skip("left out: there is no C compiler (cc, gcc or clang) on the PATH; .ci/run installs clang")
	return nil
}

func small(t *testing.T) *ir.Model {
	w := make([]string, 16*16*9)
	for i := range w {
		w[i] = []string{"0.1", "-0.2", "0.3", "0.05", "-0.15"}[i*7%5]
	}
	m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["": 17]> net (float[1,16,8,8] x) => (float[1,16,8,8] y) <float[16,16,3,3] w = {` + strings.Join(w, ",") + `}> {
		a = Conv<pads=[1,1,1,1]>(x, w)
		y = Relu(a)
	}`))
	require.NoError(t, err)
	return m
}

// TestSearch: a search keeps its trials; the same log gives the same schedule without a measurement; one that was interrupted goes on.
func TestSearch(t *testing.T) {
	cc := compiler(t, "-O1")
	m := small(t)
	path := filepath.Join(t.TempDir(), "log.jsonl")
	run := func(ctx context.Context, say func(string)) (*Result, error) {
		log, err := trial.Open(path)
		require.NoError(t, err)
		defer log.Close()
		return Search(ctx, m, Options{Target: "c", Compiler: cc, Time: time.Minute, Log: log, Seed: 1, Progress: say})
	}
	ctx, cancel := context.WithCancel(t.Context())
	layers := 0
	_, err := run(ctx, func(string) {
		if layers++; layers == 2 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	log, err := trial.Read(path)
	require.NoError(t, err)
	kept := log.Len()
	require.NotZero(t, kept, "the first batch is kept")

	first, err := run(t.Context(), nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, first.Reused, kept)
	require.Greater(t, first.Measured, 0)
	require.Zero(t, first.Failed)
	require.NotEmpty(t, first.Curve)
	algorithm := 0
	for _, r := range first.Rows {
		require.Greater(t, r.Default, 0.0, r.Layer)
		require.LessOrEqual(t, r.Found, r.Default, r.Layer)
		if strings.HasPrefix(r.Layer, "algorithm") {
			algorithm++
		}
	}
	require.Equal(t, 1, algorithm)
	require.LessOrEqual(t, first.Found, first.Default)
	second, err := run(t.Context(), nil)
	require.NoError(t, err)
	require.Zero(t, second.Measured)
	require.Equal(t, string(first.Schedule.Text()), string(second.Schedule.Text()))
	require.Equal(t, first.Kept, second.Kept)

	other := compiler(t, "-O0") // for which the log knows nothing
	l, err := trial.Read(path)
	require.NoError(t, err)
	require.NotZero(t, known(l, cc))
	require.Zero(t, known(l, other))
}

// known counts what a log teaches about candidates of a compiler.
func known(log *trial.Log, cc *Compiler) int {
	s := &search{o: Options{Compiler: cc, Log: log}}
	s.remember()
	return len(s.examples)
}

// TestFailing: a compiler that fails for some sources, hangs or lies costs candidates, not the search.
func TestFailing(t *testing.T) {
	real := compiler(t, "-O0")
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("left out: there is no sh on the PATH, as on Windows by itself")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "cc.sh")
	body := "#!/bin/sh\nfor a in \"$@\"; do case $a in */probe.c) if grep -q u1_run \"$a\"; then echo broken >&2; exit 1; fi;; esac; done\nexec " + real.Argv[0] + " \"$@\"\n"
	require.NoError(t, os.WriteFile(script, []byte(body), 0o700))
	cc, err := NewCompiler(t.Context(), []string{script, "-O0"})
	require.NoError(t, err)
	log, err := trial.Open(filepath.Join(dir, "log.jsonl"))
	require.NoError(t, err)
	defer log.Close()
	r, err := Search(t.Context(), small(t), Options{Target: "c", Compiler: cc, Time: 20 * time.Second, Log: log})
	require.NoError(t, err)
	require.Equal(t, r.Measured, r.Failed)
	require.Equal(t, "default", r.Kept)
	require.Empty(t, r.Schedule.Layers)
	for x := range log.Each() {
		require.Contains(t, x.Err, "broken")
	}
}

func TestCompiler(t *testing.T) {
	_, err := NewCompiler(t.Context(), []string{"no-such-compiler"})
	var missing *MissingError
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, `there is no C compiler "no-such-compiler" here`)
	if _, err := exec.LookPath("true"); err == nil {
		_, err = NewCompiler(t.Context(), []string{"true"})
		require.ErrorContains(t, err, "does not work as a C compiler")
	}
	a, b := compiler(t, "-O1"), compiler(t, "-O1", "-DX=1")
	require.NotEqual(t, a.Print, b.Print)
	require.Equal(t, a.Print, compiler(t, "-O1").Print)
	require.Contains(t, []int{4, 8, 16}, a.Lanes)
	source, _ := c.Program(a.Lanes, nil)
	require.True(t, bytes.Contains([]byte(source), []byte("int main")))
}
