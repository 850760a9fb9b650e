package native

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Widening and narrowing are those of the kernels for every float16, and for the float32 around each.
func TestHalfConversions(t *testing.T) {
	h := make([]uint16, 1<<16)
	for i := range h {
		h[i] = uint16(i)
	}
	wide, err := widen(make([]float32, len(h)), ir.NewTensor(ir.Float16, []int64{1 << 16}, ir.AsBytes(h)))
	require.NoError(t, err)
	v, err := ir.Elements[float32](wide)
	require.NoError(t, err)
	var around []float32
	for i, e := range v {
		want, got := math.Float32bits(kernel.Float16ToFloat32(h[i])), math.Float32bits(e)
		if e != e { // processors make every NaN a quiet one
			want, got = want|1<<22, got|1<<22
		}
		assert.Equal(t, want, got, "%04x", i)
		for _, d := range []int32{-0x1001, -0x1000, -0xfff, -1, 0, 1, 0xfff, 0x1000, 0x1001} {
			around = append(around, math.Float32frombits(uint32(int32(math.Float32bits(e))+d)))
		}
	}
	back, err := narrow(make([]uint16, len(around)), ir.TensorOf(around))
	require.NoError(t, err)
	got, err := ir.Elements[uint16](back)
	require.NoError(t, err)
	for i, e := range around {
		want := kernel.Float32ToFloat16(e)
		if e != e {
			want = 0x7e00
		}
		if want != got[i] {
			t.Fatalf("%x becomes %04x where the kernels have %04x", math.Float32bits(e), got[i], want)
		}
	}
}

// Lengths that fill no vector, and a NaN at every place.
func TestHalfTails(t *testing.T) {
	for n := range 40 {
		for nan := range n + 1 {
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(i) - 7.5
			}
			if nan < n {
				v[nan] = float32(math.NaN())
			}
			x, err := narrow(make([]uint16, n), ir.TensorOf(v, int64(n)))
			require.NoError(t, err)
			back, err := widen(make([]float32, n), x)
			require.NoError(t, err)
			got, err := ir.Elements[float32](back)
			require.NoError(t, err)
			require.Len(t, got, n)
			for i, e := range v {
				require.True(t, got[i] == e || e != e && got[i] != got[i], "%d of %d is %v", i, n, got[i])
			}
		}
	}
}

// What the kernel computes instead of an executor is limited by the node behind it.
func TestHalfMixedIsLimited(t *testing.T) {
	m, err := text.Parse([]byte(`<ir_version: 10, opset_import: ["": 17]>
g (float16[1,1,2] x) => (float16[1,1,2] z) <float16[1] one = {15360}, float16[1] zero = {0}, float[1] mean = {0}, float[1] var = {1}> {
   y = BatchNormalization (x, one, zero, mean, var)
   z = Relu (y)
}`))
	require.NoError(t, err)
	s, err := New().Load(t.Context(), m, engine.Options{})
	require.NoError(t, err)
	defer s.Close()
	out, err := s.Run(t.Context(), map[string]ir.Datum{"x": ir.NewTensor(ir.Float16, []int64{1, 1, 2}, ir.AsBytes([]uint16{0xc000, 0x4000}))})
	require.NoError(t, err)
	got, err := ir.Elements[uint16](out["z"].(*ir.Tensor))
	require.NoError(t, err)
	assert.Zero(t, got[0]&0x7fff)
	assert.InDelta(t, 2, kernel.Float16ToFloat32(got[1]), 1e-2)
}
