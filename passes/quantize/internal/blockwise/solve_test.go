package blockwise

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// correlated are rows of k numbers that few hidden ones explain, some of them much larger than others.
func correlated(rows, k int) []float32 {
	r := rand.New(rand.NewPCG(5, 6))
	mix := make([]float64, 8*k)
	for i := range mix {
		mix[i] = r.NormFloat64()
	}
	x := make([]float32, 0, rows*k)
	for range rows {
		var h [8]float64
		for i := range h {
			h[i] = r.NormFloat64()
		}
		for j := range k {
			v := 0.1 * r.NormFloat64()
			for i, a := range h {
				v += a * mix[i*k+j]
			}
			if j%17 == 0 {
				v *= 20
			}
			x = append(x, float32(v))
		}
	}
	return x
}

func stats(t *testing.T, rows, k int) *Stats {
	s := NewStats(k)
	require.NoError(t, s.Add(correlated(rows, k), nil))
	return s
}

// TestInverseFactor multiplies the factor out.
func TestInverseFactor(t *testing.T) {
	k := 40
	s := stats(t, 200, k)
	u := inverseFactor(s, par.New(2))
	mean := 0.0
	for i := range k {
		mean += float64(s.H[i*k+i]) / float64(k)
	}
	for i := range k {
		for j := range k {
			assert.True(t, j >= i || u[i*k+j] == 0, "below the diagonal")
			sum := 0.0 // row i of U'U times column j of H
			for p := range k {
				inv := 0.0
				for q := range min(i, p) + 1 {
					inv += float64(u[q*k+i]) * float64(u[q*k+p])
				}
				h := float64(s.H[p*k+j])
				if p == j {
					h += damping * mean
				}
				sum += inv * h
			}
			want := 0.0
			if i == j {
				want = 1
			}
			assert.InDelta(t, want, sum, 2e-2, "%d,%d", i, j)
		}
	}
}

// TestGPTQ holds the error of outputs against that of rounding to nearest.
func TestGPTQ(t *testing.T) {
	s := stats(t, 300, 96)
	for _, inputs := range []int{0, 1} {
		m := randomMatrix(96, 24, inputs)
		spec := Spec{Bits: 4, Block: 32, Search: true}
		plain, err := nearest(m, spec, nil, nil)
		require.NoError(t, err)
		solved, err := gptq(m, spec, s, par.New(2))
		require.NoError(t, err)
		a, err := s.loss(m, spec, plain, nil)
		require.NoError(t, err)
		b, err := s.loss(m, spec, solved, nil)
		require.NoError(t, err)
		assert.Less(t, b, 0.5*a)
	}
}

// TestAWQ holds a model with factors against one without, on inputs of which some are large.
func TestAWQ(t *testing.T) {
	const rows, k, n = 64, 96, 16
	x := correlated(rows, k)
	build := func() *ir.Model {
		m := ir.NewModel(10, 21)
		v := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(rows, k)))
		for _, name := range []string{"y", "z"} {
			w := m.Main.NamedConst("w_"+name, random(k, n))
			m.Main.AddOutput(name, m.Main.New(nil, ir.Op("MatMul"), []*ir.Value{v, w}).Result(0), ir.TensorType(ir.Float32, ir.StaticShape(rows, n)))
		}
		return m
	}
	quantized := func(a Algorithm, nbits bool) *ir.Model {
		m := build()
		p := passes.Define(passes.Info{Name: "quantized", Doc: "quantizes", Promise: lossy}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
			_, err := Apply(c, m, Options{Spec: Spec{Bits: 4, Block: 32}, Rule: "quantized", NBits: nbits, Algorithm: a,
				Stats: func(in []*ir.Value) (map[*ir.Value]*Stats, error) {
					s := NewStats(k)
					return map[*ir.Value]*Stats{in[0]: s}, s.Add(x, nil)
				}})
			return err
		})
		reg, err := passes.NewRegistry(p)
		require.NoError(t, err)
		pipe, err := reg.Parse("quantized")
		require.NoError(t, err)
		_, err = pipe.Run(context.Background(), m, passes.Config{})
		require.NoError(t, err)
		require.NoError(t, ir.Verify(m))
		return m
	}
	in := map[string]ir.Datum{"x": ir.TensorOf(x, rows, k)}
	want := run(t, native.New(), build(), in)
	distance := func(m *ir.Model) (d float64) {
		got := run(t, native.New(), m, in)
		for name := range want {
			a, err := ir.Elements[float32](want[name].(*ir.Tensor))
			require.NoError(t, err)
			b, err := ir.Elements[float32](got[name].(*ir.Tensor))
			require.NoError(t, err)
			for i := range a {
				d += math.Pow(float64(a[i]-b[i]), 2)
			}
		}
		return d
	}
	for _, nbits := range []bool{false, true} {
		plain := distance(quantized(RTN, nbits))
		assert.Less(t, distance(quantized(AWQ, nbits)), 0.6*plain, "AWQ")
		assert.Less(t, distance(quantized(GPTQ, nbits)), 0.5*plain, "GPTQ")
	}
}
