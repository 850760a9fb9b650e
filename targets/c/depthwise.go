package c

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// depthwise is a convolution of each channel by itself: blocks of channels are vectors.
func (c *conv) depthwise() *stage {
	b := c.b
	kh, kw := c.win.kernel[0], c.win.kernel[1]
	blocks := blocksOf(c.outputs)
	data := make([]float32, blocks*kh*kw*block)
	for o := range c.outputs {
		for k := range kh * kw {
			data[(o/block*kh*kw+k)*block+o%block] = c.w[o*kh*kw+k]
		}
	}
	adds := b.addends(c.f)
	lanes := b.vector()
	pixels, rows := c.depthwiseTile(lanes)
	c.at = b.site(strings.TrimSpace(c.geometry()+" float32 "+c.f.describe()), false, []*ir.Value{c.f.last}, c.depthwiseChoices(lanes, pixels, rows),
		func(x Choice) Features { return c.depthwiseCost(lanes, x) })
	return &stage{
		key: c.at.key, win: c.win, channels: c.outputs, last: c.f.last, typ: float, rowed: adds,
		params: append([]*tensor{b.floatLiteral(c.n.Operand(1).Name(), data), b.floatLiteral("bias", c.bias)}, adds...),
		body: func(f *text, lanes, rows int, x, y *tensor) {
			k := *c
			k.win.out[0] = rows
			k.depthwiseBody(f, x, y, adds, min(lanes, 8), lanes)
		},
	}
}

// depthwiseTile is the default tile: so many pixels in so many rows. Rows of the input serve two rows of outputs where they can.
func (c *conv) depthwiseTile(machine int) (pixels, rows int) {
	w := c.win
	pixels = map[int]int{16: 20, 8: 10, 4: 6}[machine]
	if w.strides[0] == 1 && w.dilations[0] == 1 && w.kernel[0] > 1 && w.out[0] > 1 {
		return pixels, 2
	}
	return pixels, 1
}

// depthwiseCut is how rows and columns become tiles.
func (c *conv) depthwiseCut(pixels, high int) (rows, cols []run) {
	oh, ow := c.win.out[0], c.win.out[1]
	if 2*ow <= pixels {
		return split(oh, pixels/ow), []run{{0, 1, ow}}
	}
	if high > 1 {
		return split(oh, high), split(ow, max(pixels/high, 1))
	}
	return []run{{0, oh, 1}}, split(ow, pixels)
}

func (c *conv) depthwiseChoices(machine, pixels, rows int) []Choice {
	r := []Choice{{"pixels": pixels, "rows": rows}}
	seen := map[string]bool{fmt.Sprint(c.depthwiseCut(pixels, rows)): true}
	most := 14
	if machine == 16 {
		most = 28
	}
	for high := 1; high <= min(4, c.win.out[0]); high++ {
		for n := most; n >= max(high, 2); n-- {
			rows, cols := c.depthwiseCut(n, high)
			if cut := fmt.Sprint(rows, cols); !seen[cut] {
				seen[cut] = true
				r = append(r, Choice{"pixels": n, "rows": high})
			}
		}
	}
	return r
}

// depthwiseCost is as that of tiling: weights are loaded for each tap and row, inputs for each row of the input that is read, so that higher
// tiles load less.
func (c *conv) depthwiseCost(machine int, x Choice) Features {
	w := c.win
	vectors := float64(block / min(machine, 8))
	taps := float64(w.kernel[0] * w.kernel[1])
	rows, cols := c.depthwiseCut(x["pixels"], x["rows"])
	groups := float64(blocksOf(c.outputs) * c.batch)
	registers := float64(registersUp)
	if machine == 16 {
		registers = registers16
	}
	var f Features
	for _, r := range rows {
		for _, l := range cols {
			p := float64(r.step * l.step)
			n := float64(r.n*l.n) * groups
			read := float64((r.step-1)*w.strides[0]+(w.kernel[0]-1)*w.dilations[0]+1) * float64(w.kernel[1]*l.step)
			loads := min(read, p*taps) + taps*float64(r.step)
			cycles := max(p*taps/multipliers, loads/loadPorts)
			if p < latency*multipliers {
				cycles = max(cycles, latency*taps)
			}
			spill := max(0, p+2-registers)
			f.Spill = max(f.Spill, spill/registers)
			f.Cycles += n * vectors * (cycles + spill*taps + 2*p + tileOverhead)
			f.Tiles += n
			f.Loads += n * loads
			f.Chains += n * p
			f.Code = max(f.Code, p*taps)
		}
	}
	f.Work = float64(w.out[0]*w.out[1]*c.outputs*c.batch) * taps
	f.Loads /= f.Work / block
	f.Chains /= f.Tiles
	f.Rows = float64(x["rows"])
	return f
}

func (c *conv) depthwiseBody(f *text, x, y *tensor, adds []*tensor, lanes, machine int) {
	xs, ys := x.strides(), y.strides()
	kh, kw := c.win.kernel[0], c.win.kernel[1]
	sh, sw := c.win.strides[0], c.win.strides[1]
	dh, dw := c.win.dilations[0], c.win.dilations[1]
	start := x.start() - c.win.pads[0]*xs[2] - c.win.pads[1]*xs[3]
	parts := block / lanes
	if x.shape[0] > 1 {
		f.loop("n", x.shape[0])
	}
	f.loop("o", blocksOf(c.outputs))
	pixels, high := c.depthwiseTile(machine)
	pixels, high = c.at.pick(machine, "pixels", pixels), c.at.pick(machine, "rows", high)
	if f.helpers.small {
		pixels, high = 1, 1
	}
	rows, cols := c.depthwiseCut(pixels, high)
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
