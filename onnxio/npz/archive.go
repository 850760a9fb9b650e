package npz

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// File is an open .npz file.
type File struct {
	// Limit bounds the bytes of an array that is read whole; 0 stands for DefaultLimit.
	Limit int64

	names   []string
	entries map[string]*zip.File
	close   func() error
}

// maxEntries bounds the arrays of one file.
const maxEntries = 1 << 20

// Open opens a .npz file. Arrays are not loaded.
func Open(path string) (*File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() { // opening a FIFO would wait for a writer
		return nil, errors.New("this is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewFile(f, st.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	r.close = f.Close
	return r, nil
}

// NewFile reads the directory of a .npz file.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("no .npz file: %w", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%d arrays are too many", len(z.File))
	}
	f := &File{entries: make(map[string]*zip.File, len(z.File)), close: func() error { return nil }}
	for _, e := range z.File {
		name, ok := strings.CutSuffix(e.Name, ".npy")
		switch {
		case strings.HasSuffix(e.Name, "/"):
			continue
		case !ok:
			return nil, fmt.Errorf("no .npz file: the archive holds %q, which is no .npy file", e.Name)
		case f.entries[name] != nil:
			return nil, fmt.Errorf("the array %q occurs twice", name)
		}
		f.names = append(f.names, name)
		f.entries[name] = e
	}
	return f, nil
}

// Names lists the arrays in the order of the file. The caller must not change it.
func (f *File) Names() []string { return f.names }

// Close closes the file.
func (f *File) Close() error { return f.close() }

// Array begins to read an array. The caller closes the reader.
func (f *File) Array(name string) (*Array, io.Closer, error) {
	e := f.entries[name]
	if e == nil {
		return nil, nil, fmt.Errorf("there is no array %q", name)
	}
	r, err := e.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("array %q: %w", name, err)
	}
	a, err := NewArray(r)
	if err != nil {
		r.Close()
		return nil, nil, fmt.Errorf("array %q: %w", name, err)
	}
	return a, r, nil
}

// Read reads an array into memory.
func (f *File) Read(name string) (*ir.Tensor, error) {
	a, c, err := f.Array(name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, err := a.rest(f.Limit)
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	return t, nil
}

// Writer writes a .npz file. Call Close behind the last array.
type Writer struct {
	z    *zip.Writer
	seen map[string]bool
}

// NewWriter begins a .npz file.
func NewWriter(w io.Writer) *Writer { return &Writer{zip.NewWriter(w), map[string]bool{}} }

// Add writes an array, compressed. The same arrays give the same bytes.
func (w *Writer) Add(name string, t *ir.Tensor) error {
	if name == "" || w.seen[name] {
		return fmt.Errorf("an array of the name %q cannot be added", name)
	}
	w.seen[name] = true
	e, err := w.z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Deflate})
	if err == nil {
		err = WriteArray(e, t)
	}
	if err != nil {
		return fmt.Errorf("array %q: %w", name, err)
	}
	return nil
}

// Close ends the file; the writer below stays open.
func (w *Writer) Close() error { return w.z.Close() }
