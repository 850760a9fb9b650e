package all_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/onnxio/npz"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// quantize writes a model quantized for the target on eight generated samples, and returns its path.
func quantize(t *testing.T, path, sizes, options string) string {
	f, err := onnxio.Open(path, onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	r, err := passlist.RegistryFor(all.Profiles())
	require.NoError(t, err)
	if sizes != "" {
		p, err := r.Parse("set-shape{" + sizes + "}")
		require.NoError(t, err)
		_, err = p.Run(context.Background(), f.Model, passes.Config{})
		require.NoError(t, err)
	}
	p, err := r.Parse("quantize{" + options + "}")
	require.NoError(t, err)
	var samples []map[string]ir.Datum
	for seed := range 8 {
		sets := compare.Inputs(f.Model, uint64(seed+1), compare.GenerateOptions{})
		samples = append(samples, sets[0])
	}
	data := measured.New(measured.Fixed(samples...), native.New(), 2)
	_, err = p.Run(context.Background(), f.Model, passes.Config{Data: map[passes.Data]any{"": data}})
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), filepath.Base(path))
	_, err = onnxio.WriteFile(out, f.Model, onnxio.WriteOptions{})
	require.NoError(t, err)
	return out
}

// TestInt8 quantizes models for LiteRT, and runs what is written. With XNNPACK outputs are within one quantization step of the QDQ model, in
// ONNX Runtime where that is here, else in the embedded engine. The kernels without it scale sums by a multiplier of 31 bits and round
// twice, so that some elements of a layer are the next step, and what follows starts from these: there each operator is held against the
// real result of the integers that it got.
func TestInt8(t *testing.T) {
	ctx := context.Background()
	k := consumer.Lookup("litert")
	p := python(t, k)
	target, _ := all.Lookup("tflite")
	models, sizes := realModels(t)
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if !map[string]bool{"mnist-8": true, "resnet8-cifar10": true, "squeezenet-fp16-winml": true, "ultraface-RFB-320": true, "fastestdet": true, "digits": true}[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, err := targettest.Prepare(ctx, quantize(t, path, sizes[name], "profile=tflite objective=size"), "", "", native.New())
			require.NoError(t, err)
			if ort := os.Getenv("ONNXOPT_PYTHON"); ort != "" {
				require.NoError(t, c.Judge(ctx, ort))
			}
			e, err := c.Emit(ctx, target, "{layout=keep}", t.TempDir())
			require.NoError(t, err)
			rel, _, err := c.Run(ctx, k, p, "", e.Path(""))
			assert.NoError(t, err)
			t.Logf("difference %.1e", rel)
			for _, mode := range []string{"plain", "reference"} {
				_, got, err := c.Run(ctx, k, p, mode, e.Path(""))
				for name, want := range c.Want {
					require.NotNil(t, got[name], "%s %s: %v", mode, name, err)
					sqnr := compare.Datum(want, compare.Like(got[name], want)).SQNR
					assert.GreaterOrEqual(t, sqnr, 12.0, mode) // the steps of all layers together
					t.Logf("%-9s SQNR %.1f dB", mode, sqnr)
				}
				eachOperator(t, p, mode, e.Path(""), c.Inputs)
			}
		})
	}
}

// eachOperator runs integer kernels of LiteRT and holds each operator's result against the real one.
func eachOperator(t *testing.T, python, mode, artifact string, inputs map[string]ir.Datum) {
	in := filepath.Join(t.TempDir(), "in.npz")
	f, err := os.Create(in)
	require.NoError(t, err)
	z := npz.NewWriter(f)
	for name, d := range inputs {
		require.NoError(t, z.Add(name, d.(*ir.Tensor)))
	}
	require.NoError(t, errors.Join(z.Close(), f.Close()))
	cmd := exec.Command(python, "testdata/litert-steps.py", mode, artifact, in)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &said)
	checked := 0
	for line := range strings.Lines(string(out)) {
		var k struct {
			Operator     string
			Count, Steps int
			Distance     float64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &k))
		assert.LessOrEqual(t, k.Steps, 1, "%s, %s", mode, k.Operator)
		if k.Steps >= 0 {
			checked += k.Count
			t.Logf("%-9s %3d %-17s at most %.3f steps from the real result", mode, k.Count, k.Operator, k.Distance)
		}
	}
	assert.Greater(t, checked, 2)
}

var whole = flag.Bool("whole", false, "TestTensorRTInt8 builds the engines of all models, which takes minutes")

// TestTensorRTInt8 builds engines of float models after quantization for TensorRT: symmetric, with quantizers on both branches of sums. Those
// that take longer than ten seconds each are built with -args -whole.
func TestTensorRTInt8(t *testing.T) {
	python := os.Getenv("ONNXOPT_TENSORRT")
	if python == "" {
		t.Skip("left out: TensorRT for RTX is not here; .ci/run installs it, or ONNXOPT_TENSORRT names a Python that has tensorrt_rtx_bindings")
	}
	target, _ := all.Lookup("tensorrt")
	refused := rows(t, "testdata/tensorrt-refused.tsv")
	models, sizes := realModels(t)
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if refused[name] != "" { // quantized as it came, or not for TensorRT
			continue
		}
		if map[string]bool{"basic-pitch-nmp": true, "fastestdet": true, "ppocrv4-det": true, "ppocrv4-rec": true, "super-resolution-10": true}[name] && !*whole {
			t.Logf("left out: %s, of which -args -whole builds the engine for more than ten seconds", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, err := targettest.Prepare(context.Background(), quantize(t, path, sizes[name], "profile=tensorrt objective=size"), "", "", native.New())
			require.NoError(t, err)
			e, err := c.Emit(context.Background(), target, "", t.TempDir())
			require.NoError(t, err)
			out, err := exec.Command(python, e.Path(".build.py")).CombinedOutput()
			require.NoError(t, err, "%s", out)
			assert.NotContains(t, strings.ToLower(string(out)), "warn")
			t.Logf("%s", out)
		})
	}
}
