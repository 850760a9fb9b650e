package native_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/internal/conformance/execute"
)

// skips reads which conformance tests do not pass, with the reason: the list of the kernels, but for what concerns them alone.
func skips(t *testing.T) map[string]string {
	b, err := os.ReadFile("../../ops/kernel/testdata/conformance-skips.tsv")
	require.NoError(t, err)
	known := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) == 2 && strings.HasPrefix(f[0], "test_") {
			known["node/"+f[0]] = f[1]
		}
	}
	return known
}

// TestConformance runs the ONNX project's node and model tests as whole models: interface, functions, subgraphs, types. Tests
// with operators that have no kernel are counted; every other one passes unless the list of skips says why not.
func TestConformance(t *testing.T) {
	known, passed, without, failed := skips(t), 0, 0, map[string]bool{}
	for _, name := range []string{"onnx-node-tests", "onnx-model-tests"} {
		tests := maps.Collect(conformance.Tests(t, conformance.Archive(t, name)))
		for _, test := range slices.Sorted(maps.Keys(tests)) {
			if testing.Short() && strings.HasPrefix(test, "light/") {
				continue
			}
			err := execute.Test(native.New(), tests[test], engine.Options{MaxMemory: 1 << 30})
			var u *engine.UnsupportedError
			switch {
			case errors.Is(err, execute.ErrNoInput):
			case err == nil:
				passed++
			case errors.As(err, &u):
				without++
			default:
				failed[test] = true
				assert.NotEmpty(t, known[test], "%s: %v", test, err)
			}
		}
	}
	for test := range known {
		assert.True(t, failed[test], "%s is listed and passes", test)
	}
	t.Logf("%d pass, %d use operators without a kernel, %d fail as listed", passed, without, len(failed))
}
