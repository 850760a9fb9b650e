package ort_test

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
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/internal/conformance/execute"
)

// knownVersion is the version of the library that testdata/known.tsv speaks of.
const knownVersion = "1.32.0"

// TestConformance runs the ONNX project's node and model tests through ONNX Runtime. Of the version that testdata/known.tsv was
// made with, every test passes that is not in it, and those in it fail. Tests that want a locale which the machine does not
// have are counted.
func TestConformance(t *testing.T) {
	e := open(t, ort.Options{})
	known := readKnown(t)
	failed := map[string]bool{}
	for archive, atLeast := range map[string]int{"onnx-node-tests": 1744, "onnx-model-tests": 116} {
		tests, passed, without := maps.Collect(conformance.Tests(t, conformance.Archive(t, archive))), 0, 0
		for _, test := range slices.Sorted(maps.Keys(tests)) {
			err := execute.Test(e, tests[test], engine.Options{})
			switch {
			case errors.Is(err, execute.ErrNoInput):
				assert.NotContains(t, archive, "node", "%s has no input files", test)
			case err == nil:
				passed++
			case strings.Contains(err.Error(), "Failed to construct locale"):
				without++
			default:
				failed[test] = true
				if e.Info().Version == knownVersion {
					assert.Contains(t, known, test, "%v", err)
				}
			}
		}
		if e.Info().Version == knownVersion {
			assert.GreaterOrEqual(t, passed+without, atLeast, archive)
		}
		t.Logf("ONNX Runtime %s, %s: %d of %d pass, %d want the locale en_US.UTF-8", e.Info().Version, archive, passed, len(tests), without)
	}
	if e.Info().Version == knownVersion {
		for test := range known {
			assert.True(t, failed[test], "%s is listed and passes", test)
		}
	}
}

// readKnown reads testdata/known.tsv: the reason by test.
func readKnown(t *testing.T) map[string]string {
	b, err := os.ReadFile("testdata/known.tsv")
	require.NoError(t, err)
	r := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		test, why, ok := strings.Cut(strings.TrimSpace(line), "\t")
		require.True(t, ok && why != "", "a test without a reason: %s", line)
		r[test] = why
	}
	return r
}
