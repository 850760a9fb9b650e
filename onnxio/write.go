package onnxio

import (
	"bufio"
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
	names, err := naming.Assign(m)
	if err != nil {
		return nil, err
	}
	w := &writer{m: m, names: names, irVersion: m.IRVersion}
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

// raise finds the IR version that what was made since reading needs.
func (w *writer) raise() {
	need, why := int64(0), ""
	want := func(v int64, what string) {
		if v > need {
			need, why = v, what
		}
	}
	for _, f := range w.m.Functions {
		if f.Extra == nil {
			want(8, "a function")
			if f.Overload != "" {
				want(10, "an overloaded function")
			}
		}
	}
	tensor := func(t *ir.Tensor) {
		if recordOf(t) == nil {
			want(dtypeIRVersion(t.DType()), "type "+t.DType().String())
		}
	}
	for _, g := range w.m.Graphs() {
		for _, v := range g.Consts() {
			tensor(v.Const())
		}
		for n := range g.Nodes() {
			for _, a := range n.Attrs() {
				if a.Extra == nil {
					for t := range tensorsOf(a) {
						tensor(t)
					}
				}
			}
		}
	}
	if need > w.m.IRVersion {
		w.irVersion = need
		w.done.Remarks = append(w.done.Remarks, fmt.Sprintf("ir_version rises from %d to %d, which %s needs", w.m.IRVersion, need, why))
	}
}

// dtypeIRVersion is the IR version that brought an element type.
func dtypeIRVersion(d ir.DType) int64 {
	switch d {
	case ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ:
		return 9
	case ir.Int4, ir.Uint4:
		return 10
	case ir.Float4E2M1:
		return 11
	case ir.Float8E8M0:
		return 12
	case ir.Int2, ir.Uint2:
		return 13
	}
	return 0
}
