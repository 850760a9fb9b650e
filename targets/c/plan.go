package c

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// align is that of buffers, in bytes.
const align = 64

func aligned(n int) int { return (n + align - 1) / align * align }

// memory is the plan of all.
type memory struct {
	bytes   int     // of the arena
	types   []ctype // of its elements but bytes, which may lie among any
	live    int     // the largest sum of bytes alive at once
	peak    int     // the step of it
	weights int     // bytes
}

// lifetimes finds out how long each buffer of the arena is needed, and drops those that nothing uses.
func (b *builder) lifetimes() []*buffer {
	for _, buf := range b.buffers {
		buf.first, buf.last = -1, -1
	}
	use := func(buf *buffer, at int) {
		if buf.first < 0 {
			buf.first = at
		}
		buf.last = max(buf.last, at)
	}
	var list []*buffer
	add := func(buf *buffer) {
		if buf.data == nil && buf.param == "" && !slices.Contains(list, buf) {
			list = append(list, buf)
		}
	}
	for i, s := range b.steps {
		for _, t := range s.out {
			t.buf.elems = max(t.buf.elems, t.root().size())
			use(t.buf, i)
			add(t.buf)
		}
		for _, t := range s.in {
			use(t.buf, i)
		}
		if s.scratch != nil {
			s.scratch.first, s.scratch.last = i, i
			add(s.scratch)
		}
	}
	return list
}

// place gives all buffers their places.
func (b *builder) place() *memory {
	m := &memory{}
	list := b.lifetimes()
	for _, buf := range list {
		if buf.typ.size > 1 && !slices.Contains(m.types, buf.typ) {
			m.types = append(m.types, buf.typ)
		}
	}
	if len(m.types) == 0 {
		m.types = []ctype{float}
	}
	for i := range b.steps {
		sum := 0
		for _, buf := range list {
			if buf.first <= i && i <= buf.last {
				sum += buf.elems * buf.typ.size
			}
		}
		if sum > m.live {
			m.live, m.peak = sum, i
		}
	}
	if len(list) > 0 {
		m.bytes = pack(list, len(b.steps))
	}
	for _, buf := range b.consts {
		buf.offset = m.weights
		m.weights += aligned(len(buf.data))
	}
	return m
}

func (buf *buffer) bytes() int { return aligned(buf.elems * buf.typ.size) }

// pack places buffers so that those alive at once do not overlap, and returns how many bytes they take: first fit in several orders, the best
// of which is kept.
func pack(list []*buffer, steps int) int {
	live, bytes := 0, 0
	for i := range steps {
		sum := 0
		for _, buf := range list {
			if buf.first <= i && i <= buf.last {
				sum += buf.bytes()
			}
		}
		live = max(live, sum)
	}
	type spot struct {
		buf    *buffer
		offset int
	}
	fit := func(order []*buffer) ([]spot, int) {
		var placed []spot // by offset
		total := 0
		for _, buf := range order {
			at := 0
			for _, p := range placed {
				if p.buf.last < buf.first || buf.last < p.buf.first {
					continue
				}
				if p.offset >= at+buf.bytes() {
					break
				}
				at = max(at, p.offset+p.buf.bytes())
			}
			i, _ := slices.BinarySearchFunc(placed, at, func(s spot, x int) int { return cmp.Compare(s.offset, x) })
			placed = slices.Insert(placed, i, spot{buf, at})
			total = max(total, at+buf.bytes())
		}
		return placed, total
	}
	best := []spot(nil)
	try := func(order []*buffer) bool {
		if p, total := fit(order); best == nil || total < bytes {
			best, bytes = p, total
		}
		return bytes <= live
	}
	order := slices.Clone(list)
	rand := rand.New(rand.NewPCG(1, 1))
	for _, less := range []func(x, y *buffer) int{
		func(x, y *buffer) int { return cmp.Compare(y.bytes(), x.bytes()) },
		func(x, y *buffer) int { return cmp.Compare(y.bytes()*(y.last-y.first+1), x.bytes()*(x.last-x.first+1)) },
		func(x, y *buffer) int { return cmp.Compare(y.last-y.first, x.last-x.first) },
		func(x, y *buffer) int { return cmp.Compare(x.first, y.first) },
	} {
		slices.SortStableFunc(order, less)
		if try(order) {
			break
		}
		for range 50 {
			o := slices.Clone(order)
			for range 1 + len(o)/10 {
				i := rand.IntN(len(o))
				j := min(i+1+rand.IntN(3), len(o)-1)
				o[i], o[j] = o[j], o[i]
			}
			if try(o) {
				break
			}
		}
	}
	for _, p := range best {
		p.buf.offset = p.offset
	}
	return bytes
}

// limits compares the plan with what the target has.
func (b *builder) limits(m *memory) error {
	ram, flash := int(b.o.MaxRAM), int(b.o.MaxFlash)
	if b.o.Weights == "file" {
		flash = 0
	}
	if ram > 0 && m.bytes > ram {
		var live []*buffer
		for _, buf := range b.lifetimes() {
			if buf.first <= m.peak && m.peak <= buf.last {
				live = append(live, buf)
			}
		}
		slices.SortStableFunc(live, func(x, y *buffer) int { return cmp.Compare(y.bytes(), x.bytes()) })
		var names []string
		for _, buf := range live[:min(len(live), 4)] {
			names = append(names, fmt.Sprintf("%q %d", buf.name, buf.bytes()))
		}
		s := b.steps[m.peak]
		return fmt.Errorf("the model needs %d bytes of memory, more than max-ram=%d; most at %q (%s): %s", m.bytes, ram, s.node, s.op, strings.Join(names, ", "))
	}
	if flash > 0 && m.weights > flash {
		list := slices.Clone(b.consts)
		slices.SortStableFunc(list, func(x, y *buffer) int { return cmp.Compare(len(y.data), len(x.data)) })
		var names []string
		for _, buf := range list[:min(len(list), 3)] {
			names = append(names, fmt.Sprintf("%q %d", buf.name, len(buf.data)))
		}
		return fmt.Errorf("the weights need %d bytes, more than max-flash=%d; most of all %s", m.weights, flash, strings.Join(names, ", "))
	}
	return nil
}
