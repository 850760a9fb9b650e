package infer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestOptimizedByONNXRuntime infers what ONNX Runtime's levels 2 and 3 make of real models, without any recorded type: values that bear the
// name of a value of the original have its type, and all others have a type at least.
func TestOptimizedByONNXRuntime(t *testing.T) {
	python := os.Getenv("ONNXOPT_PYTHON")
	if python == "" || testing.Short() {
		t.Skip("left out: ONNXOPT_PYTHON names no Python that has onnx and onnxruntime (.ci/run makes one)")
	}
	files, err := filepath.Glob(filepath.Join(conformance.Shared(t, "models"), "*.onnx"))
	require.NoError(t, err)
	dir := t.TempDir()
	args := []string{"testdata/ort_levels.py", dir}
	for _, p := range files {
		if info, err := os.Stat(p); err == nil && info.Size() < 8<<20 {
			args = append(args, p)
		}
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	same, fused := 0, 0
	for _, p := range args[2:] {
		want := types(t, p, false)
		for _, level := range []string{".2.onnx", ".3.onnx"} {
			name := strings.TrimSuffix(filepath.Base(p), ".onnx") + level
			for value, typ := range types(t, filepath.Join(dir, name), true) {
				w, old := want[value]
				switch {
				case typ == nil:
					t.Errorf("%s: nothing is known of %q", name, value)
				case !old:
					fused++
				case !typ.Equal(w):
					t.Errorf("%s: %q is %s, in the original %s", name, value, typ, w)
				default:
					same++
				}
			}
		}
	}
	t.Logf("%d values of the original, %d others", same, fused)
	require.Greater(t, same, 3000)
	require.Greater(t, fused, 1000)
}

// types are the inferred types of the results of a model's main graph by name, recorded types forgotten if bare.
func types(t *testing.T, path string, bare bool) map[string]*ir.Type {
	f, err := onnxio.Open(path, onnxio.Options{})
	require.NoError(t, err, path)
	defer f.Close()
	if bare {
		for n := range f.Model.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					v.SetType(nil)
				}
			}
		}
	}
	r, m := infer.Model(f.Model), map[string]*ir.Type{}
	for n := range f.Model.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				m[v.Name()] = r.Type(v)
			}
		}
	}
	return m
}
