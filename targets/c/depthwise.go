package c

import "fmt"

// depthwise is a convolution of each channel by itself: blocks of channels are vectors.
func (c *conv) depthwise() error {
	b := c.b
	kh, kw := c.win.kernel[0], c.win.kernel[1]
	x := c.input(b.blocked(c.n.Operand(0)))
	y, adds := c.out()
	blocks := blocksOf(c.outputs)
	data := make([]float32, blocks*kh*kw*block)
	for o := range c.outputs {
		for k := range kh * kw {
			data[(o/block*kh*kw+k)*block+o%block] = c.w[o*kh*kw+k]
		}
	}
	in := append([]*tensor{x, b.floatLiteral(c.n.Operand(1).Name(), data), b.floatLiteral("bias", c.bias)}, adds...)
	b.add(in, []*tensor{y}, func(f *text, lanes int) { c.depthwiseBody(f, x, y, adds, min(lanes, 8), lanes) })
	return nil
}

func (c *conv) depthwiseBody(f *text, x, y *tensor, adds []*tensor, lanes, machine int) {
	xs, ys := x.strides(), y.strides()
	kh, kw := c.win.kernel[0], c.win.kernel[1]
	sh, sw := c.win.strides[0], c.win.strides[1]
	dh, dw := c.win.dilations[0], c.win.dilations[1]
	oh, ow := c.win.out[0], c.win.out[1]
	start := x.start() - c.win.pads[0]*xs[2] - c.win.pads[1]*xs[3]
	limit := map[int]int{16: 20, 8: 10, 4: 6}[machine]
	if f.helpers.small {
		limit = 1
	}
	parts := block / lanes
	if x.shape[0] > 1 {
		f.loop("n", x.shape[0])
	}
	f.loop("o", blocksOf(c.outputs))
	rows, cols := []run{{0, oh, 1}}, split(ow, limit)
	switch {
	case 2*ow <= limit:
		rows, cols = split(oh, limit/ow), []run{{0, 1, ow}}
	case limit > 1 && sh == 1 && dh == 1 && kh > 1 && oh > 1: // rows of the input serve two rows of outputs
		rows, cols = split(oh, 2), split(ow, limit/2)
	}
	for _, r := range rows {
		f.loop("i", r.n)
		for _, cl := range cols {
			var t text
			t.helpers = f.helpers
			sig := "(const float *restrict x, const float *restrict w, const float *restrict bias, "
			for k := range adds {
				sig += fmt.Sprintf("const float *restrict r%d, ", k)
			}
			t.line("%s {", sig+"float *restrict y)")
			if parts > 1 {
				t.loop("l", parts)
			}
			off := ""
			if parts > 1 {
				off = fmt.Sprintf(" + l * %d", lanes)
			}
			for i := range r.step {
				for j := range cl.step {
					t.line("v%d c%d_%d = V%d_LOAD(bias%s);", lanes, i, j, lanes, off)
				}
			}
			// by rows of the input that the tile reads
			for row := 0; row <= (r.step-1)*sh+(kh-1)*dh; row++ {
				for k := range kw {
					for h := range kh {
						i := row - h*dh
						if i < 0 || i%sh != 0 || i/sh >= r.step {
							continue
						}
						i /= sh
						t.line("{")
						t.line("const v%d m = V%d_LOAD(w + %d%s);", lanes, lanes, (h*kw+k)*block, off)
						for j := range cl.step {
							t.line("c%d_%d = V%d_FMA(V%d_LOAD(x + %d%s), m, c%d_%d);", i, j, lanes, lanes, row*xs[2]+(j*sw+k*dw)*xs[3], off, i, j)
						}
						t.end()
					}
				}
			}
			for i := range r.step {
				for j := range cl.step {
					v := fmt.Sprintf("c%d_%d", i, j)
					n := 0
					for _, op := range c.f.ops {
						if op.add == nil {
							op.act.apply(&t, v, lanes)
							continue
						}
						s := adds[n].strides()
						t.line("%s = V%d_ADD(%s, V%d_LOAD(r%d + %d%s));", v, lanes, v, lanes, n, i*s[2]+j*s[3], off)
						n++
					}
					t.line("V%d_STORE(y + %d%s, %s);", lanes, i*ys[2]+j*ys[3], off, v)
				}
			}
			if parts > 1 {
				t.end()
			}
			t.line("}")
			name := f.helpers.add("dw", t.String())
			place := func(start int, s []int, sh, sw int) string {
				e := fmt.Sprintf("%d + o * %d + i * %d + j * %d", start+r.from*sh*s[2]+cl.from*sw*s[3], s[1], r.step*sh*s[2], cl.step*sw*s[3])
				if x.shape[0] > 1 {
					e += fmt.Sprintf(" + n * %d", s[0])
				}
				return e
			}
			f.loop("j", cl.n)
			call := fmt.Sprintf("%s(a0 + %s, a1 + o * %d, a2 + o * %d", name, place(start, xs, sh, sw), kh*kw*block, block)
			for k, a := range adds {
				call += fmt.Sprintf(", a%d + %s", 3+k, place(a.start(), a.strides(), 1, 1))
			}
			f.line("%s, y0 + %s);", call, place(y.start(), ys, 1, 1))
			f.end()
		}
		f.end()
	}
	f.end()
	if x.shape[0] > 1 {
		f.end()
	}
}
