package distill

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/dataset"
	"github.com/onnxopt/onnxopt/dataset/metric"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

func small() string {
	z := func(n int) string { return "{" + strings.Repeat("0, ", n-1) + "0}" }
	return `<ir_version: 10, opset_import: ["" : 21]>
net (float[N,1,16,16] image) => (float[N,10] scores)
<float[8,1,3,3] w1 = ` + z(72) + `, float[8] b1 = ` + z(8) + `, float[16,8,3,3] w2 = ` + z(1152) + `, float[16] b2 = ` + z(16) + `, float[10,256] w3 = ` + z(2560) + `, float[10] b3 = ` + z(10) + `>
{
  k = Constant<value = float {255}>()
  scaled = Div(image, k)
  c1 = Conv<pads = [1,1,1,1]>(scaled, w1, b1)
  r1 = Relu(c1)
  p1 = MaxPool<kernel_shape = [2,2], strides = [2,2]>(r1)
  c2 = Conv<pads = [1,1,1,1]>(p1, w2, b2)
  r2 = Relu(c2)
  p2 = MaxPool<kernel_shape = [2,2], strides = [2,2]>(r2)
  f = Flatten(p2)
  scores = Gemm<transB = 1>(f, w3, b3)
}`
}

// network is the small network; training draws its weights.
func network(t *testing.T) *ir.Model {
	t.Helper()
	m, err := text.Parse([]byte(small()))
	require.NoError(t, err)
	return m
}

func open(t *testing.T, m *ir.Model) *dataset.Set {
	t.Helper()
	s, err := dataset.Open(filepath.Join("..", "testdata", "digits"), dataset.Options{Inputs: dataset.Inputs(m), Labels: ""})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func options(t *testing.T, m *ir.Model) Options {
	return Options{Student: m, Set: open(t, m), Engine: native.New(), Threads: 1, Epochs: 2, Batch: 32, CE: 1, Temperature: 1, Optimizer: "adamw",
		Rate: 5e-3, Limit: 320, Init: true, Seed: 1, Clip: 5}
}

// TestDigitsFromNothing trains on the first 1600 drawings and looks at the 400 that are held out.
func TestDigitsFromNothing(t *testing.T) {
	m := network(t)
	o := options(t, m)
	o.Epochs, o.Limit = 8, 1600
	e, err := Train(context.Background(), o)
	require.NoError(t, err)
	require.Less(t, e[7].Loss, e[0].Loss)
	s, err := native.New().Load(context.Background(), m, engine.Options{})
	require.NoError(t, err)
	right, seen, i := 0, 0, 0
	for b, err := range open(t, m).Samples(context.Background()) {
		require.NoError(t, err)
		if i++; i <= 1600 {
			continue
		}
		out, err := s.Run(context.Background(), b.Inputs)
		require.NoError(t, err)
		v, err := dataset.Floats(out["scores"].(*ir.Tensor))
		require.NoError(t, err)
		if seen++; metric.Argmax(v) == int(b.Label) {
			right++
		}
	}
	require.Equal(t, 400, seen)
	require.GreaterOrEqual(t, right, 384, "of 400; loss %v", e)
	t.Logf("%d of 400, loss %v", right, e)
}

// TestKeepsLastGood: where the loss stops being a number the weights are those of the epoch before.
func TestKeepsLastGood(t *testing.T) {
	m := network(t)
	o := options(t, m)
	o.Optimizer, o.Rate, o.Warmup, o.Clip = "sgd", 1e30, 1, 0
	before := m.String()
	done, err := Train(context.Background(), o)
	require.ErrorContains(t, err, "epoch 1, step")
	require.Empty(t, done)
	require.Equal(t, before, m.String())
}
