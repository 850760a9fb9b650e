package distill

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/onnxio/text"
)

// TestRecurrent trains layers with a state, which read a drawing row by row in both directions.
func TestRecurrent(t *testing.T) {
	zeros := func(n int) string { return "{" + strings.Repeat("0, ", n-1) + "0}" }
	for op, gates := range map[string]int{"LSTM": 4, "GRU": 3} {
		m, err := text.Parse([]byte(fmt.Sprintf(`<ir_version: 10, opset_import: ["" : 21]>
net (float[N,1,16,16] image) => (float[N,10] scores)
<float[2,%[2]d,16] w = %[3]s, float[2,%[2]d,12] r = %[4]s, float[2,%[5]d] b = %[6]s, float[24,10] d = %[7]s, float[10] e = %[8]s>
{
  k = Constant<value = float {255}>()
  scaled = Div(image, k)
  one = Constant<value = int64[1] {1}>()
  rows = Squeeze(scaled, one)
  steps = Transpose<perm = [1,0,2]>(rows)
  all, last = %[1]s<hidden_size = 12, direction = "bidirectional">(steps, w, r, b)
  batch = Transpose<perm = [1,0,2]>(last)
  flat = Flatten(batch)
  y = MatMul(flat, d)
  scores = Add(y, e)
}`, op, 12*gates, zeros(2*12*gates*16), zeros(2*12*gates*12), 24*gates, zeros(2*24*gates), zeros(240), zeros(10))))
		require.NoError(t, err)
		o := options(t, m)
		o.Epochs, o.Limit, o.Rate = 8, 320, .02
		e := train(t, o)
		require.Greater(t, e[7].Hits, .75, "%s: %v", op, e)
		t.Logf("%s: %.3f of what it learned from", op, e[7].Hits)
	}
}
