package randomize_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/surgery/randomize"
)

func TestPass(t *testing.T) { passtest.Run(t, randomize.Pass) }

// apply randomizes a model with one weight and returns it.
func apply(t *testing.T, w *ir.Tensor, options string) *ir.Tensor {
	m := ir.NewModel(10, 21)
	x := m.Main.AddInput("x", w.Type())
	n := m.Main.New(nil, ir.Op("Add"), []*ir.Value{x, m.Main.NamedConst("w", w)})
	m.Main.AddOutput("y", n.Result(0), w.Type())
	r, err := passes.NewRegistry(randomize.Pass)
	require.NoError(t, err)
	p, err := r.Parse("randomize" + options)
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.NoError(t, err)
	return m.Main.Consts()[0].Const()
}

// TestDistribution holds mean, variance and bounds of the numbers against those of the weights.
func TestDistribution(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	old := make([]float32, 20000)
	for i := range old {
		old[i] = float32(math.Exp(r.NormFloat64()) / 8) // all positive, skewed
	}
	e, err := ir.Elements[float32](apply(t, ir.TensorOf(old, 100, 200), ""))
	require.NoError(t, err)
	stats := func(x []float32) (mean, dev, low float64) {
		low = math.Inf(1)
		for _, v := range x {
			mean += float64(v) / float64(len(x))
			low = min(low, float64(v))
		}
		for _, v := range x {
			dev += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
		}
		return mean, math.Sqrt(dev), low
	}
	wantMean, wantDev, wantLow := stats(old)
	mean, dev, low := stats(e)
	require.InEpsilon(t, wantMean, mean, 0.35) // cut off at the smallest weight, which moves the mean up
	require.InEpsilon(t, wantDev, dev, 0.35)
	require.GreaterOrEqual(t, low, wantLow)
	same := 0
	for i := range e {
		if e[i] == old[i] {
			same++
		}
	}
	require.Less(t, same, len(e)/100)
}

// TestSymmetric is the usual case, in which nothing is cut off.
func TestSymmetric(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	old := make([]float32, 20000)
	for i := range old {
		old[i] = float32(r.NormFloat64()*0.05 + 0.01)
	}
	e, err := ir.Elements[float32](apply(t, ir.TensorOf(old), ""))
	require.NoError(t, err)
	var mean, square float64
	for _, v := range e {
		mean += float64(v) / float64(len(e))
		square += float64(v) * float64(v) / float64(len(e))
	}
	require.InDelta(t, 0.01, mean, 0.002)
	require.InEpsilon(t, 0.05, math.Sqrt(square-mean*mean), 0.03)
}

// TestSeed: the same seed gives the same bytes, another one others.
func TestSeed(t *testing.T) {
	w := func() *ir.Tensor { return ir.TensorOf([]float64{1, 2, 3, 4, 5, 6, 7, 8}) }
	bytes := func(options string) []byte {
		b, err := apply(t, w(), options).Bytes()
		require.NoError(t, err)
		return b
	}
	require.Equal(t, bytes(""), bytes("{seed=1}"))
	require.NotEqual(t, bytes("{seed=1}"), bytes("{seed=2}"))
}

// TestTypes: every type keeps its bounds, and what is no number keeps its place.
func TestTypes(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	e, err := ir.Elements[float32](apply(t, ir.TensorOf([]float32{inf, 1, nan, 2, 3}), ""))
	require.NoError(t, err)
	require.Equal(t, inf, e[0])
	require.True(t, e[2] != e[2])
	for _, d := range []ir.DType{ir.Float16, ir.BFloat16, ir.Float64} {
		w := ir.NewTensor(d, []int64{16}, make([]byte, d.ByteLen(16)))
		b, _ := w.Bytes()
		b[1], b[7] = 0x3c, 0x3d
		got := apply(t, w, "")
		require.Equal(t, d, got.DType())
		h, err := got.Bytes()
		require.NoError(t, err)
		require.NotEqual(t, b, h)
	}
	same := apply(t, ir.TensorOf([]float32{2, 2, 2}), "")
	e, err = ir.Elements[float32](same)
	require.NoError(t, err)
	require.Equal(t, []float32{2, 2, 2}, e)
	kept, err := ir.Elements[float32](apply(t, ir.TensorOf([]float32{2, 3}), "{keep=2}"))
	require.NoError(t, err)
	require.Equal(t, []float32{2, 3}, kept)
}
