package c

import (
	"slices"
)

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
