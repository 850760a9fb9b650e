package hist

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func add(h *Histogram, v []float32) {
	lo, hi, nan, inf := Extremes(v)
	h.Add(v, lo, hi, nan, inf)
	h.Run(lo, hi)
}

// TestOrderDoesNotMatter: counts are those of the final width, whatever came first.
func TestOrderDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var parts [][]float32
	for i := range 20 {
		p := make([]float32, 300)
		for k := range p {
			p[k] = float32(r.NormFloat64() * math.Pow(3, float64(i)-10))
		}
		parts = append(parts, p)
	}
	var a, b Histogram
	for i := range parts {
		add(&a, parts[i])
		add(&b, parts[len(parts)-1-i])
	}
	require.Equal(t, a.Exp, b.Exp)
	require.Equal(t, a.High, b.High)
	require.Equal(t, a.Low, b.Low)
	n := int64(0)
	a.each(func(_ float64, k int64) { n += k })
	require.EqualValues(t, 6000, n)
	require.Equal(t, a.N, n)
}

func TestOddValues(t *testing.T) {
	var h Histogram
	add(&h, []float32{float32(math.NaN()), float32(math.Inf(1)), 1, -2})
	require.EqualValues(t, 1, h.NaN)
	require.EqualValues(t, 1, h.Inf)
	require.EqualValues(t, 2, h.N)
	r, err := h.Find("minmax", Spec{Levels: 255})
	require.NoError(t, err)
	require.Equal(t, Range{-2, 1}, r)
	var zero Histogram
	add(&zero, make([]float32, 10))
	for _, m := range Methods {
		r, err := zero.Find(m, Spec{Levels: 255})
		require.NoError(t, err)
		require.Equal(t, Range{}, r, m)
	}
	var tiny Histogram
	add(&tiny, []float32{1e-42, -3e38})
	for _, m := range Methods {
		_, err := tiny.Find(m, Spec{Levels: 255})
		require.NoError(t, err)
	}
	require.True(t, func() bool { var h Histogram; add(&h, []float32{0, 255, 3}); return h.Integers }())
}

// TestOutliers: what looks at the error leaves a lone outlier out, and takes everything of a uniform distribution.
func TestOutliers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	v := make([]float32, 100000)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	v[7] = 100
	var h Histogram
	add(&h, v)
	for m, most := range map[string]float64{"percentile": 20, "entropy": 20, "mse": 95} { // the square of an outlier's error weighs
		x, err := h.Find(m, Spec{Levels: 255})
		require.NoError(t, err)
		require.Less(t, x.Hi, most, m)
		require.Greater(t, x.Hi, 2.5, m)
		require.Less(t, x.Lo, -2.5, m)
	}
	for i := range v {
		v[i] = r.Float32()
	}
	h = Histogram{}
	add(&h, v)
	x, err := h.Find("mse", Spec{Levels: 255})
	require.NoError(t, err)
	require.Zero(t, x.Lo)
	require.Greater(t, x.Hi, 0.98)
}
