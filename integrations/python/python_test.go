// Package python tests the Python package: wheels are built, installed without an index, and used.
package python

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// python is one that has onnx, numpy and pip.
func python(t *testing.T) string {
	for _, name := range []string{os.Getenv("ONNXOPT_PYTHON"), "python3"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "-c", "import onnx, numpy, pip").Run() == nil {
			return path
		}
	}
	t.Skip("left out: there is no Python with onnx, numpy and pip; .ci/run installs one, or ONNXOPT_PYTHON names it")
	return ""
}

func TestWheels(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: it builds wheels")
	}
	py := python(t)
	platform := runtime.GOOS + "/" + runtime.GOARCH
	dist := t.TempDir()
	sh := func(env []string, args ...string) string {
		t.Helper()
		c := exec.Command(args[0], args[1:]...)
		c.Env = append(os.Environ(), env...)
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	sh(nil, py, "build.py", "--out", dist, "--only", "any", platform)
	wheels, err := filepath.Glob(filepath.Join(dist, "*.whl"))
	require.NoError(t, err)
	require.Len(t, wheels, 2)
	again := t.TempDir()
	sh(nil, py, "build.py", "--out", again, "--only", "any", platform)
	for _, w := range wheels {
		a, err := os.ReadFile(w)
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(again, filepath.Base(w)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), "%s is not reproducible", filepath.Base(w))
	}
	bin := ""
	for _, any := range []bool{false, true} {
		target := t.TempDir()
		for _, w := range wheels {
			if strings.Contains(w, "-any.whl") == any {
				sh(nil, py, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--target", target, w)
			}
		}
		env := []string{"PYTHONPATH=" + target, "ONNXOPT=", "PATH=" + filepath.Dir(bin) + string(os.PathListSeparator) + os.Getenv("PATH")}
		sh(env, py, filepath.Join("tests", "test_onnxopt.py"))
		if !any {
			t.Log(sh(env, py, filepath.Join("tests", "test_page.py"))) // docs/python.md
		}
		if !any {
			bin = filepath.Join(target, "onnxopt", "bin", "onnxopt") // which the wheel without one finds on the PATH
		}
	}
}
