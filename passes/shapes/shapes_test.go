package shapes_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/shapes"
)

func TestPass(t *testing.T) { passtest.Run(t, shapes.Pass) }

// TestWritten records the types of a model, writes it and reads it again: what is recorded is in the file, and goes again without a trace.
func TestWritten(t *testing.T) {
	f, err := onnxio.Open("../../testdata/digits/digits.onnx", onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	reg, err := passes.NewRegistry(shapes.Pass)
	require.NoError(t, err)
	run := func(m *ir.Model, text string) *ir.Model {
		p, err := reg.Parse(text)
		require.NoError(t, err)
		_, err = p.Run(context.Background(), m, passes.Config{})
		require.NoError(t, err)
		g, err := onnxio.Read(written(t, m), onnxio.Options{})
		require.NoError(t, err)
		return g.Model
	}
	bare := run(f.Model, "shapes{drop=all}")
	typed, inner := 0, 0
	recorded := run(bare, "shapes")
	for n := range recorded.Nodes() {
		for _, v := range n.Results() {
			if v != nil && !v.IsOutput() && v.Const() == nil {
				inner++
				if v.Type().IsTensor() {
					typed++
				}
			}
		}
	}
	require.Positive(t, inner)
	require.Equal(t, inner, typed)
	again := run(recorded, "shapes{drop=all}")
	before := written(t, again)
	require.Equal(t, before, written(t, run(again, "shapes{drop=known}")))
	for n := range again.Nodes() {
		for _, v := range n.Results() {
			require.True(t, v == nil || v.IsOutput() || v.Type() == nil, "%s", n)
		}
	}
}

func written(t *testing.T, m *ir.Model) []byte {
	var b bytes.Buffer
	_, err := onnxio.Write(&b, m, onnxio.WriteOptions{})
	require.NoError(t, err)
	return b.Bytes()
}
