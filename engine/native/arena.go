package native

import (
	"slices"
	"unsafe"

	"github.com/onnxopt/onnxopt/ir"
)

// arena lends memory for results and takes it back when the last value over it dies, so that a run touches as much memory as it
// needs at one time. It knows what it lent by the first element: a kernel that returns its operand, reshaped or not, adds a holder.
//
// Memory comes in slabs, as large as what was asked for when nothing free was large enough, and is divided into blocks: the best
// fit is split, and free neighbours are joined.
//
// An arena belongs to one run at a time, and its results to the main graph: frames of subgraphs and functions take scratch from
// it, but allocate results from the heap, because those live on in kernels that nobody can see.
type arena struct {
	slabs    []*slab
	free     []*block
	lent     map[unsafe.Pointer]*block
	retained int64 // bytes in free
}

type slab struct{ data []float32 }

// block is a part of a slab, with the number of slots that hold values over it.
type block struct {
	slab       *slab
	at, size   int
	prev, next *block // neighbours
	place      int    // in arena.free; -1: it is lent
	holders    int
}

func newArena() *arena { return &arena{lent: map[unsafe.Pointer]*block{}} }

const (
	lineFloats = 16      // blocks begin at cache lines
	smallSlab  = 1 << 14 // elements; smaller results share slabs of this size
	mostSplit  = 16      // a block is not split for less than this part of it, whose neighbour would have to wait for it
)

// get lends n elements of any value; n is positive. Room bounds what the arena may hold back besides, in bytes.
func (a *arena) get(n int, room int64) []float32 {
	size := (n + lineFloats - 1) / lineFloats * lineFloats
	b := a.fit(size)
	if b == nil {
		most := max(size, smallSlab)
		if a.retained+4*int64(most) > room {
			a.drop()
			most = size
		}
		s := &slab{data: make([]float32, most)}
		b = &block{slab: s, size: most}
		a.slabs = append(a.slabs, s)
		a.putFree(b)
	}
	a.takeFree(b)
	if rest := b.size - size; rest > 0 {
		c := &block{slab: b.slab, at: b.at + size, size: rest, prev: b, next: b.next}
		if c.next != nil {
			c.next.prev = c
		}
		b.next, b.size = c, size
		a.putFree(c)
	}
	v := b.slab.data[b.at:][:n:n]
	a.lent[unsafe.Pointer(unsafe.SliceData(v))] = b
	return v
}

// fit is the smallest free block for so many elements, of several the one that was freed last; nil if there is none.
func (a *arena) fit(size int) *block {
	var best *block
	for _, b := range slices.Backward(a.free) {
		if b.size >= size && (best == nil || b.size < best.size) {
			best = b
		}
	}
	if best != nil && best.size > max(mostSplit*size, smallSlab) {
		return nil
	}
	return best
}

func (a *arena) putFree(b *block) {
	b.place = len(a.free)
	a.free = append(a.free, b)
	a.retained += 4 * int64(b.size)
}

func (a *arena) takeFree(b *block) {
	a.free = slices.Delete(a.free, b.place, b.place+1)
	for i := b.place; i < len(a.free); i++ {
		a.free[i].place = i
	}
	b.place = -1
	a.retained -= 4 * int64(b.size)
}

// putBack takes back elements that are lent and no value holds.
func (a *arena) putBack(v []float32) {
	p := unsafe.Pointer(unsafe.SliceData(v))
	if b := a.lent[p]; b != nil && b.holders == 0 {
		a.reclaim(p, b)
	}
}

func (a *arena) reclaim(p unsafe.Pointer, b *block) {
	delete(a.lent, p)
	if q := b.prev; q != nil && q.place >= 0 {
		a.takeFree(q)
		b = a.join(q, b)
	}
	if q := b.next; q != nil && q.place >= 0 {
		a.takeFree(q)
		b = a.join(b, q)
	}
	a.putFree(b)
}

// join makes one of two neighbours.
func (a *arena) join(b, c *block) *block {
	b.size += c.size
	if b.next = c.next; b.next != nil {
		b.next.prev = b
	}
	return b
}

// drop leaves the slabs that are free as a whole to the garbage collector.
func (a *arena) drop() {
	for _, b := range slices.Clone(a.free) {
		if b.size == len(b.slab.data) {
			a.takeFree(b)
			a.remove(b.slab)
		}
	}
}

func (a *arena) remove(s *slab) {
	i := slices.Index(a.slabs, s)
	a.slabs = slices.Delete(a.slabs, i, i+1)
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

// leave ends a run. The results that the caller gets leave the arena: as copies, or with their slab where they fill it or are
// not alone in a value. All else is free again.
func (a *arena) leave(results []ir.Datum) {
	gone := map[*slab]bool{}
	for i, d := range results {
		t, single := d.(*ir.Tensor)
		if single && t != nil {
			if b := a.lent[address(t)]; b != nil && b.size < len(b.slab.data) {
				if v, err := t.Bytes(); err == nil {
					results[i] = ir.NewTensor(t.DType(), t.Shape(), slices.Clone(v))
					continue
				}
			}
		}
		eachTensor(d, func(t *ir.Tensor) {
			if b := a.lent[address(t)]; b != nil {
				gone[b.slab] = true
			}
		})
	}
	a.slabs = slices.DeleteFunc(a.slabs, func(s *slab) bool { return gone[s] })
	clear(a.lent)
	a.free, a.retained = a.free[:0], 0
	for _, s := range a.slabs {
		a.putFree(&block{slab: s, size: len(s.data)})
	}
}

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
