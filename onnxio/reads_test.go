package onnxio

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counted is a payload that counts how often it is read.
type counted struct {
	b     []byte
	reads *int
}

func (c counted) Bytes() ([]byte, error)   { *c.reads++; return c.b, nil }
func (counted) Strings() ([]string, error) { return nil, io.ErrUnexpectedEOF }
func (counted) Uncached()                  {}

// A write reads the elements of each constant once, whatever the layout, also where the model turns out to be too large for one
// file and where tied constants are written.
func TestReadsPerWrite(t *testing.T) {
	const n = 50
	model := func(reads []int) *ir.Model {
		m := ir.NewModel(8, 17)
		v := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(1000)))
		for i := range n {
			w := ir.NewLazyTensor(ir.Float32, []int64{1000}, counted{make([]byte, 4000), &reads[i]})
			for range 2 {
				v = m.Main.New(nil, ir.Op("Add"), []*ir.Value{v, m.Main.Const(w)}).Result(0)
			}
		}
		m.Main.AddOutput("y", v, v.Type())
		return m
	}
	for name, c := range map[string]struct {
		o    WriteOptions
		want int
	}{
		"one file":  {WriteOptions{Data: DataInline}, 2}, // it holds them twice
		"data file": {WriteOptions{Data: DataExternal}, 1},
		"shards":    {WriteOptions{Data: DataExternal, Shard: 10_000}, 1},
		"too large": {WriteOptions{Limit: 100_000}, 1},
	} {
		reads := make([]int, n)
		path := filepath.Join(t.TempDir(), "m.onnx")
		mustWrite(t, path, model(reads), c.o)
		for i, k := range reads {
			require.Equal(t, c.want, k, "%s: constant %d", name, i)
		}
		again := mustOpen(t, path, Options{})
		assert.Len(t, constants(t, again.Model), 2*n, name)
	}
}
