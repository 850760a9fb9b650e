package opset_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
)

// TestRealModels converts each real model to every version, and from the newest to the oldest, and holds the results to the promise: all of them are valid,
// and those of some versions are run.
func TestRealModels(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/models/*.onnx")
	if len(files) == 0 {
		t.Skip("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	run := map[int64]bool{11: true, 13: true, 18: true, 28: true, 29: true}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		t.Run(name, func(t *testing.T) {
			f, err := onnxio.Open(path, onnxio.Options{})
			require.NoError(t, err)
			defer f.Close()
			newest := f.Model.Clone()
			newestExact, err := convert(newest, 28)
			require.NoError(t, err)
			for to := int64(11); to <= 29; to++ {
				m := f.Model.Clone()
				exact, err := convert(m, min(to, 28))
				if to == 29 { // up and all the way down
					m = newest
					exact, err = convert(m, 11)
					exact = exact && newestExact
				}
				require.NoError(t, err, "to %d", to)
				require.NoError(t, ir.Verify(m), "to %d", to)
				require.NoError(t, ops.Verify(m), "to %d", to)
				if testing.Short() || !run[to] {
					continue
				}
				tolerance := compare.Tolerances(f.Model)
				v, err := compare.Models(context.Background(), native.New(), f.Model, m, compare.NewGenerator(f.Model, compare.GenerateOptions{Seed: 1}), compare.Options{
					Budget: compare.Budget{Time: time.Minute}, MaxSets: 1,
					Tolerance: func(o string) compare.Tolerance {
						if exact {
							return compare.Tolerance{Exact: true}
						}
						return tolerance[o]
					},
				})
				require.NoError(t, err, "to %d", to)
				require.Equal(t, compare.Verified, v.State, "to %d (exact: %t): %s", to, exact, v)
			}
		})
	}
}
