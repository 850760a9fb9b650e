package cost_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestSeconds: less arithmetic, fewer bytes, fewer nodes and integers take less time, and what only renames takes none.
func TestSeconds(t *testing.T) {
	seconds := func(src string) float64 {
		m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 17]> ` + src))
		require.NoError(t, err)
		return cost.Seconds(m, cost.Options{Types: infer.Model(m).Type}, cost.CPU())
	}
	big := seconds(`g (float[1,64,32,32] x, float[64,64,3,3] w) => (float[1,64,30,30] y) { y = Conv (x, w) }`)
	small := seconds(`g (float[1,64,32,32] x, float[32,64,3,3] w) => (float[1,32,30,30] y) { y = Conv (x, w) }`)
	require.InDelta(t, .5, small/big, .1)
	integers := seconds(`g (uint8[1,64,32,32] x, int8[64,64,3,3] w) => (uint8[1,64,30,30] y) <float s = {0.1}, uint8 z = {0}, int8 k = {0}> {
		a = DequantizeLinear (x, s, z)
		b = DequantizeLinear (w, s, k)
		c = Conv (a, b)
		y = QuantizeLinear (c, s, z)
	}`)
	require.Less(t, integers, big/2)
	moved := seconds(`g (float[1000000] x) => (float[1000000] y) { y = Relu (x) }`)
	require.InDelta(t, 8e6/20e9, moved, 2e-6)
	named := seconds(`g (float[1000000] x) => (float[1000,1000] y) <int64[2] s = {1000, 1000}> { r = Reshape (x, s) y = Relu (r) }`)
	require.InDelta(t, moved, named, 1e-9)
	open := seconds(`g (float[N] x) => (float[N] y) { y = Relu (x) }`)
	require.InDelta(t, 1e-6, open, 1e-12)
}
