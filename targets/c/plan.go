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

// prune takes out steps whose results nothing reads.
func (b *builder) prune() {
	read := map[*buffer]bool{}
	var kept []*step
	for i := len(b.steps) - 1; i >= 0; i-- {
		s := b.steps[i]
		if !slices.ContainsFunc(s.out, func(t *tensor) bool { return t.buf.output || read[t.buf] }) {
			continue
		}
		for _, t := range s.in {
			read[t.buf] = true
		}
		kept = append(kept, s)
	}
	slices.Reverse(kept)
	b.steps = kept
}

// order puts the steps in the order, among a few, in which the least memory is alive at once: that of the model, and those of a scheduler
// that takes among the steps which could run the one that leaves the least, or that frees the most.
func (b *builder) order() {
	best, least := b.steps, b.peak(b.steps)
	for _, greedy := range []bool{true, false} {
		if s := b.schedule(greedy); s != nil {
			if p := b.peak(s); p < least {
				best, least = s, p
			}
		}
	}
	b.steps = best
}

// peak is the largest sum of live bytes in an order of steps.
func (b *builder) peak(steps []*step) int {
	last := map[*buffer]int{}
	for i, s := range steps {
		for _, t := range append(slices.Clone(s.in), s.out...) {
			last[t.buf] = i
		}
	}
	live, most := 0, 0
	seen := map[*buffer]bool{}
	for i, s := range steps {
		for _, t := range s.out {
			if !seen[t.buf] && t.buf.param == "" {
				live += aligned(t.root().size() * t.buf.typ.size)
			}
			seen[t.buf] = true
		}
		extra := 0
		if s.scratch != nil {
			extra = aligned(s.scratch.elems * s.scratch.typ.size)
		}
		most = max(most, live+extra)
		gone := map[*buffer]bool{}
		for _, t := range append(slices.Clone(s.in), s.out...) {
			if last[t.buf] == i && t.buf.data == nil && t.buf.param == "" && !gone[t.buf] {
				gone[t.buf] = true
				live -= aligned(b.sizeOf(t))
			}
		}
	}
	return most
}

func (b *builder) sizeOf(t *tensor) int {
	r := t.root()
	return max(t.buf.elems, r.size()) * t.buf.typ.size
}

// schedule is an order by a greedy choice.
func (b *builder) schedule(frees bool) []*step {
	writers := map[*buffer][]int{}
	readers := map[*buffer]int{}
	size := map[*buffer]int{}
	for i, s := range b.steps {
		for _, t := range s.out {
			writers[t.buf] = append(writers[t.buf], i)
			size[t.buf] = max(size[t.buf], b.sizeOf(t))
		}
		for _, t := range s.in {
			readers[t.buf]++
		}
	}
	n := len(b.steps)
	need := make([]int, n)
	next := make([][]int, n)
	for i, s := range b.steps {
		for _, t := range s.in {
			for _, w := range writers[t.buf] {
				if w < i {
					need[i]++
					next[w] = append(next[w], i)
				}
			}
		}
	}
	done := make([]bool, n)
	begun := map[*buffer]bool{}
	var r []*step
	for len(r) < n {
		pick, score := -1, 0
		for i, s := range b.steps {
			if done[i] || need[i] > 0 {
				continue
			}
			grow, free := 0, 0
			for _, t := range s.out {
				if !begun[t.buf] && t.buf.param == "" {
					grow += size[t.buf]
				}
			}
			for _, t := range s.in {
				if readers[t.buf] == 1 && t.buf.data == nil && t.buf.param == "" {
					free += size[t.buf]
				}
			}
			v := grow - free
			if frees {
				v = -free
			}
			if pick < 0 || v < score {
				pick, score = i, v
			}
		}
		if pick < 0 {
			return nil
		}
		done[pick] = true
		s := b.steps[pick]
		r = append(r, s)
		for _, t := range s.out {
			begun[t.buf] = true
		}
		for _, t := range s.in {
			readers[t.buf]--
		}
		for _, i := range next[pick] {
			need[i]--
		}
	}
	return r
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
