package quantize_test

import (
	"context"
	"iter"
	"testing"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/quantize"
	"github.com/onnxopt/onnxopt/targets/onnxruntime"
)

// generated are eight samples of a model's inputs.
func generated(m *ir.Model) map[passes.Data]any {
	return map[passes.Data]any{"": measured.New(open(m), native.New(), 2)}
}

func open(m *ir.Model) measured.Samples {
	return func(ctx context.Context) iter.Seq2[map[string]ir.Datum, error] {
		return func(yield func(map[string]ir.Datum, error) bool) {
			for seed := range uint64(8) {
				for set, err := range compare.NewGenerator(m, compare.GenerateOptions{Seed: seed}).Sets(ctx) {
					if !yield(set.Inputs, err) {
						return
					}
					break
				}
			}
		}
	}
}

func TestPass(t *testing.T) {
	passtest.Run(t, quantize.With(onnxruntime.Profiles()...), passtest.Data(generated))
}
