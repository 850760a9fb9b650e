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
	n := right(t, m, nil)
	require.GreaterOrEqual(t, n, 384, "of 400; loss %v", e)
	t.Logf("%d of 400, loss %v", n, e)
}

// right is how many of the 400 held-out drawings m takes for what their label says, or what the teacher says if there is one.
func right(t *testing.T, m, teacher *ir.Model) int {
	t.Helper()
	classes := func(m *ir.Model) (r []int) {
		s, err := native.New().Load(context.Background(), m, engine.Options{})
		require.NoError(t, err)
		i := 0
		for b, err := range open(t, m).Samples(context.Background()) {
			require.NoError(t, err)
			if i++; i <= 1600 {
				continue
			}
			out, err := s.Run(context.Background(), b.Inputs)
			require.NoError(t, err)
			v, err := dataset.Floats(out[m.Main.Outputs()[0].Name()].(*ir.Tensor))
			require.NoError(t, err)
			if r = append(r, metric.Argmax(v)); teacher == nil && metric.Argmax(v) == int(b.Label) {
				r[len(r)-1] = -1
			}
		}
		require.Len(t, r, 400)
		return r
	}
	got, hits := classes(m), 0
	var want []int
	if teacher != nil {
		want = classes(teacher)
	}
	for i, c := range got {
		if c == -1 || want != nil && c == want[i] {
			hits++
		}
	}
	return hits
}
