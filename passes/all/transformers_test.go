package all_test

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/orttest"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/all"
)

// TestTransformers runs O3 on whole layers of transformers: what each pass finds alone must still be found after the others.
func TestTransformers(t *testing.T) {
	want := map[string]map[string]int{
		"bert-12": {"MultiHeadAttention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0, "ReduceMean": 0},
		"bert-17": {"MultiHeadAttention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0},
		"vit-14":  {"MultiHeadAttention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0, "ReduceMean": 0},
		"vit-23":  {"Attention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0},
	}
	a, err := txtar.ParseFile("testdata/transformers.txtar")
	if os.IsNotExist(err) {
		t.Fatal(err)
	}
	require.NoError(t, err)
	reg, err := all.Registry()
	require.NoError(t, err)
	pipe, err := reg.Parse("O3")
	require.NoError(t, err)
	engines := append([]engine.Engine{native.New()}, orttest.Engines(t)...)
	require.Len(t, a.Files, len(want))
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			m, err := text.Parse(f.Data)
			require.NoError(t, err)
			c := m.Clone()
			_, err = pipe.Run(context.Background(), c, passes.Config{})
			require.NoError(t, err)
			require.NoError(t, ir.Verify(c))
			require.NoError(t, ops.Verify(c))
			have := map[string]int{}
			for n := range c.Nodes() {
				have[n.Op().Type]++
			}
			for op, n := range want[f.Name] {
				if op == "LayerNormalization" { // SkipLayerNormalization where the sizes are plain to see
					have[op] += have["SkipLayerNormalization"]
				}
				require.Equal(t, n, have[op], "%s, of %v", op, have)
			}
			for _, e := range engines {
				v, err := compare.Models(context.Background(), e, m, c, compare.NewGenerator(m, compare.GenerateOptions{Seed: 1}), compare.Options{})
				require.NoError(t, err)
				require.Equal(t, compare.Verified, v.State, "in engine %s: %s", e.Name(), v)
			}
		})
	}
}
