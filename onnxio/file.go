package onnxio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// Options say how a model is read. The zero value reads a model as its file states it.
type Options struct {
	// DataDir is the folder of the model's data files. The default is the model's own folder; a model that was not opened
	// by its path has none.
	DataDir string
	// DataRoot names a folder that links in DataDir may lead into. Without it links that leave DataDir are refused.
	DataRoot string
	// FreezeDefaults makes inputs with a default constants.
	FreezeDefaults bool
}

// File is an open model. The model's weights are slices of the file, so it stays open for as long as the model is used.
type File struct {
	Model   *ir.Model
	Remarks []string // what was odd about the file and how it was taken, a sentence each

	src  *source
	data *dataFiles
}

// Open maps the file at path and reads it. Weights are not loaded.
func Open(path string, o Options) (*File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() { // opening a FIFO would wait for a writer
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := openSource(f, path)
	if err != nil {
		return nil, err
	}
	if o.DataDir == "" {
		o.DataDir = filepath.Dir(path)
	}
	r, err := read(s, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Read reads a model from memory. b must not change while the model is in use.
func Read(b []byte, o Options) (*File, error) {
	return read(&source{data: b[:len(b):len(b)], size: int64(len(b))}, o)
}

// ReadFrom reads a model from a stream into memory.
func ReadFrom(r io.Reader, o Options) (*File, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return Read(b, o)
}

func read(s *source, o Options) (*File, error) {
	rd := &reader{src: s, o: o, files: newDataFiles(o), strings: map[string]string{}, types: map[string]*ir.Type{}}
	err := Guard(func() error { return rd.model(s.data) })
	if err == nil {
		err = s.unchanged()
	}
	if err != nil {
		rd.files.close()
		return nil, errors.Join(wire.Locate(err, s.data), s.close())
	}
	return &File{Model: rd.m, Remarks: rd.remarks, src: s, data: rd.files}, nil
}

// Close unmaps the model's files. The weights cannot be read afterwards, and the model cannot be written.
func (f *File) Close() error {
	return errors.Join(f.src.close(), f.data.close())
}

// MapFile maps a regular file. The bytes are valid until close is called, and are read inside Guard.
func MapFile(path string) (b []byte, close func() error, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() { // opening a FIFO would wait for a writer
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	s, err := openSource(f, path)
	if err != nil {
		return nil, nil, err
	}
	return s.data, s.close, nil
}
