package ort_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine/ort"
)

func touch(t *testing.T, path string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte("not a library"), 0o644))
	return path
}

func TestFindLooksBelowRootsInOrder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("file names of Linux")
	}
	venv, release := filepath.Join(t.TempDir(), "a [1] venv"), t.TempDir()
	touch(t, filepath.Join(venv, "lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.9.0"))
	newest := touch(t, filepath.Join(venv, "lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.20.1"))
	touch(t, filepath.Join(venv, "lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime_providers_shared.so"))
	touch(t, filepath.Join(release, "lib/libonnxruntime.so"))
	got, err := ort.Find("", t.TempDir(), venv, release)
	require.NoError(t, err)
	assert.Equal(t, newest, got)
	got, err = ort.Find(release, venv)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(release, "lib/libonnxruntime.so"), got)
	got, err = ort.Find(newest)
	require.NoError(t, err)
	assert.Equal(t, newest, got)
}

func TestFindSaysWhereItLooked(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.so")
	_, err := ort.Find(missing)
	assert.ErrorContains(t, err, "no ONNX Runtime library at "+missing)
	assert.ErrorContains(t, err, "pip install onnxruntime")
	empty := t.TempDir()
	_, err = ort.Find(empty)
	assert.ErrorContains(t, err, "no ONNX Runtime library in the folder "+empty)
	if path, err := ort.Find("", empty); err != nil {
		assert.ErrorContains(t, err, "looked below "+empty)
		assert.ErrorContains(t, err, "pip install onnxruntime")
	} else {
		assert.NotContains(t, path, empty)
	}
}

func TestPythonRoots(t *testing.T) {
	root := t.TempDir()
	real := touch(t, filepath.Join(root, "usr", "bin", "python3.12"))
	link := filepath.Join(root, "venv", "bin", "python3")
	require.NoError(t, os.MkdirAll(filepath.Dir(link), 0o755))
	if err := os.Symlink(real, link); err != nil {
		t.Skip("no symbolic links here")
	}
	target, err := filepath.EvalSymlinks(filepath.Join(root, "usr"))
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(root, "venv"), target}, ort.PythonRoots(link))
	version := touch(t, filepath.Join(root, ".pyenv", "versions", "3.12.1", "bin", "python3"))
	touch(t, filepath.Join(root, ".pyenv", "shims", "python3"))
	assert.Contains(t, ort.PythonRoots(filepath.Join(root, ".pyenv", "shims", "python3")), filepath.Dir(filepath.Dir(version)))
	assert.Empty(t, ort.PythonRoots(""))
}

func TestOpenRefusesWhatIsNoLibrary(t *testing.T) {
	path := touch(t, filepath.Join(t.TempDir(), "libonnxruntime.so"))
	_, err := ort.Open(path, ort.Options{Write: write})
	assert.ErrorContains(t, err, path+" cannot be opened as a library")
}

func TestProbe(t *testing.T) {
	path := findLibrary(t)
	i, err := ort.Probe(path)
	require.NoError(t, err)
	assert.Contains(t, i.Providers, "CPUExecutionProvider")
	assert.Regexp(t, `^ONNX Runtime 1\.\d+\.\d+ \(API \d+; .*CPUExecutionProvider.*\) at `, i.String())
}

func TestLevels(t *testing.T) {
	for l := ort.All; l <= ort.Off; l++ {
		parsed, err := ort.ParseLevel(l.String())
		require.NoError(t, err)
		assert.Equal(t, l, parsed)
	}
	_, err := ort.ParseLevel("most")
	assert.Error(t, err)
}

// With build tag static nothing may be linked that needs the system's loader.
func TestStaticBuildHasNoLoader(t *testing.T) {
	deps := func(tags string) string {
		b, err := exec.Command("go", "list", "-deps", "-tags", tags, ".").CombinedOutput()
		require.NoError(t, err, string(b))
		return string(b)
	}
	assert.False(t, strings.Contains(deps("static"), "purego"))
	if runtime.GOOS == "linux" || runtime.GOOS == "darwin" {
		assert.True(t, strings.Contains(deps(""), "purego"))
	}
}
