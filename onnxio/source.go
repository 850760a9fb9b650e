package onnxio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/onnxopt/onnxopt/internal/par"
)

// source is a file, or memory, that a model was read from. Slices of data are valid until close.
type source struct {
	data   []byte
	path   string                      // "" for memory
	file   *os.File                    // nil for memory, and for data files
	stat   func() (os.FileInfo, error) // nil for memory
	size   int64
	mtime  time.Time
	unmap  func() error
	closed atomic.Bool
}

// errClosed is what reading a tensor gives after File.Close.
var errClosed = errors.New("the model file was closed")

// checkedSize is from which length on a slice is only handed out after a look at whether the file changed.
const checkedSize = 64 << 10

// openSource maps a regular file. f is the source's from then on.
func openSource(f *os.File, path string) (*source, error) {
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s := &source{path: path, file: f, size: st.Size(), mtime: st.ModTime(), stat: f.Stat}
	if s.size == 0 {
		return s, nil
	}
	if s.size != int64(int(s.size)) {
		f.Close()
		return nil, fmt.Errorf("%s has %d bytes, more than this machine can address", path, s.size)
	}
	s.data, s.unmap, err = mapFile(f, int(s.size))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s cannot be mapped: %w", path, err)
	}
	return s, nil
}

// check reports whether b, a part of s, can still be read.
func (s *source) check(b []byte) error {
	if s.closed.Load() {
		return errClosed
	}
	if len(b) >= checkedSize {
		return s.unchanged()
	}
	return nil
}

// unchanged reports whether the file is as it was when it was opened.
func (s *source) unchanged() error {
	if s.closed.Load() {
		return errClosed
	}
	if s.stat == nil {
		return nil
	}
	st, err := s.stat()
	if errors.Is(err, fs.ErrNotExist) { // removed; the map is still whole
		return nil
	}
	if err != nil {
		return err
	}
	if st.Size() != s.size || !st.ModTime().Equal(s.mtime) {
		return fmt.Errorf("%s changed while it was in use", s.path)
	}
	return nil
}

func (s *source) close() error {
	if s.closed.Swap(true) {
		return nil
	}
	var err error
	if s.unmap != nil {
		err = s.unmap()
	}
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// Guard runs f so that a fault on mapped memory, such as reading a file that somebody truncated, is an error instead of the end
// of the program. It covers the calling goroutine and the loops of internal/par that it runs. Whoever reads the weights of an opened model does so inside Guard.
func Guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		r := recover()
		if r == nil {
			return
		}
		if par.IsFault(r) {
			err = errors.New("a file changed or was closed while it was read")
			return
		}
		panic(r)
	}()
	return f()
}
