package metric

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// steps are scores [1, steps, 4] whose largest of each step is at the given place.
func steps(at ...int) map[string]ir.Datum {
	v := make([]float32, 4*len(at))
	for i, k := range at {
		v[4*i+k] = 1
	}
	return map[string]ir.Datum{"y": ir.TensorOf(v, 1, int64(len(at)), 4)}
}

func TestText(t *testing.T) {
	m := meter(t, "text")
	for _, r := range []struct{ out, want []int }{
		{[]int{1, 1, 0, 1, 2}, []int{0, 1, 0, 1, 2}}, // both are 1 1 2
		{[]int{1, 1, 1, 1, 2}, []int{0, 1, 0, 1, 2}}, // 1 2, and 1 1 2
		{[]int{0, 0, 0, 0, 0}, []int{0, 0, 0, 0, 0}},
		{[]int{3, 0, 0, 0, 0}, []int{0, 0, 0, 0, 0}},
	} {
		require.NoError(t, m.Add(Row{Out: steps(r.out...), Want: steps(r.want...), Label: math.NaN()}))
	}
	require.Equal(t, .5, m.Value())
	require.Equal(t, Outputs, m.Needs())
	require.ErrorContains(t, m.Add(Row{Out: steps(1), Want: steps(1, 2)}), "has 4 elements, the one to compare with 8")
	flat := map[string]ir.Datum{"y": ir.TensorOf([]float32{1}, 1)}
	require.ErrorContains(t, m.Add(Row{Out: flat, Want: flat}), "does not score symbols step by step")
	nan := steps(1, 2)
	v := nan["y"].(*ir.Tensor)
	f, err := ir.Elements[float32](v)
	require.NoError(t, err)
	f[0] = float32(math.NaN())
	before := m.Value()
	require.NoError(t, m.Add(Row{Out: map[string]ir.Datum{"y": ir.TensorOf(f, 1, 2, 4)}, Want: steps(1, 2)}))
	require.Less(t, m.Value(), before, "NaN is read as nothing")
}
