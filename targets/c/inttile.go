package c

import "fmt"

// writeInts is write for bytes: sums of int32, then scaled, moved, cut and rounded.
func (t *tile) writeInts(f *text) string {
	var b text
	b.helpers = f.helpers
	b.line("(const uint8_t *restrict x, const int8_t *restrict w, const int32_t *restrict sums, const float *restrict scale, const float *restrict offset, uint8_t *restrict y) {")
	for i, v := range t.vecs {
		for p := range t.spots {
			b.line("i%d c%d_%d = I%d_LOAD(sums + %d);", v.lanes, p, i, v.lanes, v.block*block+v.lane)
		}
	}
	for s := range t.streams {
		b.line("const int8_t *w%d = w + %d;", s, s*64*t.k)
	}
	for _, s := range t.sections {
		t.intSection(&b, s)
	}
	r := t.requant
	for i, v := range t.vecs {
		set := func(x float32) string { return fmt.Sprintf("V%d_SET(%s)", v.lanes, literalOf(x)) }
		b.line("{")
		b.line("const v%d g = V%d_LOAD(scale + %d), d = V%d_LOAD(offset + %d), l = %s, h = %s, z = %s;", v.lanes, v.lanes, v.block*block+v.lane, v.lanes, v.block*block+v.lane, set(r.low), set(r.high), set(float32(r.zero)))
		for p, spot := range t.spots {
			b.line("{")
			b.line("v%d s = V%d_ADD(V%d_MUL(I%d_FLOAT(c%d_%d), g), d);", v.lanes, v.lanes, v.lanes, v.lanes, p, i)
			b.line("s = V%d_ADD(V%d_ROUND(V%d_MIN(h, V%d_MAX(l, s))), z);", v.lanes, v.lanes, v.lanes, v.lanes)
			at := fmt.Sprintf("y + %d", spot.y+v.block*t.plane+v.lane)
			if v.lanes == 16 {
				b.line("I16_STORE(%s, %s + %d, s);", at, at, t.plane)
			} else {
				b.line("I%d_STORE(%s, s);", v.lanes, at)
			}
			b.end()
		}
		b.end()
	}
	b.line("}")
	return f.helpers.add("dot", b.String())
}

func (t *tile) intSection(b *text, s section) {
	outer, offsets, repeat := s.unrolled(t.unroll)
	depth := s.enter(b, outer, repeat, "uint8_t")
	for u, x := range offsets {
		b.line("{")
		b.line("FENCE();")
		for i, v := range t.vecs {
			place := fmt.Sprintf("w%d + %d", v.stream, u*t.streams[v.stream]*4+v.at*4)
			if v.lanes == 4 {
				b.line("const i4w m%d = i4_weights(%s);", i, place)
			} else {
				b.line("const i%d m%d = I%d_LOAD(%s);", v.lanes, i, v.lanes, place)
			}
		}
		for p, spot := range t.spots {
			b.line("{")
			for _, l := range []int{4, 8, 16} {
				if t.has(l) {
					b.line("const i%dx b%d = I%d_QUAD(q + %d);", l, l, l, spot.x+x)
				}
			}
			for i, v := range t.vecs {
				b.line("c%d_%d = I%d_DOT(b%d, m%d, c%d_%d);", p, i, v.lanes, v.lanes, i, p, i)
			}
			b.end()
		}
		b.end()
	}
	for s, width := range t.streams {
		b.line("w%d += %d;", s, len(offsets)*width*4)
	}
	if repeat.n > 1 {
		b.line("q += %d;", repeat.step)
	}
	for range depth {
		b.end()
	}
}
