package onnxio_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// TestStop: a write that is stopped at any piece leaves the folder as it was.
func TestStop(t *testing.T) {
	m := ir.NewModel(8, 18)
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(1<<17)))
	for range 3 {
		w := m.Main.Const(ir.TensorOf(make([]float32, 1<<17)))
		x = m.Main.New(nil, ir.Op("Add"), []*ir.Value{x, w}).Result(0)
	}
	m.Main.AddOutput("y", x, nil)
	for _, layout := range []onnxio.DataLayout{onnxio.DataInline, onnxio.DataExternal} {
		for pieces := 0; ; pieces++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "m.onnx")
			require.NoError(t, os.WriteFile(path, []byte("old"), 0o666))
			stopped, left := errors.New("stopped"), pieces
			_, err := onnxio.WriteFile(path, m, onnxio.WriteOptions{Data: layout, Stop: func() error {
				if left--; left < 0 {
					return stopped
				}
				return nil
			}})
			if err == nil {
				require.Positive(t, pieces)
				break
			}
			require.ErrorIs(t, err, stopped)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "old", string(b))
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, files, 1)
		}
	}
}
