// Package measuredtest makes calibration data for tests of passes.
package measuredtest

import (
	"context"
	"iter"

	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Generated are n generated samples of a model's inputs as the data of --calib, for passtest.Data.
func Generated(n uint64) func(m *ir.Model) map[passes.Data]any {
	return func(m *ir.Model) map[passes.Data]any {
		open := func(ctx context.Context) iter.Seq2[map[string]ir.Datum, error] {
			return func(yield func(map[string]ir.Datum, error) bool) {
				for seed := range n {
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
}
