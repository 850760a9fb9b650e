package c

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerConv is a convolution with what follows it.
func lowerConv(b *builder, n *ir.Node) error {
	if m := b.mergedConv(n); m != nil {
		if err := m.lower(b, n); err == nil {
			return nil
		}
	}
	w, err := b.floats(n.Operand(1))
	if err != nil {
		return err
	}
	shape := b.shape(n.Operand(1))
	win, err := b.windowOf(n, shape[2:])
	if err != nil {
		return err
	}
	outputs, inputs, group := shape[0], shape[1], int(n.Int("group", 1))
	var bias []float32
	if v := n.Operand(2); v != nil {
		if bias, err = b.floats(v); err != nil {
			return err
		}
	}
	f := b.follow(n.Result(0))
	c := &conv{b: b, n: n, win: win, outputs: outputs, inputs: inputs, group: group, w: w, f: f}
	c.bias = make([]float32, blocksOf(outputs)*block)
	copy(c.bias, bias)
	if group > 1 && inputs == 1 && outputs == group {
		return c.depthwise()
	}
	if group > 1 && (inputs%block != 0 || outputs/group%block != 0) {
		return c.spread()
	}
	return c.dense()
}

// conv is a convolution under translation. inputs are those of one group.
type conv struct {
	b                      *builder
	n                      *ir.Node
	win                    window
	outputs, inputs, group int
	w, bias                []float32
	f                      fused
}

// spread makes groups that do not fall on blocks one convolution with zeros between them.
func (c *conv) spread() error {
	k := c.win.kernel[0] * c.win.kernel[1]
	in := c.inputs * c.group
	if in*c.outputs*k > 1<<26 {
		return errors.New("groups of that size")
	}
	w := make([]float32, c.outputs*in*k)
	for o := range c.outputs {
		g := o / (c.outputs / c.group)
		copy(w[(o*in+g*c.inputs)*k:], c.w[o*c.inputs*k:(o+1)*c.inputs*k])
	}
	c.w, c.inputs, c.group = w, in, 1
	return c.dense()
}

// input is the convolution's input with the halo that it reads.
func (c *conv) input(t *tensor) *tensor {
	h := c.win.halo()
	if h == [4]int{} || t.grow(h) {
		return t
	}
	u := c.b.alloc(c.n.Operand(0).Name(), float, t.shape, t.blocked)
	u.halo = h
	c.b.copy(t, u)
	return u
}

// out makes the output and the tensors that are added to it.
func (c *conv) out() (*tensor, []*tensor) {
	var adds []*tensor
	for _, op := range c.f.ops {
		if op.add != nil {
			adds = append(adds, c.b.blocked(op.add))
		}
	}
	v := c.f.last
	y := c.b.alloc(v.Name(), float, imageShape(c.b.shape(v)), true)
	c.b.define(v, y)
	return y, adds
}

// epilogues are what follows, with the places of some output pixels relative to the function's pointers.
func epilogues(ops []fusedOp, adds []*tensor, at func(t *tensor, p int) int, plane func(t *tensor) int, spots int) []epilogue {
	var r []epilogue
	n := 0
	for _, op := range ops {
		e := epilogue{act: op.act}
		if op.add != nil {
			t := adds[n]
			n++
			e.tensor, e.plane = true, plane(t)
			for p := range spots {
				e.spots = append(e.spots, at(t, p))
			}
		}
		r = append(r, e)
	}
	return r
}

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
func (c *conv) dense() error {
	b := c.b
	v := c.n.Operand(0)
	kh, kw := c.win.kernel[0], c.win.kernel[1]
	planar := c.group == 1 && c.inputs < block && b.hasPlain(v)
	var x *tensor
	if planar {
		x = image(b.plain(v))
	} else {
		x = b.blocked(v)
	}
	x = c.input(x)
	y, adds := c.out()
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
	weights, bias := b.floatLiteral(c.n.Operand(1).Name(), data), b.floatLiteral("bias", c.bias)
	in := append([]*tensor{x, weights, bias}, adds...)
	b.add(in, []*tensor{y}, func(f *text, lanes int) {
		d := &denseBody{conv: c, x: x, y: y, adds: adds, planar: planar, terms: len(terms), lanes: lanes}
		d.write(f)
	})
	return nil
}

// hasPlain reports whether v lies in row-major order, or only so.
func (b *builder) hasPlain(v *ir.Value) bool {
	p := b.placed(v)
	return p.plain != nil
}

// denseBody writes the loops of a dense convolution.
type denseBody struct {
	*conv
	x, y   *tensor
	adds   []*tensor
	planar bool
	terms  int
	lanes  int
	*requant
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
	switch {
	case t.helpers.small:
		return 4
	case lanes == 16:
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
	h := d.win.pads
	start := d.x.start() - h[0]*row - h[1]*pixel
	sh, sw := d.win.strides[0], d.win.strides[1]
	// pointwise over tensors without gaps: one long row
	if d.flat(row, pixel) {
		ow, oh = oh*ow, 1
	}
	per := d.outputs / d.group
	blocks := blocksOf(per)
	step := groupBlocks(d.lanes)
	weight := block * d.terms // of a block of outputs
	if d.requant != nil {
		weight *= 4
	}
	inBlocks := d.inputs / block
	t := &tile{k: d.terms, plane: ys[1], bias: true, requant: d.requant}
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
	if d.x.shape[0] > 1 {
		f.loop("n", d.x.shape[0])
	}
	if d.group > 1 {
		f.loop("g", d.group)
	}
	for _, p := range parts {
		t.group(p.from, p.from+p.step, blocks, d.lanes)
		limit := max(f.budget(d.lanes)/len(t.vecs), 1)
		rows, cols := []run{{0, oh, 1}}, split(ow, limit)
		if 2*ow <= limit {
			rows, cols = split(oh, limit/ow), []run{{0, 1, ow}}
		}
		big := d.terms*per*4 > 1<<19
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
					if d.x.shape[0] > 1 {
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
				params := 1
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
	if d.x.shape[0] > 1 {
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
