package all_test

import (
	"context"
	"strings"
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
	whole(t, "transformers", map[string]outcome{
		"bert-12 O3": {counts: map[string]int{"MultiHeadAttention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0, "ReduceMean": 0}},
		"bert-17 O3": {counts: map[string]int{"MultiHeadAttention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0}},
		"vit-14 O3":  {counts: map[string]int{"MultiHeadAttention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0, "ReduceMean": 0}},
		"vit-23 O3":  {counts: map[string]int{"Attention": 1, "LayerNormalization": 3, "BiasGelu": 1, "Softmax": 0, "Erf": 0}},
	})
}

// TestDecoders runs O2 and O3 on decoders of two layers with a past of keys and values. ONNX Runtime 1.32 has 98 and 178 nodes for GPT-2 and
// Llama with its extended optimizations.
func TestDecoders(t *testing.T) {
	whole(t, "decoders", map[string]outcome{
		"gpt2-17 O2":  {most: 113, counts: map[string]int{"LayerNormalization": 5, "Softmax": 2}},
		"gpt2-17 O3":  {most: 97, counts: map[string]int{"MultiHeadAttention": 2, "FastGelu": 2, "Softmax": 0, "Tanh": 0}},
		"gpt2-23 O2":  {most: 97, counts: map[string]int{"Attention": 2, "Gelu": 2, "Softmax": 0, "Tanh": 0}},
		"gpt2-23 O3":  {most: 97, counts: map[string]int{"Attention": 2, "Gelu": 2, "Softmax": 0, "Tanh": 0}},
		"llama-17 O2": {most: 150, counts: map[string]int{"Softmax": 2, "Neg": 4}},
		"llama-17 O3": {most: 130, counts: map[string]int{"RotaryEmbedding": 4, "QuickGelu": 2, "Neg": 0, "Cos": 1, "Sin": 1, "Range": 3}},
		"step-17 O3":  {most: 130, counts: map[string]int{"RotaryEmbedding": 4, "GroupQueryAttention": 2, "Softmax": 0, "Neg": 0}},
		"llama-23 O2": {most: 100, counts: map[string]int{"RotaryEmbedding": 4, "Attention": 2, "RMSNormalization": 5, "Softmax": 0, "Neg": 0, "Cos": 1, "Sin": 1}},
		"llama-23 O3": {most: 100, counts: map[string]int{"RotaryEmbedding": 4, "Attention": 2, "RMSNormalization": 5, "QuickGelu": 2, "Softmax": 0, "Neg": 0}},
	})
}

// outcome is what a preset makes of a model: how many nodes of a type, and of all at most if most is not 0.
type outcome struct {
	most   int
	counts map[string]int
}

// whole runs presets on the models of a file, and compares in all engines. want is by model and preset.
func whole(t *testing.T, file string, want map[string]outcome) {
	a, err := txtar.ParseFile("testdata/" + file + ".txtar")
	require.NoError(t, err)
	reg, err := all.Registry()
	require.NoError(t, err)
	engines := append([]engine.Engine{native.New()}, orttest.Engines(t)...)
	models := map[string][]byte{}
	seen := map[string]bool{}
	for _, f := range a.Files {
		models[f.Name] = f.Data
	}
	for name, w := range want {
		model, preset, _ := strings.Cut(name, " ")
		seen[model] = true
		t.Run(name, func(t *testing.T) {
			pipe, err := reg.Parse(preset)
			require.NoError(t, err)
			require.Contains(t, models, model)
			m, err := text.Parse(models[model])
			require.NoError(t, err)
			c := m.Clone()
			_, err = pipe.Run(context.Background(), c, passes.Config{})
			require.NoError(t, err)
			require.NoError(t, ir.Verify(c))
			require.NoError(t, ops.Verify(c))
			have, total := map[string]int{}, 0
			for n := range c.Nodes() {
				have[n.Op().Type]++
				total++
			}
			if w.most > 0 {
				require.LessOrEqual(t, total, w.most, "%v", have)
			}
			for op, n := range w.counts {
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
	require.Len(t, seen, len(models))
}
