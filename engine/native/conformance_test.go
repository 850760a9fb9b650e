package native_test

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
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
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
		tests := readArchive(t, "../../testdata/conformance/"+name+".tar.gz")
		for _, test := range slices.Sorted(maps.Keys(tests)) {
			if testing.Short() && strings.HasPrefix(test, "light/") {
				continue
			}
			err := tests[test].run()
			var u *engine.UnsupportedError
			switch {
			case errors.Is(err, errNoInput):
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
func (c conformanceTest) run() error {
	f, err := onnxio.Read(c["model.onnx"], onnxio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := native.New().Load(context.Background(), f.Model, engine.Options{MaxMemory: 1 << 30})
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
