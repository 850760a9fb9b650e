package c

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// packed are weights in the order in which tiles read them: for each pair of blocks of outputs the terms of the sum in the order of
// sections, for each of them 16 outputs; a last odd block has 8.
func packed(outputs, terms int, weight func(o, k int) float32) []float32 {
	blocks := blocksOf(outputs)
	r := make([]float32, 0, blocks*block*terms)
	for from := 0; from < blocks; from += 2 {
		width := min(2, blocks-from) * block
		for k := range terms {
			for i := range width {
				x := float32(0)
				if o := from*block + i; o < outputs {
					x = weight(o, k)
				}
				r = append(r, x)
			}
		}
	}
	return r
}

// dense is a convolution over all channels, or over groups of whole blocks.
func (c *conv) dense(planar bool) *stage {
	b := c.b
	kh, kw := c.win.kernel[0], c.win.kernel[1]
	// the order of the sum
	type term struct{ i, h, w int }
	var terms []term
	if planar {
		for i := range c.inputs {
			for h := range kh {
				for w := range kw {
					terms = append(terms, term{i, h, w})
				}
			}
		}
	} else {
		for from := 0; from < c.inputs; from += block {
			for h := range kh {
				for w := range kw {
					for i := from; i < min(from+block, c.inputs); i++ {
						terms = append(terms, term{i, h, w})
					}
				}
			}
		}
	}
	per := c.outputs / c.group
	var data []float32
	for g := range c.group {
		data = append(data, packed(per, len(terms), func(o, k int) float32 {
			t := terms[k]
			return c.w[(((g*per+o)*c.inputs+t.i)*kh+t.h)*kw+t.w]
		})...)
	}
	adds := b.addends(c.f)
	c.at = c.tiles(len(terms), planar, 4)
	return &stage{
		key: c.at.key, win: c.win, channels: c.outputs, last: c.f.last, typ: float, rowed: adds,
		params: append([]*tensor{b.floatLiteral(c.n.Operand(1).Name(), data), b.floatLiteral("bias", c.bias)}, adds...),
		body: func(f *text, lanes, rows int, x, y *tensor) {
			k := *c
			k.win.out[0] = rows
			(&denseBody{conv: &k, x: x, y: y, adds: adds, planar: planar, terms: len(terms), lanes: lanes}).write(f)
		},
	}
}

// tiles registers the choices of the convolution's tiles.
func (c *conv) tiles(terms int, planar bool, bytes int) *site {
	b := c.b
	lanes := b.vector()
	t := &tiling{lanes: lanes, groups: c.batch * c.group, blocks: blocksOf(c.outputs / c.group), terms: terms, rows: c.win.out[0], cols: c.win.out[1], bytes: bytes,
		joined: true, step: groupBlocks(lanes), budget: budgetOf(lanes), order: boolInt(c.big(terms))}
	per := 4 / bytes * block // channels of a block's terms that come together
	switch {
	case planar:
		t.inner, t.taps = c.win.kernel[1], c.win.kernel[0]
	case c.inputs >= block:
		t.inner, t.taps = per, c.win.kernel[1]
	default:
		t.inner, t.taps = c.inputs, c.win.kernel[1]
	}
	if bytes == 1 {
		t.inner = min(2, (c.inputs+3)/4)
	}
	if c.win.kernel == [2]int{1, 1} && c.win.strides == [2]int{1, 1} && c.win.pads == [4]int{} {
		t.rows, t.cols = 1, t.rows*t.cols
	}
	kind := map[int]string{4: "float32", 1: "int8"}[bytes]
	if planar {
		kind += " planar"
	}
	return b.site(strings.TrimSpace(c.geometry()+" "+kind+" "+c.f.describe()), false, []*ir.Value{c.f.last}, t.choices(), t.cost)
}

// big reports whether the weights are so many that the loop over outputs had better be the outer one.
func (c *conv) big(terms int) bool { return terms*(c.outputs/c.group)*4 > 1<<19 }

// denseBody writes the loops of a dense convolution.
type denseBody struct {
	*conv
	x, y   *tensor
	adds   []*tensor
	planar bool
	terms  int
	lanes  int
	*requant
	unbiased bool
}

// run is a range of rows or columns in steps of a tile.
type run struct{ from, n, step int }

// split cuts n into tiles of at most limit, as equal as they can be.
func split(n, limit int) []run {
	count := (n + limit - 1) / limit
	size := (n + count - 1) / count
	small := count*size - n // tiles that are one less
	var r []run
	if count-small > 0 {
		r = append(r, run{0, count - small, size})
	}
	if small > 0 {
		r = append(r, run{(count - small) * size, small, size - 1})
	}
	return r
}

// budget is how many vectors of sums a tile may have.
func (t *text) budget(lanes int) int {
	if t.helpers.small {
		return 4
	}
	return budgetOf(lanes)
}

func budgetOf(lanes int) int {
	if lanes == 16 {
		return 28
	}
	return 12
}

// groupBlocks is how many blocks of outputs a tile takes.
func groupBlocks(lanes int) int {
	return map[int]int{16: 4, 8: 2, 4: 2}[lanes]
}

func (d *denseBody) write(f *text) {
	oh, ow := d.win.out[0], d.win.out[1]
	xs, ys := d.x.strides(), d.y.strides()
	pixel, row, plane, batch := 0, 0, 0, 0 // of the input
	if d.planar {
		batch, plane, row, pixel = xs[0], xs[1], xs[2], xs[3]
	} else {
		batch, plane, row, pixel = xs[0], xs[1], xs[2], xs[3]
	}
	images := d.x.shape[0]
	if images > 1 && oh*ow == 1 && d.win.kernel == [2]int{1, 1} && d.win.pads == [4]int{} && len(d.adds) == 0 && d.group == 1 {
		ow, pixel, images = images, batch, 1 // images of one pixel are the pixels of one
		ys = slices.Clone(ys)
		ys[3] = ys[0]
	}
	h := d.win.pads
	start := d.x.start() - h[0]*row - h[1]*pixel
	sh, sw := d.win.strides[0], d.win.strides[1]
	// pointwise over tensors without gaps: one long row
	if images == d.x.shape[0] && d.flat(row, pixel) {
		ow, oh = oh*ow, 1
	}
	per := d.outputs / d.group
	blocks := blocksOf(per)
	step := d.at.pick(d.lanes, "blocks", groupBlocks(d.lanes))
	weight := block * d.terms // of a block of outputs
	if d.requant != nil {
		weight *= 4
	}
	inBlocks := d.inputs / block
	t := &tile{k: d.terms, plane: ys[1], bias: !d.unbiased, requant: d.requant, unroll: d.at.pick(d.lanes, "unroll", 0)}
	kh, kw := d.win.kernel[0], d.win.kernel[1]
	dh, dw := d.win.dilations[0]*row, d.win.dilations[1]*pixel
	if d.planar {
		t.sections = []section{{0, []span{{d.inputs, plane}, {kh, dh}, {kw, dw}}}}
	} else {
		whole, rest, unit := block, d.inputs%block, 1
		if d.requant != nil { // by quads of channels
			whole, rest, unit = whole/4, (rest+3)/4, 4
		}
		if inBlocks > 0 {
			t.sections = append(t.sections, section{0, []span{{inBlocks, plane}, {kh, dh}, {kw, dw}, {whole, unit}}})
		}
		if rest > 0 {
			t.sections = append(t.sections, section{inBlocks * plane, []span{{kh, dh}, {kw, dw}, {rest, unit}}})
		}
	}
	type part struct{ from, n, step int } // of groups of blocks
	parts := []part{}
	if blocks/step > 0 {
		parts = append(parts, part{0, blocks / step, step})
	}
	if blocks%step > 0 {
		parts = append(parts, part{blocks / step * step, 1, blocks % step})
	}
	if images > 1 {
		f.loop("n", images)
	}
	if d.group > 1 {
		f.loop("g", d.group)
	}
	for _, p := range parts {
		t.group(p.from, p.from+p.step, blocks, d.lanes)
		limit := max(f.budget(d.lanes)/len(t.vecs), 1)
		if p.step == step {
			limit = d.at.pick(d.lanes, "pixels", limit)
		}
		rows, cols := []run{{0, oh, 1}}, split(ow, limit)
		if 2*ow <= limit {
			rows, cols = split(oh, limit/ow), []run{{0, 1, ow}}
		}
		big := d.at.pick(d.lanes, "outer", boolInt(d.big(d.terms))) == 1
		if p.n > 1 && big {
			f.loop("o", p.n)
		}
		for _, r := range rows {
			f.loop("i", r.n)
			if p.n > 1 && !big {
				f.loop("o", p.n)
			}
			for _, c := range cols {
				t.spots = nil
				for i := range r.step {
					for j := range c.step {
						t.spots = append(t.spots, spot{i*sh*row + j*sw*pixel, i*ys[2] + j*ys[3]})
					}
				}
				t.epilogue = epilogues(d.f.ops, d.adds, func(a *tensor, s int) int {
					as := a.strides()
					return s/c.step*as[2] + s%c.step*as[3]
				}, func(a *tensor) int { return a.strides()[1] }, len(t.spots))
				name := t.write(f)
				f.loop("j", c.n)
				place := func(start, batch, group, blockStride, row, pixel int, sh, sw int) string {
					s := fmt.Sprintf("%d + i * %d + j * %d", start+r.from*sh*row+c.from*sw*pixel, r.step*sh*row, c.step*sw*pixel)
					if images > 1 {
						s += fmt.Sprintf(" + n * %d", batch)
					}
					if d.group > 1 {
						s += fmt.Sprintf(" + g * %d", group)
					}
					if p.n > 1 && blockStride != 0 {
						s += fmt.Sprintf(" + o * %d", p.step*blockStride)
					}
					return s
				}
				call := fmt.Sprintf("%s(a0 + %s, a1 + %d", name, place(start, batch, d.inputs/block*plane, 0, row, pixel, sh, sw), p.from*weight)
				if p.n > 1 {
					call += fmt.Sprintf(" + o * %d", p.step*weight)
				}
				if d.group > 1 {
					call += fmt.Sprintf(" + g * %d", blocks*weight)
				}
				params := boolInt(!d.unbiased)
				if d.requant != nil {
					params = 3
				}
				for k := range params {
					call += fmt.Sprintf(", a%d + %d", 2+k, p.from*block)
					if p.n > 1 {
						call += fmt.Sprintf(" + o * %d", p.step*block)
					}
					if d.group > 1 {
						call += fmt.Sprintf(" + g * %d", per)
					}
				}
				outAt := func(a *tensor) string {
					as := a.strides()
					if a == d.y {
						as = ys
					}
					return place(a.start()+p.from*as[1], as[0], blocks*as[1], as[1], as[2], as[3], 1, 1)
				}
				for k, a := range d.adds {
					call += fmt.Sprintf(", a%d + %s", 3+k, outAt(a))
				}
				f.line("%s, y0 + %s);", call, outAt(d.y))
				f.end()
			}
			if p.n > 1 && !big {
				f.end()
			}
			f.end()
		}
		if p.n > 1 && big {
			f.end()
		}
	}
	if d.group > 1 {
		f.end()
	}
	if images > 1 {
		f.end()
	}
}

// flat reports whether the pixels of input, output and addends are those of one long row.
func (d *denseBody) flat(row, pixel int) bool {
	if d.win.kernel != [2]int{1, 1} || d.win.strides != [2]int{1, 1} || d.win.pads != [4]int{} || row != d.win.in[1]*pixel {
		return false
	}
	return !slices.ContainsFunc(append(slices.Clone(d.adds), d.y), func(t *tensor) bool { s := t.strides(); return s[2] != t.shape[3]*s[3] })
}
