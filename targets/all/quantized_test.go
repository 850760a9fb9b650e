package all_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/passes"
	passlist "github.com/onnxopt/onnxopt/passes/all"
	"github.com/onnxopt/onnxopt/targets/all"
	"github.com/onnxopt/onnxopt/targets/consumer"
	"github.com/onnxopt/onnxopt/targets/targettest"
)

// quantize writes a model quantized for the target on eight generated samples, and returns its path.
func quantize(t *testing.T, path, sizes, options string) string {
	f, err := onnxio.Open(path, onnxio.Options{})
	require.NoError(t, err)
	defer f.Close()
	r, err := passlist.RegistryFor(all.Profiles())
	require.NoError(t, err)
	text := "quantize{" + options + "}"
	if sizes != "" {
		text = "set-shape{" + sizes + "}," + text
	}
	p, err := r.Parse(text)
	require.NoError(t, err)
	var samples []map[string]ir.Datum
	for seed := range 8 {
		sets := compare.Inputs(f.Model, uint64(seed+1), compare.GenerateOptions{})
		samples = append(samples, sets[0])
	}
	data := measured.New(measured.Fixed(samples...), native.New(), 2)
	_, err = p.Run(context.Background(), f.Model, passes.Config{Data: map[passes.Data]any{"": data}})
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), filepath.Base(path))
	_, err = onnxio.WriteFile(out, f.Model, onnxio.WriteOptions{})
	require.NoError(t, err)
	return out
}

// TestInt8 quantizes models for LiteRT, and runs what is written with each of its resolvers: with XNNPACK outputs are within one
// quantization step of the QDQ model, in ONNX Runtime where that is here, else in the embedded engine.
func TestInt8(t *testing.T) {
	ctx := context.Background()
	k := consumer.Lookup("litert")
	p := python(t, k)
	target, _ := all.Lookup("tflite")
	models, sizes := realModels(t)
	for _, path := range models {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if !map[string]bool{"mnist-8": true, "resnet8-cifar10": true, "squeezenet-fp16-winml": true, "ultraface-RFB-320": true, "fastestdet": true, "digits": true}[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, err := targettest.Prepare(ctx, quantize(t, path, sizes[name], "profile=tflite objective=size"), "", "", native.New())
			require.NoError(t, err)
			if ort := os.Getenv("ONNXOPT_PYTHON"); ort != "" {
				require.NoError(t, c.Judge(ctx, ort))
			}
			e, err := c.Emit(ctx, target, "{layout=keep}", t.TempDir())
			require.NoError(t, err)
			for _, mode := range []string{"", "plain", "reference"} {
				rel, got, err := c.Run(ctx, k, p, mode, e.Path(""))
				if mode == "" {
					assert.NoError(t, err)
				}
				sqnr := 1000.0
				for name, want := range c.Want {
					require.NotNil(t, got[name], "%s %s: %v", mode, name, err)
					sqnr = min(sqnr, compare.Datum(want, compare.Like(got[name], want)).SQNR)
				}
				// Without XNNPACK, integer kernels round sums to a multiplier of 31 bits, and each layer may be a step off: they add up.
				assert.GreaterOrEqual(t, sqnr, 12.0, mode)
				t.Logf("%-9s difference %.1e, SQNR %.1f dB", mode, rel, sqnr)
			}
		})
	}
}
