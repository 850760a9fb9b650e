package onnxio

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// crashModel is one of two models with data files; its number is the first element of every weight.
func crashModel(k int) *ir.Model {
	m := ir.NewModel(8, 17)
	const n = 1 << 16
	typ := ir.TensorType(ir.Float32, ir.StaticShape(n))
	v := m.Main.AddInput("x", typ)
	for range 4 {
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(k)
		}
		v = m.Main.New(nil, ir.Op("Add"), []*ir.Value{v, m.Main.Const(ir.TensorOf(w))}).Result(0)
	}
	m.Main.AddOutput("y", v, typ)
	return m
}

// crashPath tells the child process of TestKilledWriter where to write.
const crashPath = "ONNXIO_TEST_CRASH_PATH"

// A process that is killed while it replaces a model leaves the old model or the new one, whole and with its data.
func TestKilledWriter(t *testing.T) {
	if path := os.Getenv(crashPath); path != "" {
		writeForever(t, path)
	}
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("left out: processes are killed")
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	mustWrite(t, path, crashModel(0), WriteOptions{Data: DataExternal, Shard: 300_000})
	seen := map[float32]int{}
	for range 40 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		child.Env = append(os.Environ(), crashPath+"="+path)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		_, err = bufio.NewReader(out).ReadByte() // it has written once
		require.NoError(t, err)
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		require.NoError(t, child.Process.Kill())
		_ = child.Wait() // the error is that it was killed

		seen[wholeModel(t, path)]++
	}
	assert.Len(t, seen, 2, "the processes were killed at different times: %v", seen)
}

// wholeModel reads one of the models of crashModel, checks that all of it is of one, and says of which.
func wholeModel(t *testing.T, path string) float32 {
	f, err := Open(path, Options{})
	require.NoError(t, err)
	cs := constants(t, f.Model)
	require.Len(t, cs, 4)
	for _, c := range cs {
		for _, v := range c {
			require.InDelta(t, cs[0][0], v, 0, "parts of two models")
		}
	}
	require.NoError(t, f.Close())
	return cs[0][0]
}

// writeForever writes one model and the other in turn until the process is killed.
func writeForever(t *testing.T, path string) {
	models := []*ir.Model{crashModel(1), crashModel(2)}
	for i := 0; ; i++ {
		mustWrite(t, path, models[i%2], WriteOptions{Data: DataExternal, Shard: 300_000})
		if i == 0 {
			os.Stdout.WriteString("\n")
		}
	}
}
