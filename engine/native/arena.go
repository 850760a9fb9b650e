package native

import (
	"unsafe"

	"github.com/onnxopt/onnxopt/ir"
)

// arena lends the buffers of results and takes them back when the last value over them dies, so that a run touches as much
// memory as it needs at one time. It knows a buffer by its first element: a kernel that returns its operand, reshaped or not,
// adds a holder. What a run hands to its caller is still held when the run ends, and never comes back.
//
// An arena belongs to one run at a time, and its results to the main graph: frames of subgraphs and functions take scratch from
// it, but allocate results from the heap, because those live on in kernels that nobody can see.
type arena struct {
	free     map[int][]*buffer // by capacity
	lent     map[unsafe.Pointer]*buffer
	retained int64 // bytes in free
}

// buffer is a slice with the number of slots that hold values over it.
type buffer struct {
	data    []float32
	holders int
}

func newArena() *arena {
	return &arena{free: map[int][]*buffer{}, lent: map[unsafe.Pointer]*buffer{}}
}

// capacityFor rounds a length up so that few capacities occur: to an eighth of a power of two.
func capacityFor(n int) int {
	step := 64
	for step*16 < n {
		step *= 2
	}
	return (n + step - 1) / step * step
}

// get lends n elements of any value; n is positive. Room bounds what the arena may hold back besides, in bytes.
func (a *arena) get(n int, room int64) []float32 {
	size := capacityFor(n)
	b := a.take(size)
	if b == nil {
		if a.retained+4*int64(size) > room {
			a.drop()
		}
		b = &buffer{data: make([]float32, size)}
	}
	a.lent[unsafe.Pointer(unsafe.SliceData(b.data))] = b
	return b.data[:n:n]
}

// take removes a free buffer of the capacity, or of the next few ones, nil if there is none.
func (a *arena) take(size int) *buffer {
	for range 3 {
		if l := a.free[size]; len(l) > 0 {
			b := l[len(l)-1]
			a.free[size] = l[:len(l)-1]
			a.retained -= 4 * int64(len(b.data))
			return b
		}
		size = capacityFor(size + 1)
	}
	return nil
}

// putBack takes back elements that get lent and no value holds.
func (a *arena) putBack(v []float32) {
	p := unsafe.Pointer(unsafe.SliceData(v))
	if b := a.lent[p]; b != nil && b.holders == 0 {
		a.reclaim(p, b)
	}
}

func (a *arena) reclaim(p unsafe.Pointer, b *buffer) {
	delete(a.lent, p)
	a.free[len(b.data)] = append(a.free[len(b.data)], b)
	a.retained += 4 * int64(len(b.data))
}

// drop leaves all free buffers to the garbage collector.
func (a *arena) drop() {
	clear(a.free)
	a.retained = 0
}

// hold notes that one more slot has a value over the buffers of d.
func (a *arena) hold(d ir.Datum) {
	eachTensor(d, func(t *ir.Tensor) {
		if b := a.lent[address(t)]; b != nil {
			b.holders++
		}
	})
}

// release undoes hold. A buffer without a holder is free.
func (a *arena) release(d ir.Datum) {
	eachTensor(d, func(t *ir.Tensor) {
		p := address(t)
		if b := a.lent[p]; b != nil {
			if b.holders--; b.holders == 0 {
				a.reclaim(p, b)
			}
		}
	})
}

// sole reports whether t lies in a buffer that exactly one slot holds.
func (a *arena) sole(t *ir.Tensor) bool {
	b := a.lent[address(t)]
	return b != nil && b.holders == 1
}

// forget ends a run: what is still lent belongs to others.
func (a *arena) forget() { clear(a.lent) }

// address is where the elements of t begin; nil for payloads that are not in memory of ours.
func address(t *ir.Tensor) unsafe.Pointer {
	if t.DType() == ir.String {
		return nil
	}
	if _, mapped := t.Payload().(ir.Uncached); mapped {
		return nil
	}
	b, err := t.Bytes()
	if err != nil || len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(unsafe.SliceData(b))
}

// eachTensor calls f for the tensors of d.
func eachTensor(d ir.Datum, f func(*ir.Tensor)) {
	switch d := d.(type) {
	case *ir.Tensor:
		if d != nil {
			f(d)
		}
	case *ir.Sequence:
		for _, x := range d.Items {
			eachTensor(x, f)
		}
	case *ir.Optional:
		eachTensor(d.Item, f)
	case *ir.Map:
		eachTensor(d.Keys, f)
		for _, x := range d.Values {
			eachTensor(x, f)
		}
	}
}
