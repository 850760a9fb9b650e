package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

// openNpy reads one array for the only input.
func (s *Set) openNpy(path string) (source, error) {
	labels, err := s.labels("")
	if err != nil {
		return nil, err
	}
	if s.o.Whole {
		return &npyFiles{files: []string{path}, labels: labels, whole: true}, nil
	}
	return newNpyColumns(map[string]string{"": path}, []string{""}, labels)
}

// openNpyFolder reads a folder of .npy files.
func (s *Set) openNpyFolder(files []string) (source, error) {
	columns, names := map[string]string{}, []string{}
	numbered := s.o.Raw && s.numbered(files)
	var rest []string
	var labels []float64
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		switch {
		case s.isLabel(name):
			var err error
			if labels, err = labelFile(path, s.classes); err != nil {
				return nil, err
			}
		case s.input(name) != nil && !numbered:
			columns[name] = path
			names = append(names, name)
		default:
			rest = append(rest, path)
		}
	}
	if labels == nil {
		var err error
		if labels, err = s.labels(""); err != nil {
			return nil, err
		}
	}
	if len(columns) == 0 {
		sortNumbered(rest)
		byName, err := s.tableIn(s.path)
		return &npyFiles{dir: s.path, files: rest, labels: labels, byName: byName}, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%s is for no input of the model, which takes %s", rest[0], s.names())
	}
	if s.o.Whole {
		return nil, errors.New("a folder of arrays is one sample a row; pass the arrays one by one")
	}
	return newNpyColumns(columns, names, labels)
}

// numbered reports whether the files but labels differ in a number alone, so that each is a sample.
func (s *Set) numbered(files []string) bool {
	var bases []string
	for _, path := range files {
		if s.isLabel(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))) {
			continue
		}
		base, n := number(filepath.Base(path))
		if n < 0 {
			return false
		}
		bases = append(bases, base)
	}
	return len(unique(bases)) == 1
}

// labels are those of Options.Labels, or of the file guess if that is there.
func (s *Set) labels(guess string) ([]float64, error) {
	if s.o.Labels != "" {
		return labelFile(s.o.Labels, s.classes)
	}
	if guess == "" {
		return nil, nil
	}
	if _, err := os.Stat(guess); err != nil {
		return nil, nil // there are none
	}
	return labelFile(guess, s.classes)
}

// tableIn is the table of labels in a folder, nil if there is none.
func (s *Set) tableIn(dir string) (map[string]float64, error) {
	path := filepath.Join(dir, labelsFile)
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	_, labels, err := labelTable(path, s.classes)
	return labels, err
}

// npyColumns are .npy files whose rows are samples, one file an input.
type npyColumns struct {
	paths  map[string]string
	names  []string
	labels []float64
	n      int
}

func newNpyColumns(paths map[string]string, names []string, labels []float64) (source, error) {
	s := &npyColumns{paths: paths, names: names, labels: labels, n: -1}
	for _, name := range names {
		a, c, err := openArray(paths[name])
		if err != nil {
			return nil, at(paths[name], err)
		}
		c.Close()
		switch {
		case len(a.Shape) == 0:
			return nil, at(paths[name], errors.New("a scalar has no rows"))
		case a.Shape[0] > 0 && a.ByteLen() == 0:
			return nil, at(paths[name], fmt.Errorf("an array of shape %v has no elements", a.Shape))
		case s.n >= 0 && int(a.Shape[0]) != s.n:
			return nil, at(paths[name], fmt.Errorf("%d rows where the other files have %d", a.Shape[0], s.n))
		}
		s.n = int(a.Shape[0])
	}
	if labels != nil && len(labels) != s.n {
		return nil, fmt.Errorf("%d labels for %d samples", len(labels), s.n)
	}
	return s, nil
}

func openArray(path string) (*npz.Array, io.Closer, error) {
	r, err := openMaybeGzip(path)
	if err != nil {
		return nil, nil, err
	}
	a, err := npz.NewArray(r)
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return a, r, nil
}

func (s *npyColumns) size() int    { return s.n }
func (s *npyColumns) close() error { return nil }

func (s *npyColumns) rows(ctx context.Context) iter.Seq[row] {
	return func(yield func(row) bool) {
		readers := make([]rowReader, len(s.names))
		for i, name := range s.names {
			path := s.paths[name]
			a, c, err := openArray(path)
			if err == nil {
				defer c.Close()
				readers[i], err = newRowReader(a, func() (*ir.Tensor, error) { return readArray(path) })
			}
			if err != nil {
				yield(row{name: path, err: err})
				return
			}
		}
		for i := 0; i < s.n; i++ {
			r := row{label: labelAt(s.labels, i)}
			for k, read := range readers {
				name := s.names[k]
				r.name = fmt.Sprintf("%s, row %d", s.paths[name], i)
				t, err := read()
				if err != nil {
					yield(row{name: r.name, err: err})
					return
				}
				r.values = append(r.values, column{name: name, value: t})
			}
			if !yield(r) {
				return
			}
		}
	}
}

// readArray reads a .npy file.
func readArray(path string) (*ir.Tensor, error) {
	r, err := openMaybeGzip(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return npz.ReadArray(r, 0)
}

// npyFiles are .npy files that each hold one sample of the only input.
type npyFiles struct {
	dir    string
	files  []string
	labels []float64
	byName map[string]float64 // labels by file
	whole  bool
}

func (s *npyFiles) size() int    { return len(s.files) }
func (s *npyFiles) close() error { return nil }

func (s *npyFiles) rows(ctx context.Context) iter.Seq[row] {
	return func(yield func(row) bool) {
		for i, path := range s.files {
			r := row{name: path, label: labelAt(s.labels, i), whole: s.whole}
			if l, ok := s.byName[filepath.Base(path)]; ok {
				r.label = l
			}
			t, err := readArray(path)
			r.values, r.err = []column{{value: t}}, err
			if ctx.Err() != nil || !yield(r) {
				return
			}
		}
	}
}
