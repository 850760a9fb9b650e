package separate

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured/measuredtest"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
)

func TestPass(t *testing.T) { passtest.Run(t, Pass, passtest.Data(measuredtest.Generated(10))) }

// TestExact: weights that are a filter for each channel and 1x1 come back as these, with data and without.
func TestExact(t *testing.T) {
	const out, in, taps = 8, 3, 9
	rng := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, out*in*taps)
	filter, mix := make([]float32, in*taps), make([]float32, out*in)
	for i := range filter {
		filter[i] = float32(rng.NormFloat64())
	}
	for i := range mix {
		mix[i] = float32(rng.NormFloat64())
	}
	for o := range out {
		for i := range in {
			for k := range taps {
				w[(o*in+i)*taps+k] = mix[o*in+i] * filter[i*taps+k]
			}
		}
	}
	m := ir.NewModel(8, 17)
	dims := func(n ...int64) *ir.Type {
		s := make(ir.Shape, len(n))
		for i, k := range n {
			s[i] = ir.Dim{Size: k}
		}
		return ir.TensorType(ir.Float32, s)
	}
	x := m.Main.AddInput("x", dims(1, in, 7, 6))
	y := m.Main.New(nil, ir.Op("Conv"), []*ir.Value{x, m.Main.NamedConst("w", ir.TensorOf(w, out, in, 3, 3))}, ir.IntsAttr("pads", []int64{1, 1, 1, 1}), ir.IntsAttr("strides", []int64{2, 1}))
	m.Main.AddOutput("y", y.Result(0), dims(1, out, 4, 6))
	r, err := passes.NewRegistry(Pass)
	require.NoError(t, err)
	p, err := r.Parse("separate{prepare=false refit=false}")
	require.NoError(t, err)
	for _, data := range []map[passes.Data]any{nil, measuredtest.Generated(10)(m)} {
		small := m.Clone()
		_, err := p.Run(t.Context(), small, passes.Config{Data: data})
		require.NoError(t, err)
		require.Equal(t, 2, small.Main.NumNodes())
		v, err := compare.Models(t.Context(), native.New(), m, small, compare.NewGenerator(m, compare.GenerateOptions{Seed: 9}), compare.Options{})
		require.NoError(t, err)
		require.Equal(t, compare.Verified, v.State, "%+v", v)
	}
}
