package dataset

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// testData are folders of ONNX's test data: input_0.pb, ..., output_0.pb, ... in the order of the model's interface.
type testData struct {
	set  *Set
	dirs []string
}

func (s *Set) openTestData(dirs []string) (source, error) { return &testData{s, dirs}, nil }

func (t *testData) size() int    { return len(t.dirs) }
func (t *testData) close() error { return nil }

func (t *testData) rows(ctx context.Context) iter.Seq[row] {
	return func(yield func(row) bool) {
		for _, dir := range t.dirs {
			if ctx.Err() != nil || !yield(t.read(dir)) {
				return
			}
		}
	}
}

func (t *testData) read(dir string) row {
	r := row{name: dir, label: math.NaN(), whole: true}
	if t.set.o.Raw {
		r.values, r.err = rawProtos(dir, "input")
		return r
	}
	if r.values, r.err = readProtos(dir, "input", t.set.o.Inputs); r.err == nil {
		r.expect, r.err = readProtos(dir, "output", t.set.o.Outputs)
	}
	return r
}

// readProtos reads the values of the ports, as many as there are files.
func readProtos(dir, what string, ports []Port) ([]column, error) {
	var r []column
	for i, p := range ports {
		path := filepath.Join(dir, fmt.Sprintf("%s_%d.pb", what, i))
		if _, err := os.Stat(path); err != nil {
			break
		}
		d, err := readProto(path, p.Type)
		if err != nil {
			return nil, at(path, err)
		}
		r = append(r, column{name: p.Name, value: d})
	}
	extra := filepath.Join(dir, fmt.Sprintf("%s_%d.pb", what, len(ports)))
	if _, err := os.Stat(extra); err == nil && len(ports) > 0 {
		return nil, fmt.Errorf("%s: the model has %d %ss only", extra, len(ports), what)
	}
	return r, nil
}

// rawProtos reads what there is, by the names of the tensors.
func rawProtos(dir, what string) (r []column, err error) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s_%d", what, i)
		path := filepath.Join(dir, name+".pb")
		if _, err := os.Stat(path); err != nil {
			return r, nil
		}
		d, err := readProto(path, nil)
		if err != nil {
			return nil, at(path, err)
		}
		r = append(r, column{name: name, value: d})
	}
}

// readProto reads a file that holds one value; t says of which kind it is, nil: a tensor.
func readProto(path string, t *ir.Type) (ir.Datum, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("this is no regular file")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d, _, err := onnxio.ReadDatum(b, t)
	return d, err
}
