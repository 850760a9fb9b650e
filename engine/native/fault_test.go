//go:build linux

package native_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// A mapped file that somebody cuts off while an executor or a kernel reads it is an error under onnxio.Guard, on every thread.
func TestFault(t *testing.T) {
	const size = 1 << 20
	for _, e := range []engine.Engine{native.New(), native.Portable()} {
		for _, threads := range []int{1, 4} {
			f, err := os.Create(filepath.Join(t.TempDir(), "weights"))
			require.NoError(t, err)
			defer f.Close()
			require.NoError(t, f.Truncate(4*size))
			b, err := syscall.Mmap(int(f.Fd()), 0, 4*size, syscall.PROT_READ, syscall.MAP_SHARED)
			require.NoError(t, err)
			defer syscall.Munmap(b)
			m := ir.NewModel(10, 17)
			x := m.Main.AddInput("x", ir.ScalarOf(float32(1)).Type())
			w := m.Main.Const(ir.NewTensor(ir.Float32, []int64{size}, b))
			m.Main.AddOutput("y", m.Main.New(nil, ir.Op("Add"), []*ir.Value{x, w}).Result(0), nil)
			s, err := e.Load(context.Background(), m, engine.Options{Threads: threads})
			require.NoError(t, err)
			in := map[string]ir.Datum{"x": ir.ScalarOf(float32(1))}
			_, err = s.Run(context.Background(), in)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(size))
			err = onnxio.Guard(func() error {
				_, err := s.Run(context.Background(), in)
				return err
			})
			require.EqualError(t, err, "a file changed or was closed while it was read")
		}
	}
}
