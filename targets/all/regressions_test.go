package all_test

import (
	"context"
	"fmt"
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
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// TestSmallModels writes the models of testdata/models, each of which has come out wrong once or been refused without need, and runs them in
// every consumer that is here. models.tsv lists what is refused, by model and target, with what the refusal has to say; everything else
// agrees. Refusals are tested without any consumer.
func TestSmallModels(t *testing.T) {
	refused := map[[2]string]string{}
	b, err := os.ReadFile("testdata/models.tsv")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 3 {
			refused[[2]string{f[0], f[1]}] = f[2]
		}
	}
	files, _ := filepath.Glob("testdata/models/*.onnxtxt")
	require.NotEmpty(t, files)
	for _, k := range consumer.All() {
		t.Run(k.Name, func(t *testing.T) {
			dir := t.TempDir()
			var cases []*targettest.Case
			var items []consumer.Item
			modes := []string{""}
			if k.Name == "litert" {
				modes = append(modes, "plain", "reference")
			}
			for _, file := range files {
				c, artifact := small(t, k.Target, file, dir, refused)
				if c == nil {
					continue
				}
				for _, mode := range modes {
					item := consumer.Item{Artifact: artifact, Inputs: c.Inputs, Options: c.Options(1)}
					item.Options.Mode = mode
					cases, items = append(cases, c), append(items, item)
				}
			}
			p := os.Getenv(k.Variable)
			if p == "" {
				t.Skipf("left out: %s is not here; .ci/run installs it, or %s names a Python that has %s", k.Title, k.Variable, k.Module)
			}
			err := k.RunMany(context.Background(), p, items, func(i int, r *consumer.Result, err error) {
				if err == nil {
					_, err = cases[i].Compare(r.Outputs)
				}
				if why, departs := strings.CutPrefix(refused[[2]string{cases[i].Name, k.Target}], "differs: "); departs {
					assert.ErrorContains(t, err, why, cases[i].Name)
					return
				}
				assert.NoError(t, err, "%s, mode %q", cases[i].Name, items[i].Options.Mode)
			})
			require.NoError(t, err)
		})
	}
	t.Run("tensorrt", func(t *testing.T) {
		for _, file := range files {
			small(t, "tensorrt", file, t.TempDir(), refused)
		}
	})
}

// TestTensorRTBytes builds an engine of a model that takes pictures of bytes, which TensorRT casts before it does anything else with them.
func TestTensorRTBytes(t *testing.T) {
	p := os.Getenv("ONNXOPT_TENSORRT")
	if p == "" {
		t.Skip("left out: TensorRT for RTX is not here; .ci/run installs it, or ONNXOPT_TENSORRT names a Python that has tensorrt_rtx_bindings")
	}
	_, artifact := small(t, "tensorrt", "testdata/models/picture-of-bytes.onnxtxt", t.TempDir(), nil)
	out, err := exec.Command(p, strings.TrimSuffix(artifact, ".onnx")+".build.py").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// small writes a model for a target; nil if it is refused, as it has to be.
func small(t *testing.T, target, file, dir string, refused map[[2]string]string) (*targettest.Case, string) {
	ctx := context.Background()
	name := strings.TrimSuffix(filepath.Base(file), ".onnxtxt")
	src, err := os.ReadFile(file)
	require.NoError(t, err)
	m, err := text.Parse(src)
	require.NoError(t, err, name)
	if target == "tvm" { // whose own pipeline does so
		r, err := passlist.Registry()
		require.NoError(t, err)
		p, err := r.Parse("dequantize")
		require.NoError(t, err)
		_, err = p.Run(ctx, m, passes.Config{})
		require.NoError(t, err, name)
	}
	in := compare.Inputs(m, 1, compare.GenerateOptions{})[0]
	s, err := native.New().Load(ctx, m, engine.Options{})
	require.NoError(t, err, name)
	defer s.Close()
	want, err := s.Run(ctx, in)
	require.NoError(t, err, name)
	c := &targettest.Case{Name: name, Path: filepath.Join(dir, name+".in.onnx"), Inputs: in, Want: want, Bounds: targettest.Bounds(m), Shapes: map[string][]int64{}}
	for output, d := range want {
		c.Shapes[output] = d.(*ir.Tensor).Shape()
	}
	_, err = onnxio.WriteFile(c.Path, m, onnxio.WriteOptions{})
	require.NoError(t, err)
	k, _ := all.Lookup(target)
	options := ""
	if target == "tflite" {
		options = "{layout=keep}"
	}
	e, err := c.Emit(ctx, k, options, dir)
	why, bad := refused[[2]string{name, target}]
	if bad && !strings.HasPrefix(why, "differs: ") {
		assert.ErrorContains(t, err, why, "%s for %s", name, target)
		return nil, ""
	}
	if !assert.NoError(t, err, "%s for %s", name, target) {
		return nil, ""
	}
	return c, e.Path("")
}

// TestRunMany has what one artifact does to the process leave the others alone.
func TestRunMany(t *testing.T) {
	k := consumer.Lookup("onnxruntime")
	p := python(t, k)
	dir := t.TempDir()
	m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Relu (x) }`))
	require.NoError(t, err)
	good := filepath.Join(dir, "good.onnx")
	_, err = onnxio.WriteFile(good, m, onnxio.WriteOptions{})
	require.NoError(t, err)
	bad := filepath.Join(dir, "bad.onnx")
	require.NoError(t, os.WriteFile(bad, []byte("nonsense"), 0o666))
	in := map[string]ir.Datum{"x": ir.TensorOf([]float32{-1, 2}, 2)}
	var got []string
	err = k.RunMany(context.Background(), p, []consumer.Item{{Artifact: good, Inputs: in}, {Artifact: bad, Inputs: in}, {Artifact: good, Inputs: in}}, func(i int, r *consumer.Result, err error) {
		if err != nil {
			got = append(got, fmt.Sprint(i, " error"))
			return
		}
		f, err := ir.Elements[float32](r.Outputs["y"].(*ir.Tensor))
		require.NoError(t, err)
		got = append(got, fmt.Sprint(i, f))
	})
	require.NoError(t, err)
	assert.True(t, slices.Equal([]string{"0 [0 2]", "1 error", "2 [0 2]"}, got), "%q", got)
}
