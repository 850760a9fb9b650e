// Package orttest gives tests ONNX Runtime, where the machine has it.
package orttest

import (
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// Engines are ONNX Runtime without its own optimizations and with all of them; none, and a line in the log, where it is not found. It is
// looked for where ONNXOPT_ORT_LIB, ONNXOPT_PYTHON and the python3 of the PATH say.
func Engines(tb testing.TB) []engine.Engine {
	tb.Helper()
	var roots []string
	for _, name := range []string{os.Getenv("ONNXOPT_PYTHON"), "python3"} {
		if python, err := exec.LookPath(name); err == nil {
			roots = append(roots, ort.PythonRoots(python)...)
		}
	}
	path, err := ort.Find(os.Getenv("ONNXOPT_ORT_LIB"), roots...)
	if err != nil {
		tb.Log("left out: the runs in ONNX Runtime: no library; .ci/run installs one, or ONNXOPT_ORT_LIB names its file")
		return nil
	}
	var r []engine.Engine
	for _, level := range []ort.Level{ort.Off, ort.All} {
		e, err := ort.Open(path, ort.Options{Optimization: level, Write: func(w io.Writer, m *ir.Model) error {
			_, err := onnxio.Write(w, m, onnxio.WriteOptions{Data: onnxio.DataInline})
			return err
		}})
		if err != nil {
			tb.Fatal(err)
		}
		r = append(r, e)
	}
	return r
}
