package requantize_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/requantize"
)

// TestModels changes real models that are quantized, in both engines: a change of type moves no bit, one of form at most a step.
func TestModels(t *testing.T) {
	engines := append([]engine.Engine{native.New()}, orttest.Engines(t)...)
	reg, err := passes.NewRegistry(requantize.Pass)
	require.NoError(t, err)
	for _, name := range []string{"resnet8-cifar10-int8qdq", "mnist-ort-dynquant", "tract-qlstm"} {
		path := filepath.Join("../../../shared/models", name+".onnx")
		if _, err := os.Stat(path); err != nil {
			t.Skip("left out: the models of ../shared, which are not there")
		}
		for _, text := range []string{"requantize{activations=u8}", "requantize{activations=s8}", "requantize{form=qdq}", "requantize{form=qoperator}",
			"requantize{form=qoperator},requantize{form=qdq activations=u8}"} {
			t.Run(name+"/"+text, func(t *testing.T) {
				f, err := onnxio.Open(path, onnxio.Options{})
				require.NoError(t, err)
				defer f.Close()
				before := f.Model.Clone()
				p, err := reg.Parse(text)
				require.NoError(t, err)
				_, err = p.Run(context.Background(), f.Model, passes.Config{})
				require.NoError(t, err)
				require.NoError(t, ir.Verify(f.Model))
				require.NoError(t, ops.Verify(f.Model))
				tolerances := compare.Tolerances(before)
				for i, e := range engines {
					if i > 0 && strings.Contains(text, "u8") && strings.HasPrefix(name, "resnet8") {
						continue // its weights have 8 bits, and ONNX Runtime multiplies uint8 by int8 with saturation where there is no VNNI
					}
					v, err := compare.Models(context.Background(), e, before, f.Model, nil, compare.Options{
						MaxSets: 2, Tolerance: func(name string) compare.Tolerance { return tolerances[name] }})
					require.NoError(t, err)
					assert.Equal(t, compare.Verified, v.State, "engine %s: %s", e.Name(), v)
				}
			})
		}
	}
}
