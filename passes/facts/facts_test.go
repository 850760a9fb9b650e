package facts_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

func TestFacts(t *testing.T) {
	m, err := text.ParseGraph([]byte(`g (float[N,4] x) => (y) <int64[2] to = {-1, 2}> { a = Shape (x) r = Reshape (x, to) y = Neg (r) }`), ir.Opset{Version: 17})
	require.NoError(t, err)
	n := m.Main.NodeList()
	run(t, m, func(c *passes.Context) {
		f, err := facts.Of(c)
		require.NoError(t, err)
		r, y := n[1].Result(0), n[2].Result(0)
		assert.Equal(t, "float[2*N,2]", f.Type(y).String())
		assert.True(t, f.SameShape(r, y))
		assert.Equal(t, ir.Float32, f.DType(y))
		assert.Equal(t, "[2*N,2]", f.Shape(r).String())
		ints, ok := f.Ints(n[0].Result(0))
		require.True(t, ok)
		dims, ok := f.Dims(m.Main.Inputs()[0].Value())
		require.True(t, ok)
		assert.True(t, ints[0].Same(dims[0]))
		assert.NotNil(t, f.Known(m.Main.Consts()[0]))
		assert.Nil(t, f.Type(nil))

		var made *ir.Value
		c.Rewrite("p", n[2], nil, func() { made = m.Main.New(n[2], ir.Op("Abs"), []*ir.Value{y}).Result(0) })
		again, err := facts.Of(c)
		require.NoError(t, err)
		assert.Same(t, f, again, "a rewrite makes no fact untrue")
		assert.Equal(t, "float[2*N,2]", f.Type(made).String(), "it was made after inference")

		m.Main.Inputs()[0].SetType(ir.TensorType(ir.Float32, ir.StaticShape(3, 4)))
		f, err = facts.Of(c)
		require.NoError(t, err)
		assert.Equal(t, "float[6,2]", f.Type(y).String(), "a type was changed")
	})
}

// run calls f as a pass over m.
func run(t *testing.T, m *ir.Model, f func(*passes.Context)) {
	p := passes.Define(passes.Info{Name: "p", Doc: "a pass"}, struct{}{}, func(c *passes.Context, _ *ir.Model, _ struct{}) error {
		f(c)
		return nil
	})
	reg, err := passes.NewRegistry(p)
	require.NoError(t, err)
	pipe, err := reg.Parse("p")
	require.NoError(t, err)
	_, err = pipe.Run(context.Background(), m, passes.Config{})
	require.NoError(t, err)
}
