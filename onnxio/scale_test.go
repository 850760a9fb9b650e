package onnxio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chain is the bytes of a model of n nodes, Relu and Identity in turn, with value_info for each.
func chain(t testing.TB, n int) []byte {
	m := ir.NewModel(8, 17)
	typ := ir.TensorType(ir.Float32, ir.StaticShape(4))
	v := m.Main.AddInput("x", typ)
	for i := range n {
		op := ir.Op("Relu")
		if i%2 == 1 {
			op = ir.Op("Identity")
		}
		node := m.Main.New(nil, op, []*ir.Value{v})
		node.SetName(fmt.Sprintf("/layers.%d/%s", i, op))
		v = node.Result(0)
		v.SetName(fmt.Sprintf("/layers.%d/%s_output_0", i, op))
		v.SetType(typ)
	}
	m.Main.AddOutput("y", v, typ)
	return bytesOf(t, m)
}

func BenchmarkReadEliminateWrite(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		src := chain(b, n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				f, err := Read(src, Options{})
				require.NoError(b, err)
				eliminate(f.Model)
				_, err = Write(io.Discard, f.Model, WriteOptions{})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/node")
		})
	}
}

// 100,000 nodes take no more than a few seconds, even in a slow place; a quadratic step would take hours.
func TestManyNodes(t *testing.T) {
	start := time.Now()
	src := chain(t, 100000)
	f := mustRead(t, src, Options{})
	assert.Equal(t, src, bytesOf(t, f.Model))
	assert.Equal(t, 50000, eliminate(f.Model))
	out := bytesOf(t, f.Model)
	assert.Equal(t, 50000, mustRead(t, out, Options{}).Model.Main.NumNodes())
	assert.Less(t, time.Since(start), 30*time.Second)
}

// bigModel writes a model whose k weights are holes of the given size in the file, so that it takes no place on the disk.
func bigModel(t testing.TB, path string, k int, size int64) {
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	m := ir.NewModel(8, 17)
	typ := ir.TensorType(ir.Float32, ir.StaticShape(size/4))
	v := m.Main.AddInput("x", typ)
	for i := range k {
		w := m.Main.NamedConst(fmt.Sprintf("w%d", i), ir.NewLazyTensor(ir.Float32, []int64{size / 4}, hole(size)))
		v = m.Main.New(nil, ir.Op("Add"), []*ir.Value{v, w}).Result(0)
		v = m.Main.New(nil, ir.Op("Identity"), []*ir.Value{v}).Result(0)
	}
	m.Main.AddOutput("y", v, typ)
	w, err := newWriter(m)
	require.NoError(t, err)
	w.data = &dataPlan{}
	r, err := w.model()
	require.NoError(t, err)
	// Every run of bytes above a page is a hole.
	_, err = r.WriteTo(holeWriter{f})
	require.NoError(t, err)
	at, err := f.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(at))
}

type hole int64

func (h hole) Bytes() ([]byte, error)   { return make([]byte, h), nil }
func (hole) Strings() ([]string, error) { return nil, os.ErrInvalid }
func (hole) Uncached()                  {}

type holeWriter struct{ f *os.File }

func (w holeWriter) Write(b []byte) (int, error) {
	if len(b) < 1<<20 {
		return w.f.Write(b)
	}
	_, err := w.f.Seek(int64(len(b)), io.SeekCurrent)
	return len(b), err
}

// anonymous is the process's anonymous memory in bytes.
func anonymous(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("left out: /proc/self/status is not here")
	}
	_, s, ok := strings.Cut(string(b), "RssAnon:")
	require.True(t, ok)
	n, err := strconv.ParseInt(strings.Fields(s)[0], 10, 64)
	require.NoError(t, err)
	return n << 10
}

// peakAnonymous is how much the process's anonymous memory grows at most while f runs.
func peakAnonymous(t testing.TB, f func()) int64 {
	debug.FreeOSMemory()
	before := anonymous(t)
	peak := before
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				peak = max(peak, anonymous(t))
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return peak - before
}

// A model much larger than the memory it may take is read, edited and written: into one file, and above 2 GiB into a data file.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: -short")
	}
	for weights, files := range map[int]int{8: 0, 33: 1} {
		t.Run(strconv.Itoa(weights), func(t *testing.T) {
			const size = int64(64 << 20)
			dir := t.TempDir()
			if need := int64(weights) * size * 3; freeSpace(dir) < need {
				t.Skipf("left out: the disk has less than %d bytes", need)
			}
			path := filepath.Join(dir, "big.onnx")
			bigModel(t, path, weights, size)
			var w *Written
			grown := peakAnonymous(t, func() {
				f := mustOpen(t, path, Options{})
				assert.Equal(t, weights, eliminate(f.Model))
				w = mustWrite(t, filepath.Join(dir, "out.onnx"), f.Model, WriteOptions{})
			})
			assert.Len(t, w.Data, files)
			assert.Equal(t, files == 0, w.Bytes > int64(weights)*size)
			assert.Less(t, grown, int64(16<<20), "anonymous memory for %d weights of %d bytes", weights, size)
		})
	}
}

// Packed numbers that claim to be many are refused before anything is allocated for them.
func TestHugeClaims(t *testing.T) {
	for _, n := range []uint64{1 << 40, 1 << 62} {
		b := append(varints(1, n), varints(2, uint64(ir.Int64))...)
		_, err := ReadTensor(append(b, packed(7, 1)...))
		require.ErrorContains(t, err, "needs")
	}
	head := binary.AppendUvarint([]byte{7<<3 | 2}, 1<<62)
	_, err := Read(append([]byte{8, 8}, head...), Options{})
	require.ErrorContains(t, err, "byte 2")
	var located *wire.Error
	require.ErrorAs(t, err, &located)
	assert.Equal(t, 2, located.Offset)
}

func FuzzRead(f *testing.F) {
	b, err := os.ReadFile("testdata/everything.onnx")
	require.NoError(f, err)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add(chain(f, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Read(b, Options{})
		if err != nil {
			return
		}
		if err := ir.Verify(r.Model); err != nil {
			return
		}
		// What was read can be written, and what is written is read and written the same.
		var out bytes.Buffer
		if _, err := Write(&out, r.Model, WriteOptions{}); err != nil {
			return
		}
		again, err := Read(out.Bytes(), Options{})
		require.NoError(t, err)
		var twice bytes.Buffer
		_, err = Write(&twice, again.Model, WriteOptions{})
		require.NoError(t, err)
		require.True(t, bytes.Equal(out.Bytes(), twice.Bytes()))
		for _, g := range r.Model.Graphs() {
			for _, c := range g.Consts() {
				if c.Const().ByteLen() < 1<<20 {
					_, _ = c.Const().Bytes()
				}
			}
		}
	})
}
