package infer_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// readJSON decodes a .json.gz file.
func readJSON(t testing.TB, path string, v any) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(z).Decode(v))
}

// nodeTests calls f for each node test: its name and its files by name within its folder.
func nodeTests(t testing.TB, f func(name string, files map[string][]byte)) {
	require.Equal(t, conformance.NodeTests, eachTest(t, conformance.Archive(t, "onnx-node-tests"), f), "node tests")
}

// modelTests is nodeTests for the model tests.
func modelTests(t testing.TB, f func(name string, files map[string][]byte)) {
	require.Equal(t, conformance.ModelTests, eachTest(t, conformance.Archive(t, "onnx-model-tests"), f), "model tests")
}

func eachTest(t testing.TB, archive string, f func(name string, files map[string][]byte)) (n int) {
	for name, test := range conformance.Tests(t, archive) {
		n++
		f(name, test)
	}
	return n
}

// sharedModels calls f for the real models.
func sharedModels(t testing.TB, f func(name string, m *ir.Model)) {
	files, err := filepath.Glob(filepath.Join(conformance.Shared(t, "models"), "*.onnx"))
	require.NoError(t, err)
	require.Len(t, files, 22)
	for _, p := range files {
		file, err := onnxio.Open(p, onnxio.Options{})
		require.NoError(t, err, p)
		f(filepath.Base(p), file.Model)
		require.NoError(t, file.Close())
	}
}

// read reads a model that must be well-formed.
func read(t testing.TB, name string, b []byte) *ir.Model {
	f, err := onnxio.Read(b, onnxio.Options{})
	require.NoError(t, err, name)
	return f.Model
}
