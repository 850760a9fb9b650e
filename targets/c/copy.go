package c

import (
	"fmt"
	"slices"
	"strings"
)

// copy appends a step that copies x to y, of the same shape and order.
func (b *builder) copy(x, y *tensor) {
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) {
		f.nest(y.stored(), []*access{accessOf("y0", y), accessOf("a0", x)}, func(at []string) { f.line("%s = %s;", at[0], at[1]) })
	})
}

// block appends a step that copies plain x to blocked y.
func (b *builder) block(x, y *tensor) {
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) { reorder(f, x, y, "y0", "a0", false) })
}

// unblock appends a step that copies blocked x to plain y.
func (b *builder) unblock(x, y *tensor) {
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) { reorder(f, y, x, "a0", "y0", true) })
}

// reorder writes loops over a plain and a blocked tensor, of which back says which one is read.
func reorder(f *text, plain, blocked *tensor, blockedName, plainName string, back bool) {
	flip := ""
	if plain.buf.typ == int8s {
		flip = " ^ 128"
	}
	to := plain.buf.typ.name
	if !back {
		to = blocked.buf.typ.name
	}
	value := func(s string) string {
		if flip == "" {
			return s
		}
		return fmt.Sprintf("(%s)(%s%s)", to, s, flip)
	}
	n, c, h, w := plain.shape[0], plain.shape[1], plain.shape[2], plain.shape[3]
	ps, bs := plain.strides(), blocked.strides()
	part := func(from, blocks, channels int) {
		if blocks == 0 {
			return
		}
		p := &access{plainName, plain.start() + from*block*ps[1], []int{ps[0], block * ps[1], ps[2], ps[3]}}
		q := &access{blockedName, blocked.start() + from*bs[1], slices.Clone(bs[:4])}
		l := f.open([]int{n, blocks, h, w}, []*access{p, q})
		if !back && plain.buf.typ.size == 1 { // 8 bytes at once
			var list []string
			for i := range block {
				if i < channels {
					list = append(list, value(fmt.Sprintf("%s[%s + %d]", plainName, l.index(0), i*ps[1])))
				} else {
					list = append(list, "0")
				}
			}
			f.line("const uint8_t t[8] = {%s};", strings.Join(list, ", "))
			f.line("memcpy(%s + %s, t, 8);", blockedName, l.index(1))
			l.close()
			return
		}
		for i := range block {
			switch {
			case i < channels && back:
				f.line("%s[%s + %d] = %s;", plainName, l.index(0), i*ps[1], value(fmt.Sprintf("%s[%s + %d]", blockedName, l.index(1), i)))
			case i < channels:
				f.line("%s[%s + %d] = %s;", blockedName, l.index(1), i, value(fmt.Sprintf("%s[%s + %d]", plainName, l.index(0), i*ps[1])))
			case !back:
				f.line("%s[%s + %d] = 0;", blockedName, l.index(1), i)
			}
		}
		l.close()
	}
	part(0, c/block, block)
	part(c/block, boolInt(c%block > 0), c%block)
}
