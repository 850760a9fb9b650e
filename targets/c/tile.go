package c

import "fmt"

// vec is a vector of an output group: so many lanes, its weights in a stream, the block and lane where its first channel lies.
type vec struct {
	lanes, stream, at, block, lane int
}

// span is a loop of a tile's sum: how often, and how far x moves each time.
type span struct{ n, step int }

// section is a part of the sum: loops from outer to inner, the last one unrolled, from an offset of x.
type section struct {
	start int
	loops []span
}

// spot is a pixel of a tile: where its input and its output lie.
type spot struct{ x, y int }

// tile is a register tile: for some pixels and some channels it sums products of inputs, broadcast, and of weights, which lie as
// [pair of blocks][k][16], a last odd block as [k][8]. The tile of the product of matrices and that of a direct convolution over
// blocked channels are the same but for the offsets (Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions", 2018).
type tile struct {
	k        int // terms of the sum
	sections []section
	spots    []spot
	vecs     []vec
	streams  []int // floats per term of each stream
	plane    int   // from one block of the output to the next
	tail     int   // of the last block, channels that are stored; 0: all
	epilogue []epilogue
	bias     bool
	unroll   int      // terms that are written out; 0: the default
	requant  *requant // not nil: of bytes, whose terms are quads of channels
}

// group lists the vectors of blocks [from, to) of so many in all.
func (t *tile) group(from, to, all, lanes int) {
	t.vecs, t.streams = nil, nil
	for b := from; b < to; b++ {
		paired := b-b%2+1 < all
		at := 0
		switch {
		case len(t.streams) == 0 || b%2 == 0:
			t.streams = append(t.streams, 8)
			if paired {
				t.streams[len(t.streams)-1] = 16
			}
		}
		if paired {
			at = b % 2 * 8
		}
		s := len(t.streams) - 1
		if lanes == 16 && paired && b%2 == 0 && b+1 < to {
			t.vecs = append(t.vecs, vec{16, s, 0, b - from, 0})
			b++
			continue
		}
		for l := 0; l < block; l += min(lanes, 8) {
			t.vecs = append(t.vecs, vec{min(lanes, 8), s, at + l, b - from, l})
		}
	}
}

// epilogue is what happens to a sum before it is stored.
type epilogue struct {
	act    *activation // or
	tensor bool        // the addition of a tensor, r0, r1... in order, at the output's place
	plane  int
	spots  []int
}

// write appends a function that computes one tile and returns its name.
func (t *tile) write(f *text) string {
	if t.requant != nil {
		return t.writeInts(f)
	}
	var b text
	b.helpers = f.helpers
	sig := "(const float *restrict x, const float *restrict w, "
	if t.bias {
		sig += "const float *restrict bias, "
	}
	n := 0
	for _, e := range t.epilogue {
		if e.tensor {
			sig += fmt.Sprintf("const float *restrict r%d, ", n)
			n++
		}
	}
	sig += "float *restrict y)"
	b.line("%s {", sig)
	for i, v := range t.vecs {
		for p := range t.spots {
			if t.bias {
				b.line("v%d c%d_%d = V%d_LOAD(bias + %d);", v.lanes, p, i, v.lanes, v.block*block+v.lane)
			} else {
				b.line("v%d c%d_%d = V%d_ZERO();", v.lanes, p, i, v.lanes)
			}
		}
	}
	for s, width := range t.streams {
		switch {
		case s == 0:
			b.line("const float *w0 = w;")
		default:
			_ = width
			b.line("const float *w%d = w + %d;", s, s*16*t.k)
		}
	}
	for _, s := range t.sections {
		t.section(&b, s)
	}
	t.finish(&b)
	b.line("}")
	return f.helpers.add("tile", b.String())
}

// unrolled cuts the loops of a section: those that stay, and where x lies for the terms that are written out within the last of them, which
// is repeated so often with x moved so far.
func (s section) unrolled(n int) (outer []span, offsets []int, repeat span) {
	last := len(s.loops) - 1
	outer = s.loops[:last]
	inner := s.loops[last]
	count := inner.n
	if n > inner.n && last > 0 && inner.n*outer[last-1].n <= n {
		around := outer[last-1]
		for j := range around.n {
			for u := range inner.n {
				offsets = append(offsets, j*around.step+u*inner.step)
			}
		}
		return outer[:last-1], offsets, span{1, 0}
	}
	if n == 0 && count > 16 {
		n = 8
	}
	if n > 0 && n < count {
		for count = n; inner.n%count != 0; count-- {
		}
	}
	for u := range count {
		offsets = append(offsets, u*inner.step)
	}
	return outer, offsets, span{inner.n / count, count * inner.step}
}

// enter opens the loops around the terms that are written out, of elements of a type, and says how many there are to close.
func (s section) enter(b *text, outer []span, repeat span, typ string) int {
	at := "x"
	if s.start != 0 {
		at = fmt.Sprintf("x + %d", s.start)
	}
	depth := 0
	for i, l := range outer {
		if l.n == 1 {
			continue
		}
		v := fmt.Sprintf("k%d", i)
		b.loop(v, l.n)
		at += fmt.Sprintf(" + %s * %d", v, l.step)
		depth++
	}
	if depth == 0 {
		b.line("{")
		depth++
	}
	b.line("const %s *q = %s;", typ, at)
	if repeat.n > 1 {
		b.loop("u", repeat.n)
		depth++
	}
	return depth
}

func (t *tile) section(b *text, s section) {
	outer, offsets, repeat := s.unrolled(t.unroll)
	depth := s.enter(b, outer, repeat, "float")
	for u, x := range offsets {
		b.line("FENCE();")
		for i, v := range t.vecs {
			b.line("%sm%d%s = V%d_LOAD(w%d + %d);", decl(u == 0, v.lanes), i, "", v.lanes, v.stream, u*t.streams[v.stream]+v.at)
		}
		for p, spot := range t.spots {
			for _, l := range []int{4, 8, 16} {
				if t.has(l) {
					b.line("%sb%d = V%d_SET(q[%d]);", decl(u == 0 && p == 0, l), l, l, spot.x+x)
				}
			}
			for i, v := range t.vecs {
				b.line("c%d_%d = V%d_FMA(b%d, m%d, c%d_%d);", p, i, v.lanes, v.lanes, i, p, i)
			}
		}
	}
	for s, width := range t.streams {
		b.line("w%d += %d;", s, len(offsets)*width)
	}
	if repeat.n > 1 {
		b.line("q += %d;", repeat.step)
	}
	for range depth {
		b.end()
	}
}

func decl(first bool, lanes int) string {
	if first {
		return fmt.Sprintf("v%d ", lanes)
	}
	return ""
}

func (t *tile) has(lanes int) bool {
	for _, v := range t.vecs {
		if v.lanes == lanes {
			return true
		}
	}
	return false
}

// finish applies the epilogue and stores.
func (t *tile) finish(b *text) {
	blocks := t.vecs[len(t.vecs)-1].block
	for p, spot := range t.spots {
		for i, v := range t.vecs {
			c := fmt.Sprintf("c%d_%d", p, i)
			n := 0
			last := v.block
			if v.lanes == 16 {
				last++
			}
			for _, e := range t.epilogue {
				if !e.tensor {
					e.act.apply(b, c, v.lanes)
					continue
				}
				at := fmt.Sprintf("r%d + %d", n, e.spots[p]+v.block*e.plane+v.lane)
				n++
				switch {
				case v.lanes == 16 && e.plane != block:
					b.line("%s = V16_ADD(%s, V16_JOIN(%s, %s + %d));", c, c, at, at, e.plane)
				case t.tail > 0 && last == blocks+boolInt(v.lanes == 16) && e.plane == block:
					b.line("%s = V%d_ADD(%s, V%d_PART(%s, %d));", c, v.lanes, c, v.lanes, at, t.part(v))
				default:
					b.line("%s = V%d_ADD(%s, V%d_LOAD(%s));", c, v.lanes, c, v.lanes, at)
				}
			}
			at := fmt.Sprintf("y + %d", spot.y+v.block*t.plane+v.lane)
			switch {
			case t.tail > 0 && last == blocks+boolInt(v.lanes == 16):
				if n := t.part(v); n > 0 {
					b.line("V%d_STORE_PART(%s, %s, %d);", v.lanes, at, c, n)
				} else {
					b.line("(void)%s;", c)
				}
			case v.lanes == 16 && t.plane != block:
				b.line("V16_SPLIT(%s, %s + %d, %s);", at, at, t.plane, c)
			default:
				b.line("V%d_STORE(%s, %s);", v.lanes, at, c)
			}
		}
	}
}

// part is how many lanes of v, one of the last block's, are stored.
func (t *tile) part(v vec) int {
	if v.lanes == 16 {
		return 8 + t.tail
	}
	return max(min(t.tail-v.lane, v.lanes), 0)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
