package dataset

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/npz"
)

// npzSource reads a .npz file: one sample a row, or the whole file as one.
type npzSource struct {
	path   string
	file   *npz.File
	inputs []string // arrays for inputs
	fixed  []column // arrays that belong to every sample
	labels []float64
	expect []string // arrays for outputs
	n      int
	whole  bool
	// unnamed says that the only array is for the only input, whatever it is called.
	unnamed bool
}

func (s *Set) openNpz(path string) (source, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	src := &npzSource{path: path, file: f, n: -1, whole: s.o.Whole}
	if err := s.sortArrays(src); err != nil {
		f.Close()
		return nil, err
	}
	return src, nil
}

// sortArrays finds out what each array of the file is for.
func (s *Set) sortArrays(src *npzSource) error {
	names := src.file.Names()
	var free []string // for no input, output or label by name
	for _, name := range names {
		switch {
		case s.isLabel(name):
			t, err := src.file.Read(name)
			if err == nil {
				src.labels, err = labelsOf(t)
			}
			if err != nil {
				return fmt.Errorf("labels %q: %w", name, err)
			}
		case s.input(name) != nil:
			src.inputs = append(src.inputs, name)
		case find(s.o.Outputs, name) != nil:
			src.expect = append(src.expect, name)
		default:
			free = append(free, name)
		}
	}
	if len(free) > 0 && (len(free) > 1 || len(src.inputs) > 0) {
		return fmt.Errorf("the array %q is for no input of the model, which takes %s", free[0], s.names())
	}
	if len(free) == 1 { // whatever its name is, as np.savez(file, x) calls it arr_0
		if _, err := s.only(); err != nil {
			return fmt.Errorf("the array %q is for no input of the model, which takes %s", free[0], s.names())
		}
		src.inputs, src.unnamed = free, true
	}
	if len(src.inputs) == 0 {
		return fmt.Errorf("there is no array for an input of the model, which takes %s", s.names())
	}
	if src.whole {
		src.n = 1
		return nil
	}
	return s.countRows(src)
}

// countRows finds the number of samples: the first size of all arrays but those that fit an input as they are.
func (s *Set) countRows(src *npzSource) error {
	var rows []string
	for _, name := range src.inputs {
		a, c, err := src.file.Array(name)
		if err != nil {
			return err
		}
		c.Close()
		p, err := s.arrayPort(name)
		if err != nil {
			return err
		}
		if staticFit(a.Shape, p) {
			t, err := src.file.Read(name)
			if err != nil {
				return err
			}
			d, err := s.fit(t, p, false) // once, for samples are put together only if they share it
			if err != nil {
				return fmt.Errorf("input %q: %w", p.Name, err)
			}
			src.fixed = append(src.fixed, column{p.Name, d, true})
			continue
		}
		if len(a.Shape) == 0 {
			return fmt.Errorf("array %q is a scalar where the model takes %s", name, p.Type)
		}
		if a.Shape[0] > 0 && a.ByteLen() == 0 { // its rows would cost nothing, whatever their number
			return fmt.Errorf("array %q of shape %v has no elements", name, a.Shape)
		}
		n := int(a.Shape[0])
		if src.n >= 0 && n != src.n && s.o.Raw { // there is no telling which axis counts samples
			src.n, src.whole, src.fixed, src.labels = 1, true, nil, nil
			return nil
		}
		if src.n >= 0 && n != src.n {
			return fmt.Errorf("array %q has %d rows, array %q has %d", rows[0], src.n, name, n)
		}
		src.n = n
		rows = append(rows, name)
	}
	if len(rows) == 0 { // all fit as they are
		src.n, src.whole, src.fixed = 1, true, nil
		return nil
	}
	src.inputs = rows
	if src.labels != nil && len(src.labels) != src.n {
		return fmt.Errorf("%d labels for %d samples", len(src.labels), src.n)
	}
	return nil
}

// arrayPort is the input that an array is for.
func (s *Set) arrayPort(name string) (*Port, error) {
	if p := s.input(name); p != nil {
		return p, nil
	}
	return s.only()
}

// staticFit reports whether an array is one input of a fully known shape with no axis that could count samples.
func staticFit(shape []int64, p *Port) bool {
	want, ok := p.Type.TensorShape().Ints()
	return ok && slices.Equal(shape, want)
}

func (s *npzSource) size() int    { return s.n }
func (s *npzSource) close() error { return s.file.Close() }

func (s *npzSource) rows(ctx context.Context) iter.Seq[row] {
	if s.whole {
		return func(yield func(row) bool) { yield(s.all()) }
	}
	return func(yield func(row) bool) {
		readers := make([]rowReader, len(s.inputs))
		for i, name := range s.inputs {
			a, c, err := s.file.Array(name)
			if err == nil {
				defer c.Close()
				readers[i], err = newRowReader(a, func() (*ir.Tensor, error) { return s.file.Read(name) })
			}
			if err != nil {
				yield(row{name: s.path, err: err})
				return
			}
		}
		for i := 0; i < s.n; i++ {
			r := row{name: fmt.Sprintf("%s, row %d", s.path, i), label: labelAt(s.labels, i), values: slices.Clone(s.fixed)}
			for k, read := range readers {
				t, err := read()
				if err != nil {
					yield(row{name: r.name, err: fmt.Errorf("array %q: %w", s.inputs[k], err)})
					return
				}
				r.values = append(r.values, column{name: s.columnName(k), value: t})
			}
			if !yield(r) {
				return
			}
		}
	}
}

// columnName is the name of array k for bind.
func (s *npzSource) columnName(k int) string {
	if s.unnamed {
		return ""
	}
	return s.inputs[k]
}

// all is the file as one sample.
func (s *npzSource) all() row {
	r := row{name: s.path, label: math.NaN(), whole: true}
	for k, name := range s.inputs {
		t, err := s.file.Read(name)
		if err != nil {
			return row{name: s.path, err: err}
		}
		r.values = append(r.values, column{name: s.columnName(k), value: t})
	}
	for _, name := range s.expect {
		t, err := s.file.Read(name)
		if err != nil {
			return row{name: s.path, err: err}
		}
		r.expect = append(r.expect, column{name: name, value: t})
	}
	if len(s.labels) == 1 {
		r.label = s.labels[0]
	}
	return r
}

// rowReader gives one row after the other, of shape [1, ...].
type rowReader func() (*ir.Tensor, error)

// newRowReader streams a; an array that cannot be streamed is read by whole.
func newRowReader(a *npz.Array, whole func() (*ir.Tensor, error)) (rowReader, error) {
	if !a.Fortran || len(a.Shape) < 2 {
		return func() (*ir.Tensor, error) {
			t, err := a.Rows(1)
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return t, err
		}, nil
	}
	t, err := whole()
	if err != nil {
		return nil, err
	}
	i := int64(0)
	return func() (*ir.Tensor, error) {
		i++
		return rowOf(t, i-1)
	}, nil
}

// rowOf is row i of a tensor, of shape [1, ...].
func rowOf(t *ir.Tensor, i int64) (*ir.Tensor, error) {
	shape := slices.Clone(t.Shape())
	rows := shape[0]
	shape[0] = 1
	if t.DType() == ir.String {
		s, err := t.Strings()
		if err != nil {
			return nil, err
		}
		n := int64(len(s)) / rows
		return ir.NewStringTensor(shape, s[i*n:(i+1)*n]), nil
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	n := int64(len(b)) / rows
	return ir.NewTensor(t.DType(), shape, b[i*n:(i+1)*n]), nil
}

// npzFolder is a folder of .npz files, each the inputs of one run.
type npzFolder struct {
	set   *Set
	files []string
}

func (f *npzFolder) size() int    { return len(f.files) }
func (f *npzFolder) close() error { return nil }

func (f *npzFolder) rows(ctx context.Context) iter.Seq[row] {
	return func(yield func(row) bool) {
		for _, path := range f.files {
			if ctx.Err() != nil || !yield(f.read(path)) {
				return
			}
		}
	}
}

func (f *npzFolder) read(path string) row {
	file, err := npz.Open(path)
	if err != nil {
		return row{name: path, err: err}
	}
	defer file.Close()
	src := &npzSource{path: path, file: file, whole: true}
	if err := f.set.sortArrays(src); err != nil {
		return row{name: path, err: err}
	}
	return src.all()
}
