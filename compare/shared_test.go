package compare

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// Every real model loads, takes the generated inputs, and gives the same bits when it runs again. Where it has free
// dimensions it takes a second size of them.
func TestRealModelsRunOnGeneratedInputs(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "models", "*.onnx"))
	if len(files) == 0 {
		t.Skip("left out: the real models of ../shared/models are not here; they come with the shared material")
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		t.Run(name, func(t *testing.T) {
			f, err := onnxio.Open(path, onnxio.Options{})
			require.NoError(t, err)
			defer f.Close()
			if c := cost.Model(f.Model, cost.Options{Types: infer.Model(f.Model).Type}); testing.Short() && c.MACs > 1e9 {
				t.Skip("left out: more than 1e9 multiply-accumulates take too long here")
			}
			exact := func(string) Tolerance { return Tolerance{Exact: true} }
			v := models(t, f.Model, f.Model, nil, Options{Tolerance: exact, Budget: Budget{Time: 5 * time.Minute}, MaxSets: 2})
			require.Equal(t, Verified, v.State, v.String())
			if free(f.Model) {
				assert.GreaterOrEqual(t, v.Sets, 2)
			}
		})
	}
}

// free reports whether an input has a dimension that is not static.
func free(m *ir.Model) bool {
	for _, s := range m.Main.Inputs() {
		for _, d := range s.Type().TensorShape() {
			if s.Value().Default() == nil && !d.IsStatic() {
				return true
			}
		}
	}
	return false
}
