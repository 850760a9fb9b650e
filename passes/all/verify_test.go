package all_test

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/passes/hook"
)

var full = flag.Bool("verify.full", false, "verify every pass on large models and with its example's options, too: minutes")

// pipelines are the presets and every pass by itself; with -verify.full also as its example has it. Lossy passes promise nothing.
func pipelines(t *testing.T) []*passes.Pipeline {
	r, err := all.Registry()
	require.NoError(t, err)
	texts := []string{"O1", "O2", "O3"}
	for _, p := range r.Passes() {
		if p.Nests {
			continue
		}
		texts = append(texts, p.Name)
		if *full && p.Example != p.Name {
			texts = append(texts, p.Example)
		}
	}
	var list []*passes.Pipeline
	for _, s := range texts {
		p, err := r.Parse(s)
		if err != nil { // the pass needs an option: its example has it
			pass, ok := r.Lookup(s)
			require.True(t, ok, "%s: %v", s, err)
			p, err = r.Parse(pass.Example)
			require.NoError(t, err, s)
		}
		if files, data := p.Files(); len(files)+len(data) == 0 && !p.Promise().Lossy {
			list = append(list, p)
		}
	}
	return list
}

// tally counts what --verify-each could do.
type tally struct{ steps, changed, unverified int }

// verify runs a pipeline on a copy of m and holds every step to its promise: --verify-each.
func (c *tally) verify(t *testing.T, name string, m *ir.Model, p *passes.Pipeline) {
	v := &hook.Verify{
		Engine: native.New(), Budget: compare.Budget{Time: 2 * time.Minute, Memory: 4 << 30},
		Unverified: func(string, string) { c.unverified++ },
	}
	report, err := p.Run(context.Background(), m.Clone(), passes.Config{Hooks: []passes.Hook{v}})
	var refused *passes.StepError
	if err != nil && !errors.As(err, &refused) { // a pass may refuse a model, in words
		t.Errorf("%s, -p '%s': %v", name, p, err)
		return
	}
	for _, s := range report.Steps {
		c.steps++
		if s.Changed {
			c.changed++
		}
	}
}

// TestVerifyEachOnNodeTests: every pass keeps its promise on the models of every node test.
func TestVerifyEachOnNodeTests(t *testing.T) {
	list := pipelines(t)
	var c tally
	models := 0
	for name, b := range conformance.Models(t, conformance.Archive(t, "onnx-node-tests")) {
		if testing.Short() && models > 200 {
			break
		}
		f, err := onnxio.Read(b, onnxio.Options{})
		require.NoError(t, err, name)
		if hook.Structure(f.Model) != nil {
			f.Close()
			continue
		}
		models++
		for _, p := range list {
			c.verify(t, name, f.Model, p)
		}
		f.Close()
	}
	t.Logf("%d models, %d pipelines: %d steps, %d changed something, of which %d could not be compared", models, len(list), c.steps, c.changed, c.unverified)
	require.Greater(t, c.changed, models/2)
	require.Less(t, c.unverified, c.changed/4)
}

// TestVerifyEachOnRealModels: every pass keeps its promise on real models.
func TestVerifyEachOnRealModels(t *testing.T) {
	files, err := filepath.Glob("../../../shared/models/*.onnx")
	require.NoError(t, err)
	if len(files) == 0 {
		t.Log("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	files = append(files, "../../testdata/digits/digits.onnx")
	list := pipelines(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".onnx")
		t.Run(name, func(t *testing.T) {
			f, err := onnxio.Open(file, onnxio.Options{})
			require.NoError(t, err)
			defer f.Close()
			limit := int64(3e7)
			if testing.Short() {
				limit = 1e6
			}
			if macs := cost.Model(f.Model, cost.Options{Types: infer.Model(f.Model).Type}).MACs; !*full && macs > limit {
				t.Skipf("left out: %d multiply-accumulates a run take too long here; go test ./passes/all -run VerifyEach -args -verify.full runs them", macs)
			}
			var c tally
			for _, p := range list {
				c.verify(t, name, f.Model, p)
			}
			t.Logf("%d steps, %d changed something, of which %d could not be compared", c.steps, c.changed, c.unverified)
			require.Positive(t, c.changed)
		})
	}
}
