package dropbranches

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
)

// generated are ten samples of a model's inputs.
func generated(m *ir.Model) map[passes.Data]any {
	open := func(ctx context.Context) iter.Seq2[map[string]ir.Datum, error] {
		return func(yield func(map[string]ir.Datum, error) bool) {
			for seed := range uint64(10) {
				for set, err := range compare.NewGenerator(m, compare.GenerateOptions{Seed: seed}).Sets(ctx) {
					if !yield(set.Inputs, err) {
						return
					}
					break
				}
			}
		}
	}
	return map[passes.Data]any{"": measured.New(open, native.New(), 2)}
}

func TestPass(t *testing.T) { passtest.Run(t, Pass, passtest.Data(generated)) }
