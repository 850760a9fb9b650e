package all_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// rows reads a table of two columns.
func rows(t *testing.T, path string) map[string]string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return targettest.Rows(string(b))
}

// python is that of a consumer; without it the test is left out.
func python(t *testing.T, k *consumer.Consumer) string {
	p := os.Getenv(k.Variable)
	if p == "" {
		t.Skipf("left out: %s is not here; .ci/run installs it, or %s names a Python that has %s", k.Title, k.Variable, k.Module)
	}
	return p
}

// realModels are those of ../shared, and the one of this repository, with the sizes of their open dimensions.
func realModels(t *testing.T) ([]string, map[string]string) {
	models, sizes := targettest.Models(filepath.Join("..", "..", "..", "shared", "models"))
	if len(models) == 0 {
		t.Log("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	return append(models, filepath.Join("..", "..", "testdata", "digits", "digits.onnx")), sizes
}

// each calls f with all models, which the embedded engine has run behind a pipeline, and counts those for which it says yes.
func each(t *testing.T, pipeline string, f func(t *testing.T, c *targettest.Case) bool) (yes, of int) {
	models, sizes := realModels(t)
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		t.Run(name, func(t *testing.T) {
			c, err := targettest.Prepare(context.Background(), path, sizes[name], pipeline, native.New())
			require.NoError(t, err)
			of++
			if f(t, c) {
				yes++
			}
		})
	}
	return yes, of
}

// agree writes all models for a target and runs what was written in each mode of its consumer. Models that are refused are in a table,
// with what the refusal has to say; so are those that the consumer itself refuses.
func agree(t *testing.T, name, options string, modes []string, atLeast int) {
	ctx := context.Background()
	target, _ := all.Lookup(name)
	all := consumer.All()
	k := all[slices.IndexFunc(all, func(c *consumer.Consumer) bool { return c.Target == name })]
	p := python(t, k)
	refused := rows(t, "testdata/"+k.Name+"-refused.tsv")
	dir := t.TempDir()
	before := ""
	if name == "tvm" {
		before = "dequantize" // as its own pipeline does
	}
	done, of := each(t, before, func(t *testing.T, c *targettest.Case) bool {
		e, err := c.Emit(ctx, target, options, dir)
		why, bad := refused[c.Name]
		if bad && err != nil {
			require.ErrorContains(t, err, why)
			t.Logf("refused: %.160s", err)
			return false
		}
		require.NoError(t, err)
		if name == "onnxruntime" {
			require.NoError(t, c.Judge(ctx, p))
		}
		for _, mode := range modes {
			rel, _, err := c.Run(ctx, k, p, mode, e.Path(""))
			if bad {
				require.ErrorContains(t, err, why)
				t.Logf("refused by %s: %.160s", k.Title, err)
				return false
			}
			require.NoError(t, err, mode)
			t.Logf("%s %.1e", mode, rel)
		}
		return true
	})
	assert.False(t, of > 20 && done < atLeast, "%d of %d models agree", done, of)
	t.Logf("%d of %d models agree", done, of)
}

func TestLiteRT(t *testing.T) {
	agree(t, "tflite", "{layout=keep}", []string{"", "plain", "reference"}, 20)
}

func TestOpenVINO(t *testing.T) { agree(t, "openvino", "", []string{""}, 20) }

func TestONNXRuntime(t *testing.T) { agree(t, "onnxruntime", "", []string{""}, 22) }

func TestTVM(t *testing.T) { agree(t, "tvm", "", []string{""}, 12) }

// TestFixedInput runs a model that is refused for its If where what the If asks for is fixed.
func TestFixedInput(t *testing.T) {
	const path = "../../../shared/models/silero-vad.onnx"
	if _, err := os.Stat(path); err != nil {
		t.Skip("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	ctx := context.Background()
	c, err := targettest.Prepare(ctx, path, "input=[1,512] state=[2,1,128]", "set-input{sr=16000}", native.New())
	require.NoError(t, err)
	for _, k := range consumer.All() {
		if k.Target == "tvm" { // which has no LSTM
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			target, _ := all.Lookup(k.Target)
			e, err := c.Emit(ctx, target, "", t.TempDir())
			require.NoError(t, err)
			_, _, err = c.Run(ctx, k, python(t, k), "", e.Path(""))
			assert.NoError(t, err)
		})
	}
}

// TestSessionOptions gives the session options that are written to ONNX Runtime in the metadata ort_config, which it checks, and opens
// the model with the script beside it.
func TestSessionOptions(t *testing.T) {
	p := python(t, consumer.Lookup("onnxruntime"))
	ctx := context.Background()
	target, _ := all.Lookup("onnxruntime")
	each(t, "", func(t *testing.T, c *targettest.Case) bool {
		if c.Name != "digits" && c.Name != "resnet8-cifar10-int8qdq" {
			return false
		}
		e, err := c.Emit(ctx, target, "{threads=1}", t.TempDir())
		require.NoError(t, err)
		const check = `
import sys, onnx, onnxruntime
m = onnx.load(sys.argv[1])
del m.metadata_props[:]
p = m.metadata_props.add()
p.key, p.value = 'ort_config', open(sys.argv[2]).read()
s = onnxruntime.InferenceSession(m.SerializeToString(), providers=['CPUExecutionProvider'])
assert s.get_session_options().intra_op_num_threads == 1, s.get_session_options().intra_op_num_threads
`
		cmd := exec.Command(p, "-c", check, e.Path(""), e.Path(".session.json"))
		cmd.Env = append(os.Environ(), "ORT_LOAD_CONFIG_FROM_MODEL=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.NotContains(t, string(out), "Error")
		out, err = exec.Command(p, e.Path(".session.py")).CombinedOutput()
		require.NoError(t, err, "%s", out)
		for name := range c.Inputs {
			assert.Contains(t, string(out), "input "+name+":")
		}
		return true
	})
}

// TestTensorRT builds an engine of every model that TensorRT for RTX takes, with the script that is written for it. No engine can run
// without a graphics processor.
func TestTensorRT(t *testing.T) {
	python := os.Getenv("ONNXOPT_TENSORRT")
	if python == "" {
		t.Skip("left out: TensorRT for RTX is not here; .ci/run installs it, or ONNXOPT_TENSORRT names a Python that has tensorrt_rtx_bindings")
	}
	refused := rows(t, "testdata/tensorrt-refused.tsv")
	dir := t.TempDir()
	target, _ := all.Lookup("tensorrt")
	built, of := each(t, "", func(t *testing.T, c *targettest.Case) bool {
		e, err := c.Emit(context.Background(), target, "", dir)
		why, bad := refused[c.Name]
		if bad && err != nil {
			require.ErrorContains(t, err, why)
			t.Logf("refused: %.160s", err)
			return false
		}
		require.NoError(t, err)
		out, err := exec.Command(python, e.Path(".build.py")).CombinedOutput()
		if bad { // what only the consumer finds
			require.Error(t, err)
			require.Contains(t, string(out), why)
			t.Logf("refused by TensorRT: %.160s", why)
			return false
		}
		require.NoError(t, err, "%s", out)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
		return true
	})
	assert.False(t, of > 20 && built < 19, "%d engines built", built)
}
