package opset_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/opset"
)

// convert runs the pass. exact is what it promises for the model.
func convert(m *ir.Model, to int64) (exact bool, err error) {
	reg, err := passes.NewRegistry(opset.Pass)
	if err != nil {
		return false, err
	}
	p, err := reg.Parse(fmt.Sprintf("opset{to=%d}", to))
	if err != nil {
		return false, err
	}
	r, err := p.Run(context.Background(), m, passes.Config{})
	if err != nil {
		return false, err
	}
	for _, s := range r.Steps {
		for _, x := range s.Rewrites {
			if x.Rule == "expand" {
				return false, nil
			}
		}
	}
	return true, nil
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
		if errors.Is(err, io.EOF) {
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

func (c conformanceTest) model(t *testing.T) *ir.Model {
	f, err := onnxio.Read(c["model.onnx"], onnxio.Options{})
	require.NoError(t, err)
	return f.Model
}

// reread writes m and reads it again.
func reread(m *ir.Model) (*ir.Model, error) {
	var b bytes.Buffer
	if _, err := onnxio.Write(&b, m, onnxio.WriteOptions{}); err != nil {
		return nil, err
	}
	f, err := onnxio.Read(b.Bytes(), onnxio.Options{})
	if err != nil {
		return nil, err
	}
	return f.Model, nil
}

var errNoInput = errors.New("the test has no input files")

// check verifies m, runs it on every data set of the test, and holds it to the promise against the model it was made of.
func (c conformanceTest) check(m *ir.Model, exact bool, before []map[string]ir.Datum) error {
	if err := ir.Verify(m); err != nil {
		return err
	}
	if err := ops.Verify(m); err != nil {
		return err
	}
	m, err := reread(m)
	if err != nil {
		return err
	}
	after, err := c.run(m)
	if err != nil {
		return err
	}
	for i := range before {
		for _, o := range m.Main.Outputs() {
			d := compare.Datum(before[i][o.Name()], after[i][o.Name()])
			tolerance := compare.Tolerance{Exact: true}
			if !exact {
				tolerance = compare.O2(d.DType)
			}
			if err := tolerance.Check(d); err != nil {
				return fmt.Errorf("promise (exact %t), output %q: %w", exact, o.Name(), err)
			}
		}
	}
	return nil
}

// run runs m on every data set and compares with what was recorded.
func (c conformanceTest) run(m *ir.Model) (out []map[string]ir.Datum, err error) {
	s, err := native.New().Load(context.Background(), m, engine.Options{MaxMemory: 1 << 30})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for set := 0; ; set++ {
		dir := fmt.Sprintf("test_data_set_%d/", set)
		if c[dir+"output_0.pb"] == nil {
			return out, nil
		}
		got, err := c.runSet(m.Main, s, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		out = append(out, got)
	}
}

func (c conformanceTest) runSet(g *ir.Graph, s engine.Session, dir string) (map[string]ir.Datum, error) {
	in := map[string]ir.Datum{}
	for i, slot := range g.Inputs() {
		b, ok := c[dir+fmt.Sprintf("input_%d.pb", i)]
		if !ok {
			if slot.Value().Default() == nil {
				return nil, errNoInput
			}
			continue
		}
		d, _, err := onnxio.ReadDatum(b, slot.Type())
		if err != nil {
			return nil, err
		}
		in[slot.Name()] = d
	}
	got, err := s.Run(context.Background(), in)
	if err != nil {
		return nil, err
	}
	for i, slot := range g.Outputs() {
		want, _, err := onnxio.ReadDatum(c[dir+fmt.Sprintf("output_%d.pb", i)], slot.Type())
		if err != nil {
			return nil, err
		}
		d := compare.Datum(want, got[slot.Name()])
		tolerance := compare.Tolerance{Rel: 1e-3, Abs: 1e-7}
		if d.DType.IsFloat() && d.DType.Bits() <= 16 && d.DType != ir.Float16 {
			tolerance.Rel = 1.0 / 64
		}
		if err := tolerance.Check(d); err != nil {
			return nil, fmt.Errorf("output %q: %w", slot.Name(), err)
		}
	}
	return got, nil
}
