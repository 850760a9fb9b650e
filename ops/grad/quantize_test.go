package grad_test

import (
	"context"
	"math"
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

// TestStraightThroughBlocks: each scale gets the sum over its block, the last of which is shorter.
func TestStraightThroughBlocks(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 10, opset_import: ["" : 21]>
f (float[2,5] x, float[2,2] s, float[2,5] w) => (float loss) {
  z = Constant<value = int8[2,2] {0, 1, 0, 0}>()
  q = QuantizeLinear<axis = 1, block_size = 3>(x, s, z)
  y = DequantizeLinear<axis = 1, block_size = 3>(q, s, z)
  yw = Mul(y, w)
  loss = ReduceSum<keepdims = 0>(yw)
}`))
	require.NoError(t, err)
	require.NoError(t, grad.Append(m, grad.Options{Loss: "loss", Params: []string{"x", "s"}}))
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	x, scale := []float32{.3, -.8, 1, 2.2, 100, .1, .2, 500, -.4, -.6}, []float32{.5, .25, 1, 2}
	w := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	out := run(t, s, map[string]ir.Datum{"x": ir.TensorOf(x, 2, 5), "s": ir.TensorOf(scale, 2, 2), "w": ir.TensorOf(w, 2, 5)})
	want, wantX := make([]float32, 4), make([]float32, 10)
	zero := []float64{0, 1, 0, 0}
	for i, v := range x {
		k := i/5*2 + i%5/3
		q := math.RoundToEven(float64(v)/float64(scale[k])) + zero[k]
		if q < -128 || q > 127 {
			want[k] += w[i] * float32(min(max(q, -128), 127)-zero[k])
			continue
		}
		wantX[i] = w[i]
		want[k] += w[i] * float32(q-zero[k]-float64(v)/float64(scale[k]))
	}
	gx, err := ir.Elements[float32](out["x.grad"].(*ir.Tensor))
	require.NoError(t, err)
	require.Equal(t, wantX, gx)
	gs, err := ir.Elements[float32](out["s.grad"].(*ir.Tensor))
	require.NoError(t, err)
	require.Equal(t, []int64{2, 2}, out["s.grad"].(*ir.Tensor).Shape())
	for i := range want {
		require.InDelta(t, want[i], gs[i], 1e-3)
	}
}
