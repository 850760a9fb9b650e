package onnxio

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
)

// eachModel calls f for the models of the conformance archives and, where they are, for the real ones of the shared material.
func eachModel(t testing.TB, f func(name string, b []byte)) {
	for archive, want := range map[string]int{"onnx-node-tests": conformance.NodeTests, "onnx-model-tests": conformance.ModelTests} {
		n := 0
		for name, b := range conformance.Files(t, conformance.Archive(t, archive)) {
			if strings.HasSuffix(name, ".onnx") {
				n++
				f(name, b)
			}
		}
		require.Equal(t, want, n, archive)
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "shared", "models", "*.onnx"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Log("the real models are not here")
	}
	for _, p := range files {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		f(filepath.Base(p), b)
	}
}

func mustRead(t testing.TB, b []byte, o Options) *File {
	t.Helper()
	f, err := Read(b, o)
	require.NoError(t, err)
	require.NoError(t, ir.Verify(f.Model))
	return f
}

// bytesOf writes m with every element where it is.
func bytesOf(t testing.TB, m *ir.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := Write(&b, m, WriteOptions{Data: DataKeep})
	require.NoError(t, err)
	return b.Bytes()
}

func everything(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/everything.onnx")
	require.NoError(t, err)
	return b
}
