package ort

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// session is a loaded model. Only handle and missing change.
type session struct {
	*Engine
	threads int
	limit   int64
	inputs  []input
	known   map[string]bool // names of inputs
	outputs []output        // the model's own, each name once, then those of taps
	own     int             // how many of outputs are the model's
	taps    []tap
	remarks []string
	remove  string // a folder to delete at the end

	running sync.RWMutex // held for reading by runs, for writing by Close
	handle  uintptr      // OrtSession, 0 after Close

	nothing sync.Mutex
	missing map[string]*placeholder // by type: what stands for an empty sequence or optional
}

// input is an input of the model and its name in C.
type input struct {
	*ir.Slot
	cname []byte
}

// output is an output of the library's session.
type output struct {
	name  string
	typ   *ir.Type // as declared; nil if nothing is known
	cname []byte
}

var errClosed = errors.New("the session is closed")

// newSession notes the interface of m and of its taps.
func (e *Engine) newSession(m *ir.Model, t *taps, o engine.Options) (*session, error) {
	s := &session{Engine: e, threads: max(o.Threads, 1), limit: o.MaxMemory, known: map[string]bool{}, taps: t.from}
	for _, slot := range m.Main.Inputs() {
		c, err := cString(slot.Name())
		if err != nil {
			return nil, err
		}
		s.inputs = append(s.inputs, input{slot, c})
		s.known[slot.Name()] = true
	}
	seen := map[string]bool{}
	for _, slot := range m.Main.Outputs() {
		if seen[slot.Name()] { // repeated for the same value
			continue
		}
		seen[slot.Name()] = true
		t := slot.Type()
		if t == nil {
			t = slot.Value().Type()
		}
		s.outputs = append(s.outputs, output{name: slot.Name(), typ: t})
	}
	s.own = len(s.outputs)
	for i, name := range t.extra {
		s.outputs = append(s.outputs, output{name: name, typ: t.types[i]})
	}
	for i := range s.outputs {
		var err error
		if s.outputs[i].cname, err = cString(s.outputs[i].name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Remarks says in sentences what the caller may want to know about the session: nodes that no chosen execution provider
// took. Callers reach it by an interface of this one method.
func (s *session) Remarks() []string { return slices.Clone(s.remarks) }

// Close waits for runs that are under way and releases the session. Later runs are an error.
func (s *session) Close() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.handle == 0 {
		return nil
	}
	s.release(fnReleaseSession, s.handle)
	s.handle = 0
	var errs []error
	for _, p := range s.missing {
		errs = append(errs, p.close(s.Engine))
	}
	if s.remove != "" {
		errs = append(errs, os.RemoveAll(s.remove))
	}
	return errors.Join(errs...)
}

// check compares what a run is given with the model's interface: names, presence, and size. The library checks the rest.
func (s *session) check(in map[string]ir.Datum) error {
	for _, slot := range s.inputs {
		d, ok := in[slot.Name()]
		if ok && !isNil(d) || !ok && slot.Value().Default() != nil {
			continue
		}
		return fmt.Errorf("input %q is missing", slot.Name())
	}
	var unknown []string
	total := int64(0)
	for name, d := range in {
		if !s.known[name] {
			unknown = append(unknown, name)
		} else if s.limit > 0 {
			total += byteLen(d)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("the model has no input %q", slices.Min(unknown))
	}
	if s.limit > 0 && total > s.limit {
		return engine.ErrMemory
	}
	return nil
}

// byteLen is the number of bytes of the tensors in d.
func byteLen(d ir.Datum) (n int64) {
	switch d := d.(type) {
	case *ir.Tensor:
		if d.DType() == ir.String {
			s, _ := d.Strings() // an error shows when the value is made
			for _, x := range s {
				n += int64(len(x))
			}
			return n
		}
		return max(d.ByteLen(), 0)
	case *ir.Sequence:
		for _, x := range d.Items {
			if !isNil(x) {
				n += byteLen(x)
			}
		}
	case *ir.Optional:
		if !isNil(d.Item) {
			n = byteLen(d.Item)
		}
	case *ir.Map:
		if d.Keys != nil {
			n = byteLen(d.Keys)
		}
		for _, x := range d.Values {
			if !isNil(x) {
				n += byteLen(x)
			}
		}
	}
	return n
}

// isNil reports a missing value, typed nil pointers included.
func isNil(d ir.Datum) bool {
	switch d := d.(type) {
	case nil:
		return true
	case *ir.Tensor:
		return d == nil
	case *ir.Sequence:
		return d == nil
	case *ir.Optional:
		return d == nil
	case *ir.Map:
		return d == nil
	}
	return false
}
