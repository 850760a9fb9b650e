package grad_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/grad"
)

// TestStraightThrough: what is rounded passes the derivative on, what saturates does not, and the scale has round(x/s) − x/s, or the limit.
func TestStraightThrough(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 10, opset_import: ["" : 21]>
f (float[4] x, float s) => (float loss) {
  z = Constant<value = int8 {0}>()
  q = QuantizeLinear(x, s, z)
  y = DequantizeLinear(q, s, z)
  loss = ReduceSum<keepdims = 0>(y)
}`))
	require.NoError(t, err)
	require.NoError(t, grad.Append(m, grad.Options{Loss: "loss", Params: []string{"x", "s"}}))
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	out := run(t, s, map[string]ir.Datum{"x": ir.TensorOf([]float32{.3, -.8, 100, -100}), "s": ir.ScalarOf(float32(.5))})
	x, err := ir.Elements[float32](out["x.grad"].(*ir.Tensor))
	require.NoError(t, err)
	require.Equal(t, []float32{1, 1, 0, 0}, x)
	scale, err := ir.Elements[float32](out["s.grad"].(*ir.Tensor))
	require.NoError(t, err)
	require.InDelta(t, (1-.6)+(-2+1.6)+127-128, float64(scale[0]), 1e-5)
}
