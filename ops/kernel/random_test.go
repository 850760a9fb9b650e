package kernel

import (
	"slices"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
)

// TestTwister holds the generator to the published first and ten thousandth output for the seed 5489, and to what NumPy's
// RandomState(0) draws.
func TestTwister(t *testing.T) {
	g := newTwister(5489)
	for i := range 10000 {
		x := g.next()
		if i == 0 && x != 3499211612 || i == 9999 && x != 4123659995 {
			t.Errorf("output %d is %d", i, x)
		}
	}
	u, n := newTwister(0), newTwister(0)
	if got := []float64{u.uniform(), u.uniform()}; !slices.Equal(got, []float64{0.5488135039273248, 0.7151893663724195}) {
		t.Errorf("uniform numbers %v", got)
	}
	if got := []float64{n.normal(), n.normal()}; !slices.Equal(got, []float64{1.764052345967664, 0.4001572083672233}) {
		t.Errorf("normal numbers %v", got)
	}
}

// TestRandom: shape, type and range; the same numbers again for the same seed, others for another.
func TestRandom(t *testing.T) {
	attrs := []*ir.Attr{ir.IntsAttr("shape", []int64{3, 4}), ir.FloatAttr("low", 2), ir.FloatAttr("high", 3), ir.FloatAttr("seed", 7)}
	a := first[float32](t, "RandomUniform", 22, attrs)
	if len(a) != 12 || slices.Min(a) < 2 || slices.Max(a) > 3 {
		t.Errorf("uniform numbers %v", a)
	}
	if b := first[float32](t, "RandomUniform", 22, attrs); !slices.Equal(a, b) {
		t.Errorf("%v and then %v", a, b)
	}
	if b := first[float32](t, "RandomUniform", 22, attrs[:3]); slices.Equal(a, b) {
		t.Errorf("%v for two seeds", a)
	}
	like := []*ir.Attr{ir.IntAttr("dtype", int64(ir.Float64)), ir.FloatAttr("mean", 100)}
	if v := first[float64](t, "RandomNormalLike", 22, like, ramp(5)); len(v) != 5 || slices.Min(v) < 90 {
		t.Errorf("normal numbers %v", v)
	}
	draws := first[int32](t, "Multinomial", 22, []*ir.Attr{ir.IntAttr("sample_size", 50)}, ir.TensorOf([]float32{0, -50, 0, -50, 0, -50}, 2, 3))
	for i, k := range draws {
		if i < 50 && k == 1 || i >= 50 && k != 1 {
			t.Errorf("draw %d is class %d", i, k)
		}
	}
	fails(t, "does not take", "RandomUniform", 22, []*ir.Attr{ir.IntAttr("dtype", int64(ir.Int32)), attrs[0]})
}
