package metric

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/ir"
)

func out(v ...float32) map[string]ir.Datum {
	return map[string]ir.Datum{"y": ir.TensorOf(v, 1, int64(len(v)))}
}

func meter(t *testing.T, name string) Meter {
	t.Helper()
	m, err := New(name, []dataset.Port{{Name: "y"}}, Options{Boxes: BoxOptions{Background: -1}})
	require.NoError(t, err)
	return m
}

func TestTop(t *testing.T) {
	one, five := meter(t, "top1"), meter(t, "top5")
	nan := float32(math.NaN())
	for _, r := range []Row{
		{Out: out(0, 3, 1, 1, 1, 1, 1), Label: 1},
		{Out: out(3, 3, 0, 0, 0, 0, 0), Label: 1}, // the first of equals wins
		{Out: out(6, 5, 4, 3, 2, 1, 0), Label: 5},
		{Out: out(nan, 1, 0, 0, 0, 0, 0), Label: 1},
	} {
		require.NoError(t, one.Add(r))
		require.NoError(t, five.Add(r))
	}
	require.Equal(t, 0.25, one.Value())
	require.Equal(t, 0.5, five.Value())
	require.ErrorContains(t, one.Add(Row{Out: out(1, 2), Label: 2}), "has 2 classes")
	require.ErrorContains(t, one.Add(Row{Out: out(1, 2), Label: 0.5}), "0.5")
	class := map[string]ir.Datum{"y": ir.TensorOf([]int64{7})}
	require.NoError(t, one.Add(Row{Out: class, Label: 7}))
	require.Equal(t, 0.4, one.Value())
}

func TestAgainstReference(t *testing.T) {
	rows := []Row{{Out: out(1, 2), Want: out(2, 4), Label: math.NaN()}, {Out: out(1, 0), Want: out(0, 1), Label: math.NaN()}}
	for name, want := range map[string]float64{"agreement": 0.5, "cosine": 0.5, "mse": (1 + 4 + 1 + 1) / 4.0} {
		m := meter(t, name)
		for _, r := range rows {
			require.NoError(t, m.Add(r))
		}
		require.InDelta(t, want, m.Value(), 1e-12, name)
		require.ErrorContains(t, m.Add(Row{Out: out(1), Want: out(1, 2)}), "1 elements", name)
	}
}

// TestPairs has three pairs whose embeddings are nearer the larger the label is, as they are and as means under a mask.
func TestPairs(t *testing.T) {
	pooled, direct := meter(t, "spearman"), meter(t, "spearman")
	mask := ir.TensorOf([]int64{1, 1, 1, 0}, 2, 2)
	for i, y := range []float32{0, 1, 5} { // the angle between (1, 1) and (1, y)
		tokens := map[string]ir.Datum{"y": ir.TensorOf([]float32{0.5, 2, 1.5, 0, 1, y, -9, 99}, 2, 2, 2)}
		require.NoError(t, pooled.Add(Row{Out: tokens, Mask: mask, Label: []float64{0.5, 2, 1}[i]}))
		sentences := map[string]ir.Datum{"y": ir.TensorOf([]float32{1, 1, 1, y}, 2, 2)}
		require.NoError(t, direct.Add(Row{Out: sentences, Mask: mask, Label: []float64{1, 2, 0.5}[i], Want: tokens}))
	}
	require.InDelta(t, 1, pooled.Value(), 1e-12)
	require.InDelta(t, 1, direct.Value(), 1e-12, "against the other model, not the label")
	require.ErrorContains(t, pooled.Add(Row{Out: out(1, 2), Mask: mask, Label: 1}), "no embedding of two sequences")
	require.ErrorContains(t, meter(t, "top1").Add(Row{Out: out(1, 2), Mask: mask, Label: 1}), "no class")
}

func TestSpearman(t *testing.T) {
	m := meter(t, "spearman")
	for i, x := range []float32{10, 20, 20, 5} {
		require.NoError(t, m.Add(Row{Out: out(x), Label: []float64{1, 2, 3, 0}[i]}))
	}
	// scipy.stats.spearmanr([10, 20, 20, 5], [1, 2, 3, 0])
	require.InDelta(t, 0.9486832980505139, m.Value(), 1e-12)
	constant := meter(t, "spearman")
	require.NoError(t, constant.Add(Row{Out: out(1), Label: 1}))
	require.NoError(t, constant.Add(Row{Out: out(1), Label: 2}))
	require.True(t, math.IsNaN(constant.Value()))
	require.ErrorContains(t, constant.Add(Row{Out: out(1, 2), Label: 2}), "2 elements")
}

func detections(rows ...[]float32) map[string]ir.Datum {
	var v []float32
	for _, r := range rows {
		v = append(v, r...)
	}
	return map[string]ir.Datum{"y": ir.TensorOf(v, int64(len(rows)), 6)}
}

func TestBoxes(t *testing.T) {
	m := meter(t, "boxes")
	want := detections([]float32{0, 0, 10, 10, 0.9, 0}, []float32{20, 20, 30, 30, 0.8, 1})
	got := detections(
		[]float32{0, 0, 10, 9, 0.7, 0},    // matches
		[]float32{0, 0, 10, 10, 0.6, 0},   // the same object again: dropped
		[]float32{20, 20, 30, 30, 0.8, 2}, // another class
		[]float32{50, 50, 60, 60, 0.4, 0}, // below the threshold
	)
	require.NoError(t, m.Add(Row{Out: got, Want: want}))
	require.Equal(t, 0.5, m.Value())
	none := meter(t, "boxes")
	require.True(t, math.IsNaN(none.Value()))
	require.NoError(t, none.Add(Row{Out: detections(), Want: detections()}))
	require.Equal(t, 1.0, none.Value())
}

func TestBoxesWithScores(t *testing.T) {
	ports := []dataset.Port{
		{Name: "scores", Type: ir.TensorType(ir.Float32, ir.StaticShape(1, 2, 2))},
		{Name: "boxes", Type: ir.TensorType(ir.Float32, ir.StaticShape(1, 2, 4))},
	}
	m, err := New("boxes", ports, Options{Boxes: BoxOptions{Background: 0, Format: "cxcywh"}})
	require.NoError(t, err)
	a := map[string]ir.Datum{
		"scores": ir.TensorOf([]float32{0.9, 0.1, 0.2, 0.8}, 1, 2, 2), // the first is background
		"boxes":  ir.TensorOf([]float32{5, 5, 10, 10, 25, 25, 10, 10}, 1, 2, 4),
	}
	b := map[string]ir.Datum{
		"scores": ir.TensorOf([]float32{0.1, 0.9, 0.2, 0.8}, 1, 2, 2),
		"boxes":  ir.TensorOf([]float32{5, 5, 10, 10, 26, 25, 10, 10}, 1, 2, 4),
	}
	require.NoError(t, m.Add(Row{Out: a, Want: b}))
	require.InDelta(t, 2.0/3, m.Value(), 1e-12)
	_, err = New("boxes", ports, Options{Boxes: BoxOptions{Boxes: "none"}})
	require.ErrorContains(t, err, `no output "none"`)
}

func TestUnknown(t *testing.T) {
	_, err := New("top2", []dataset.Port{{Name: "y"}}, Options{})
	require.ErrorContains(t, err, "did you mean")
	_, err = New("top1", []dataset.Port{{Name: "y"}}, Options{Output: "z"})
	require.ErrorContains(t, err, `no output "z"`)
}
