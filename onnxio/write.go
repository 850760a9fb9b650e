package onnxio

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// DataLayout says where the elements of initializers are written.
type DataLayout uint8

// The layouts. A single file of 2 GiB or more is what no C++ reader accepts.
const (
	// DataAuto writes one file, and data files beside it if the model came with some or would reach Limit.
	DataAuto DataLayout = iota
	// DataKeep leaves every element where it is and copies the data files to the model's new folder.
	DataKeep
	// DataInline writes one file.
	DataInline
	// DataExternal writes data files.
	DataExternal
)

// WriteOptions say how a model is written. The zero value is the default.
type WriteOptions struct {
	Data      DataLayout
	Threshold int64 // initializers of fewer bytes stay in the model; default 1024
	Align     int64 // of elements in data files, in bytes; default 4096
	Shard     int64 // size at which a further data file is started; default: never
	Limit     int64 // largest size of the model itself in bytes; default 2^31-1
	// Durable waits until the new files are on the disk, so that they survive a loss of power. Without it WriteFile does so only
	// where the new file replaces the one that the model was read from: a process that dies never leaves half a file either way.
	Durable bool
	// Stop is asked before each piece that is written. Its error ends the write; a file is then as it was before. nil: never.
	Stop func() error
}

func (o WriteOptions) withDefaults() WriteOptions {
	for _, d := range []struct {
		field *int64
		value int64
	}{{&o.Threshold, 1024}, {&o.Align, 4096}, {&o.Limit, 1<<31 - 1}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return o
}

// Written says what a write did.
type Written struct {
	Bytes   int64    // of the model itself
	Data    []string // names of the data files that the model refers to
	Remarks []string // a sentence each
}

// Hash is the content of a model with all its weights.
func Hash(m *ir.Model) (string, error) {
	h := sha256.New()
	err := Guard(func() error {
		_, err := Write(h, m, WriteOptions{Data: DataInline})
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:16]), err
}

// Write streams m to out. It changes nothing in m. A stream has no data files beside it: DataExternal is an error, and so
// is a model that reaches the limit.
func Write(out io.Writer, m *ir.Model, o WriteOptions) (*Written, error) {
	o = o.withDefaults()
	if o.Data == DataExternal {
		return nil, errors.New("data files cannot be written to a stream")
	}
	w, err := newWriter(m)
	if err != nil {
		return nil, err
	}
	if o.Data != DataKeep {
		w.data = &dataPlan{}
	}
	err = Guard(func() error {
		r, err := w.model()
		if err != nil {
			return err
		}
		return w.stream(o.stoppable(out), r, o.Limit)
	})
	return &w.done, err
}

// stream writes the message, having checked that what it was read from is still the same.
func (w *writer) stream(out io.Writer, r wire.Rope, limit int64) error {
	if r.Len() > limit {
		return fmt.Errorf("the model has %d bytes; more than %d need data files", r.Len(), limit)
	}
	if err := w.unchanged(); err != nil {
		return err
	}
	b := bufio.NewWriterSize(out, 1<<16)
	n, err := r.WriteTo(b)
	if err != nil {
		return err
	}
	w.done.Bytes = n
	if err := b.Flush(); err != nil {
		return err
	}
	return w.unchanged()
}

// newWriter prepares a writer.
func newWriter(m *ir.Model) (*writer, error) {
	if m.Main == nil {
		return nil, errors.New("the model has no graph")
	}
	if m.IRVersion < 1 {
		return nil, errors.New("the model has no ir_version")
	}
	names, err := naming.Assign(m)
	if err != nil {
		return nil, err
	}
	w := &writer{m: m, names: names, irVersion: m.IRVersion, graphs: map[*ir.Function][]*ir.Graph{}}
	for _, g := range m.Graphs() {
		w.graphs[g.Function()] = append(w.graphs[g.Function()], g)
	}
	w.raise()
	return w, w.unchanged()
}

// unchanged reports whether the files that the model was read from are as they were.
func (w *writer) unchanged() error {
	x := extraOf[modelExtra](w.m.Extra)
	if x == nil {
		return nil
	}
	if err := x.src.unchanged(); err != nil {
		return err
	}
	for _, s := range x.data.open {
		if err := s.unchanged(); err != nil {
			return err
		}
	}
	return nil
}
