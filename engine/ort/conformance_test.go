package ort_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/ort"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
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
		tests, passed, without := readArchive(t, "../../testdata/conformance/"+archive+".tar.gz"), 0, 0
		for _, test := range slices.Sorted(maps.Keys(tests)) {
			err := tests[test].run(e)
			switch {
			case errors.Is(err, errNoInput):
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

// conformanceTest is a model and its data by path.
type conformanceTest map[string][]byte

func readArchive(t *testing.T, file string) map[string]conformanceTest {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	r := map[string]conformanceTest{}
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if err == io.EOF {
			return r
		}
		require.NoError(t, err)
		parts := strings.SplitN(path.Clean(h.Name), "/", 3)
		if h.Typeflag != tar.TypeReg || len(parts) < 3 {
			continue
		}
		b, err := io.ReadAll(a)
		require.NoError(t, err)
		test := parts[0] + "/" + parts[1]
		if r[test] == nil {
			r[test] = conformanceTest{}
		}
		r[test][parts[2]] = b
	}
}

var errNoInput = errors.New("the test has no input files")

// run runs the model on every data set it comes with.
func (c conformanceTest) run(e engine.Engine) error {
	f, err := onnxio.Read(c["model.onnx"], onnxio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := e.Load(context.Background(), f.Model, engine.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	for set := 0; ; set++ {
		dir := fmt.Sprintf("test_data_set_%d/", set)
		if c[dir+"output_0.pb"] == nil {
			return nil
		}
		if err := c.runSet(f.Model.Main, s, dir); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
}

func (c conformanceTest) runSet(g *ir.Graph, s engine.Session, dir string) error {
	in := map[string]ir.Datum{}
	for i, slot := range g.Inputs() {
		b, ok := c[dir+fmt.Sprintf("input_%d.pb", i)]
		if !ok {
			if slot.Value().Default() == nil {
				return errNoInput
			}
			continue
		}
		d, _, err := onnxio.ReadDatum(b, slot.Type())
		if err != nil {
			return err
		}
		in[slot.Name()] = d
	}
	got, err := s.Run(context.Background(), in)
	if err != nil {
		return err
	}
	for i, slot := range g.Outputs() {
		want, _, err := onnxio.ReadDatum(c[dir+fmt.Sprintf("output_%d.pb", i)], slot.Type())
		if err != nil {
			return err
		}
		d := compare.Datum(want, got[slot.Name()])
		tolerance := compare.Tolerance{Rel: 1e-3, Abs: 1e-7}
		if d.DType.IsFloat() && d.DType.Bits() <= 16 && d.DType != ir.Float16 {
			tolerance.Rel = 1.0 / 64
		}
		if err := tolerance.Check(d); err != nil {
			return fmt.Errorf("output %q: %w", slot.Name(), err)
		}
	}
	return nil
}
