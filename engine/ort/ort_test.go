package ort_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// findLibrary looks for ONNX Runtime where ONNXOPT_ORT_LIB, ONNXOPT_PYTHON or the python3 of the PATH say.
func findLibrary(tb testing.TB) string {
	tb.Helper()
	var roots []string
	for _, name := range []string{os.Getenv("ONNXOPT_PYTHON"), "python3"} {
		if python, err := exec.LookPath(name); err == nil {
			roots = append(roots, ort.PythonRoots(python)...)
		}
	}
	path, err := ort.Find(os.Getenv("ONNXOPT_ORT_LIB"), roots...)
	if err != nil {
		tb.Skip("left out: no ONNX Runtime library; .ci/run installs one, or ONNXOPT_ORT_LIB names its file")
	}
	return path
}

func write(w io.Writer, m *ir.Model) error {
	_, err := onnxio.Write(w, m, onnxio.WriteOptions{Data: onnxio.DataInline})
	return err
}

func writeFile(path string, m *ir.Model) error {
	_, err := onnxio.WriteFile(path, m, onnxio.WriteOptions{Data: onnxio.DataExternal})
	return err
}

func open(tb testing.TB, o ort.Options) *ort.Engine {
	tb.Helper()
	path := findLibrary(tb)
	o.Write = write
	e, err := ort.Open(path, o)
	require.NoError(tb, err)
	return e
}

func load(tb testing.TB, e engine.Engine, m *ir.Model, o engine.Options) engine.Session {
	tb.Helper()
	s, err := e.Load(context.Background(), m, o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

func floats(tb testing.TB, d ir.Datum) []float32 {
	tb.Helper()
	require.IsType(tb, &ir.Tensor{}, d)
	v, err := ir.Elements[float32](d.(*ir.Tensor))
	require.NoError(tb, err)
	return v
}
