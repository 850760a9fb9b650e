package native

import (
	"unsafe"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// ledger counts the bytes of the values that a run holds. Tensors over the same elements (a Reshape and its operand) count
// once. Elements in a mapped file cost nothing. Without a limit nothing is counted.
type ledger struct {
	limit, live int64
	held        map[unsafe.Pointer]holding
}

type holding struct {
	bytes int64
	refs  int
}

func newLedger(limit int64) *ledger {
	l := &ledger{limit: limit}
	if limit > 0 {
		l.held = map[unsafe.Pointer]holding{}
	}
	return l
}

// room is what may still be allocated; 0 means that there is no limit, as in kernel.Call.
func (l *ledger) room() int64 {
	if l.limit <= 0 {
		return 0
	}
	return max(l.limit-l.live, 1)
}

// hold counts d; ErrMemory says that it is too much.
func (l *ledger) hold(d ir.Datum) error {
	if l.limit <= 0 {
		return nil
	}
	l.each(d, func(p unsafe.Pointer, n int64) {
		h := l.held[p]
		h.refs++
		if n > h.bytes {
			l.live += n - h.bytes
			h.bytes = n
		}
		l.held[p] = h
	})
	if l.live > l.limit {
		return engine.ErrMemory
	}
	return nil
}

// release undoes hold.
func (l *ledger) release(d ir.Datum) {
	if l.limit <= 0 {
		return
	}
	l.each(d, func(p unsafe.Pointer, _ int64) {
		h := l.held[p]
		if h.refs--; h.refs > 0 {
			l.held[p] = h
			return
		}
		l.live -= h.bytes
		delete(l.held, p)
	})
}

// each calls f for the buffers of d with their sizes in bytes.
func (l *ledger) each(d ir.Datum, f func(unsafe.Pointer, int64)) {
	switch d := d.(type) {
	case *ir.Tensor:
		if d != nil {
			tensorBuffer(d, f)
		}
	case *ir.Sequence:
		for _, x := range d.Items {
			l.each(x, f)
		}
	case *ir.Optional:
		l.each(d.Item, f)
	case *ir.Map:
		l.each(d.Keys, f)
		for _, x := range d.Values {
			l.each(x, f)
		}
	}
}

func tensorBuffer(t *ir.Tensor, f func(unsafe.Pointer, int64)) {
	if _, mapped := t.Payload().(ir.Uncached); mapped {
		return
	}
	if t.DType() == ir.String {
		if s, err := t.Strings(); err == nil && len(s) > 0 {
			n := int64(len(s)) * int64(unsafe.Sizeof(""))
			for _, x := range s {
				n += int64(len(x))
			}
			f(unsafe.Pointer(unsafe.SliceData(s)), n)
		}
		return
	}
	if b, err := t.Bytes(); err == nil && len(b) > 0 {
		f(unsafe.Pointer(unsafe.SliceData(b)), int64(len(b)))
	}
}
