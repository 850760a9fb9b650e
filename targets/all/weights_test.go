package all_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// TestWeights writes models with narrow weights and runs them with each of LiteRT's resolvers: float16 weights err by their rounding
// only, dynamic-range int8 keeps the signal 20 dB above the error, and the files shrink accordingly.
func TestWeights(t *testing.T) {
	ctx := context.Background()
	k := consumer.Lookup("litert")
	p := python(t, k)
	target, _ := all.Lookup("tflite")
	dir := t.TempDir()
	size := func(e *targettest.Emitted) float64 {
		info, err := os.Stat(e.Path(""))
		require.NoError(t, err)
		return float64(info.Size())
	}
	each(t, "", func(t *testing.T, c *targettest.Case) bool {
		if !map[string]bool{"resnet8-cifar10": true, "minilm-l2-trimvocab-fp32": true, "ultraface-RFB-320": true, "squeezenet-fp16-winml": true, "digits": true}[c.Name] {
			return false
		}
		whole, err := c.Emit(ctx, target, "{layout=keep}", filepath.Join(dir))
		require.NoError(t, err)
		full := size(whole)
		for _, weights := range []string{"float16", "int8"} {
			e, err := c.Emit(ctx, target, "{layout=keep weights="+weights+"}", dir)
			require.NoError(t, err)
			ratio := size(e) / full
			for _, mode := range []string{"", "plain", "reference"} {
				_, got, err := c.Run(ctx, k, p, mode, e.Path(""))
				var differs *targettest.OutputError // that is expected
				if err != nil && !assert.ErrorAs(t, err, &differs, mode) {
					continue
				}
				worst, sqnr := 0.0, 1000.0
				for name, want := range c.Want {
					d := compare.Datum(want, compare.Like(got[name], want))
					assert.Empty(t, d.Unlike, "%s %s %s", weights, mode, name)
					worst, sqnr = max(worst, d.Rel), min(sqnr, d.SQNR)
				}
				t.Logf("%s %-9s size %.2f, difference %.1e, SQNR %.1f dB", weights, mode, ratio, worst, sqnr)
				if weights == "float16" {
					assert.LessOrEqual(t, worst, 5e-3)
				} else {
					assert.GreaterOrEqual(t, sqnr, 20.0)
				}
			}
			if c.Name != "digits" && c.Name != "minilm-l2-trimvocab-fp32" { // which has its table of words
				assert.Less(t, ratio, map[string]float64{"float16": 0.62, "int8": 0.45}[weights])
			}
		}
		return true
	})
}
