package native_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// TestMergedDrift runs a quantized classifier over real pictures with separate and with merged nodes: what steps of rounding here and
// there add up to at the end. The classes have to be the same for nearly all pictures, and as many of them right.
func TestMergedDrift(t *testing.T) {
	shared := filepath.Join("..", "..", "..", "shared")
	data := filepath.Join(shared, "data", "cifar10", "test_2000.bin")
	if _, err := os.Stat(data); err != nil {
		t.Skip("left out: the real data of ../shared/data are not here")
	}
	ctx := context.Background()
	f, err := onnxio.Open(filepath.Join(shared, "models", "resnet8-cifar10-int8qdq.onnx"), onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	var sessions [2]engine.Session
	for i, e := range []engine.Engine{native.New(), native.Merging()} {
		sessions[i], err = e.Load(ctx, f.Model, engine.Options{})
		require.NoError(t, err)
		defer sessions[i].Close()
	}
	require.Zero(t, native.Chains(sessions[0]))
	require.Positive(t, native.Chains(sessions[1]))
	s, err := dataset.Open(data, dataset.Options{Inputs: dataset.Inputs(f.Model), Image: []dataset.Setting{{Key: "mean", Value: "128"}}})
	require.NoError(t, err)
	defer s.Close()
	n, agree, right, worst, limit := 0, 0, [2]int{}, 0.0, 2000
	if testing.Short() {
		limit = 200
	}
	for sample, err := range s.Samples(ctx) {
		require.NoError(t, err)
		var v [2][]float64
		var class [2]int
		for i, session := range sessions {
			out, err := session.Run(ctx, sample.Inputs)
			require.NoError(t, err)
			v[i], err = dataset.Floats(out[f.Model.Main.Outputs()[0].Name()].(*ir.Tensor))
			require.NoError(t, err)
			if class[i] = metric.Argmax(v[i]); class[i] == int(sample.Label) {
				right[i]++
			}
		}
		if class[0] == class[1] {
			agree++
		}
		for i := range v[0] {
			worst = max(worst, math.Abs(v[0][i]-v[1][i]))
		}
		if n++; n == limit {
			break
		}
	}
	t.Logf("%d chains; the same class for %d of %d pictures, right %d separate and %d merged, largest difference of an output %.0f of 255 steps",
		native.Chains(sessions[1]), agree, n, right[0], right[1], worst)
	require.GreaterOrEqual(t, agree, n*99/100)
	require.InDelta(t, right[0], right[1], float64(n)/200)
	require.GreaterOrEqual(t, right[0], n*70/100)
}
