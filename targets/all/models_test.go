package all_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/npz"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/all"
)

// folder is an artifact in a folder.
type folder struct {
	dir, base string
	files     []*os.File
}

func (a *folder) Name(suffix string) string { return a.base + suffix }
func (a *folder) Note(string)               {}
func (a *folder) Model(m *ir.Model) error {
	_, err := onnxio.WriteFile(filepath.Join(a.dir, a.base), m, onnxio.WriteOptions{})
	return err
}
func (a *folder) File(suffix string) (io.Writer, error) {
	f, err := os.Create(filepath.Join(a.dir, a.base+suffix))
	a.files = append(a.files, f)
	return f, err
}

// rows reads a table of two columns.
func rows(t *testing.T, path string) map[string]string {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	r := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "\t"); ok && !strings.HasPrefix(k, "#") {
			r[k] = v
		}
	}
	return r
}

// TestLiteRT writes all models for LiteRT and runs what was written with each of its resolvers, beside the embedded engine.
func TestLiteRT(t *testing.T) {
	python := os.Getenv("ONNXOPT_LITERT")
	if python == "" {
		t.Skip("left out: LiteRT is not here; .ci/run installs it, or ONNXOPT_LITERT names a Python that has ai_edge_litert")
	}
	models := realModels(t)
	sizes, refused := rows(t, "testdata/sizes.tsv"), rows(t, "testdata/litert-refused.tsv")
	dir := t.TempDir()
	target, _ := all.Lookup("tflite")
	type written struct {
		name  string
		want  map[string]ir.Datum
		bound map[string]compare.Tolerance
	}
	var done []written
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		want, bound, err := emit(t, target, path, sizes[name], dir, name)
		if why, ok := refused[name]; ok {
			if assert.ErrorContains(t, err, why, name) {
				t.Logf("%-28s refused: %.120s", name, err)
			}
			continue
		}
		if assert.NoError(t, err, name) {
			done = append(done, written{name, want, bound})
		}
	}
	args := []string{"testdata/litert.py", dir}
	for _, w := range done {
		args = append(args, w.name)
	}
	out, err := exec.Command(python, args...).Output()
	var exit *exec.ExitError
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			exit = e
			t.Log(string(exit.Stderr))
		}
		require.NoError(t, err)
	}
	require.Len(t, strings.Fields(string(out)), 2*len(done))
	for _, w := range done {
		line := fmt.Sprintf("%-28s", w.name)
		for _, resolver := range []string{"default", "plain", "reference"} {
			got := read(t, filepath.Join(dir, w.name+"."+resolver+".npz"))
			worst := compare.Diff{}
			for output, a := range w.want {
				d := compare.Datum(a, like(t, got[output], a))
				assert.NoError(t, w.bound[output].Check(d), "%s, %s, output %s", w.name, resolver, output)
				if d.Rel >= worst.Rel {
					worst = d
				}
			}
			line += fmt.Sprintf("  %s %.1e", resolver, worst.Rel)
		}
		t.Log(line)
	}
	assert.False(t, len(models) > 1 && len(done) < 17, "%d models written", len(done))
}

// TestTensorRT builds an engine of every model that TensorRT for RTX takes, with the script that is written for it. No engine can run
// without a graphics processor.
func TestTensorRT(t *testing.T) {
	python := os.Getenv("ONNXOPT_TENSORRT")
	if python == "" {
		t.Skip("left out: TensorRT for RTX is not here; .ci/run installs it, or ONNXOPT_TENSORRT names a Python that has tensorrt_rtx_bindings")
	}
	refused := rows(t, "testdata/tensorrt-refused.tsv")
	sizes := rows(t, "testdata/sizes.tsv")
	dir := t.TempDir()
	target, _ := all.Lookup("tensorrt")
	built := 0
	for _, path := range realModels(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		_, _, err := emit(t, target, path, sizes[name], dir, name)
		why, bad := refused[name]
		if bad && err != nil {
			if assert.ErrorContains(t, err, why, name) {
				t.Logf("%-28s refused: %.120s", name, err)
			}
			continue
		}
		if !assert.NoError(t, err, name) {
			continue
		}
		out, err := exec.Command(python, filepath.Join(dir, name+".onnx.build.py")).CombinedOutput()
		if bad { // what only the consumer finds
			if assert.Error(t, err, name) && assert.Contains(t, string(out), why, name) {
				t.Logf("%-28s refused by TensorRT: %.120s", name, why)
			}
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if assert.NoError(t, err, "%s: %s", name, out) {
			built++
			t.Logf("%-28s %s", name, lines[len(lines)-1])
		}
	}
	assert.False(t, built < 15, "%d engines built", built)
}

// realModels are those of ../shared, and the one of this repository.
func realModels(t *testing.T) []string {
	models, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "models", "*.onnx"))
	if len(models) == 0 {
		t.Log("left out: the real models of ../shared/models are not here")
	}
	return append(models, filepath.Join("..", "..", "testdata", "digits", "digits.onnx"))
}

// emit writes the artifact of a model and inputs for it, and returns what it computes and how far another may be off.
func emit(t *testing.T, target *targets.Target, path, sizes, dir, name string) (map[string]ir.Datum, map[string]compare.Tolerance, error) {
	ctx := context.Background()
	f, err := onnxio.Open(path, onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	m := f.Model
	r, err := passlist.Registry()
	require.NoError(t, err)
	run := func(pipeline string) error {
		p, err := r.Parse(pipeline)
		require.NoError(t, err)
		_, err = p.Run(ctx, m, passes.Config{})
		return err
	}
	if sizes != "" {
		require.NoError(t, run("set-shape{"+sizes+"}"))
	}
	for _, s := range m.Main.Inputs() { // as the target does with what is open still
		if typ := s.Type(); typ.IsTensor() && len(typ.Shape) > 0 && !typ.Shape[0].IsStatic() {
			u := *typ
			u.Shape = slices.Clone(typ.Shape)
			u.Shape[0] = ir.Static(1)
			s.SetType(&u)
		}
	}
	in := compare.Inputs(m, 1, compare.GenerateOptions{})[0]
	s, err := native.New().Load(ctx, m, engine.Options{})
	require.NoError(t, err)
	want, err := s.Run(ctx, in)
	require.NoError(t, err)
	bound := compare.Tolerances(m)
	if err := run(target.Pipeline); err != nil {
		return nil, nil, err
	}
	if err := target.Check(m); err != nil {
		return nil, nil, err
	}
	a := &folder{dir: dir, base: name + target.Extension}
	options := map[string]string{"tflite": "{layout=keep}"}[target.Name]
	p, err := target.Emitter(target.Name+options, a)
	require.NoError(t, err)
	if _, err := p.Run(ctx, m, passes.Config{}); err != nil {
		return nil, nil, err
	}
	for _, f := range a.files {
		require.NoError(t, f.Close())
	}
	w, err := os.Create(filepath.Join(dir, name+".in.npz"))
	require.NoError(t, err)
	defer w.Close()
	z := npz.NewWriter(w)
	for input, d := range in {
		require.NoError(t, z.Add(input, d.(*ir.Tensor)))
	}
	require.NoError(t, z.Close())
	return want, bound, nil
}

// like is a float32 tensor as float16 if the other is that, which the target has not.
func like(t *testing.T, got, want ir.Datum) ir.Datum {
	g, ok := got.(*ir.Tensor)
	w, okW := want.(*ir.Tensor)
	if !ok || !okW || w.DType() != ir.Float16 || g.DType() != ir.Float32 {
		return got
	}
	f, err := ir.Elements[float32](g)
	require.NoError(t, err)
	h := make([]uint16, len(f))
	for i, x := range f {
		h[i] = kernel.Float32ToFloat16(x)
	}
	return ir.NewTensor(ir.Float16, g.Shape(), ir.AsBytes(h))
}

func read(t *testing.T, path string) map[string]ir.Datum {
	z, err := npz.Open(path)
	require.NoError(t, err)
	defer z.Close()
	r := map[string]ir.Datum{}
	for _, name := range z.Names() {
		a, err := z.Read(name)
		require.NoError(t, err)
		r[name] = a
	}
	return r
}
