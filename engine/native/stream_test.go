package native_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// TestStreamTaps: every tap is handed over once with the elements that RunTaps gives: inputs, constants, outputs, what nobody reads, what is
// read twice, and what a step that works in place writes over.
func TestStreamTaps(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 8, opset_import: ["" : 17]>
g (float[2,3] x, bool c) => (float[2,3] y, float[2,3] z)
<float[3,3] w = {1,2,3,4,5,6,7,8,9}>
{
   a = MatMul (x, w)
   b = Relu (a)
   d = Neg (b)
   e = Sqrt (b)
   unread = Exp (d)
   f = Add (d, e)
   h = Sigmoid (f)
   k = If (c) <then_branch = t () => (float[2,3] p) { p = Mul (h, d) }, else_branch = l () => (float[2,3] q) { q = Identity (h) }>
   y = Mul (k, h)
   z = Tanh (y)
}`))
	require.NoError(t, err)
	var taps []*ir.Value
	for _, s := range m.Main.Inputs() {
		taps = append(taps, s.Value())
	}
	for n := range m.Main.Nodes() {
		taps = append(taps, n.Results()...)
		for _, v := range n.Operands() {
			if v.Const() != nil {
				taps = append(taps, v)
			}
		}
	}
	taps = append(taps, taps[3])
	ctx := context.Background()
	in := map[string]ir.Datum{"x": ir.TensorOf([]float32{1, -2, 3, 0.5, -0.25, 4}, 2, 3), "c": ir.NewTensor(ir.Bool, nil, []byte{1})}
	kept, err := native.New().Load(ctx, m, engine.Options{Taps: taps})
	require.NoError(t, err)
	_, want, err := kept.RunTaps(ctx, in)
	require.NoError(t, err)
	require.Error(t, kept.(engine.Streamer).StreamTaps(ctx, in, nil))
	s, err := native.New().Load(ctx, m, engine.Options{Taps: taps, Stream: true})
	require.NoError(t, err)
	for range 3 { // the memory of a run is that of the next
		seen := map[int]int{}
		require.NoError(t, s.(engine.Streamer).StreamTaps(ctx, in, func(i int, d ir.Datum) error {
			seen[i]++
			a, err := want[i].(*ir.Tensor).Bytes()
			require.NoError(t, err)
			b, err := d.(*ir.Tensor).Bytes()
			require.NoError(t, err)
			require.Equal(t, a, b, "tap %d", i)
			return nil
		}))
		require.Len(t, seen, len(taps))
		for i, n := range seen {
			require.Equal(t, 1, n, "tap %d", i)
		}
	}
	full := errors.New("the disk is full")
	require.ErrorIs(t, s.(engine.Streamer).StreamTaps(ctx, in, func(int, ir.Datum) error { return full }), full)
	out, none, err := s.RunTaps(ctx, in)
	require.NoError(t, err)
	require.Empty(t, none)
	require.Len(t, out, 2)
}
