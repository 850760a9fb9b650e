package c

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// winograd are the matrices of F(m x m, 3 x 3): m*m results of a 3x3 convolution from (m+2)*(m+2) numbers by as many multiplications
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). What is transformed is multiplied as a product of matrices
// for each of the places in a tile.
type winograd struct {
	m       int
	in      [][]float32 // B^T
	weights [][]float64 // G
	out     [][]float32 // A^T
}

// winogradOf is F(2x2, 3x3), whose results differ from direct sums as much as sums in another order do, or F(4x4, 3x3), which multiplies less and
// rounds more.
func winogradOf(m int) *winograd {
	if m == 2 {
		return &winograd{2,
			[][]float32{{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
			[][]float64{{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}},
			[][]float32{{1, 1, 1, 0}, {0, 1, -1, -1}}}
	}
	return &winograd{4,
		[][]float32{{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}},
		[][]float64{{.25, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}},
		[][]float32{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}}
}

// fast is the transformed convolution that the schedule chooses, with the rows of tiles that are done at a time; nil: the direct one.
func (c *conv) fast() (w *winograd, strip int) {
	if c.win.kernel != [2]int{3, 3} || c.win.strides != [2]int{1, 1} || c.win.dilations != [2]int{1, 1} || c.group != 1 || c.batch != 1 || c.inputs%block != 0 ||
		c.inputs < 2*block || c.win.out[0] < 4 || c.win.out[1] < 4 {
		return nil, 0
	}
	choices := []Choice{{"winograd": 0, "strip": 0}}
	for _, m := range []int{2, 4} {
		rows := (c.win.out[0] + m - 1) / m
		for n := 1; ; n *= 2 {
			n = min(n, rows)
			tiles := n * ((c.win.out[1] + m - 1) / m)
			if tiles >= 8 || n == rows {
				choices = append(choices, Choice{"winograd": m, "strip": n})
			}
			if n == rows || tiles > 128 {
				break
			}
		}
	}
	s := c.b.site("algorithm "+c.geometry()+" "+c.f.describe(), true, []*ir.Value{c.f.last}, choices, nil)
	s.work = c.work()
	if m := s.pick(0, "winograd", 0); m != 0 {
		return winogradOf(m), s.pick(0, "strip", 1)
	}
	return nil, 0
}

// transformed appends the step of a transformed convolution.
func (c *conv) transformed(w *winograd, strip int) {
	b := c.b
	size := w.m + 2
	down, across := (c.win.out[0]+w.m-1)/w.m, (c.win.out[1]+w.m-1)/w.m
	// the last tiles read beyond what the results need
	wide := *c
	wide.win.out = [2]int{down * w.m, across * w.m}
	x := wide.input(b.blocked(c.n.Operand(0)))
	y := b.alloc(c.f.last.Name(), float, imageShape(b.shape(c.f.last)), true)
	b.define(c.f.last, y)
	adds := b.addends(c.f)

	places := size * size
	u := make([]float32, places*c.outputs*c.inputs) // [place][output][input]
	for o := range c.outputs {
		for i := range c.inputs {
			g := c.w[(o*c.inputs+i)*9:][:9]
			for r := range size {
				for q := range size {
					sum := 0.0
					for h := range 3 {
						for k := range 3 {
							sum += w.weights[r][h] * float64(g[h*3+k]) * w.weights[q][k]
						}
					}
					u[((r*size+q)*c.outputs+o)*c.inputs+i] = float32(sum)
				}
			}
		}
	}
	var data []float32
	for p := range places {
		data = append(data, packed(c.outputs, c.inputs, func(o, k int) float32 { return u[(p*c.outputs+o)*c.inputs+k] })...)
	}
	strips := split(down, strip)
	tiles := strips[0].step * across
	// the products are a convolution of single pixels, which tiles are here, with a group for each place
	products := &conv{b: b, n: c.n, win: window{kernel: [2]int{1, 1}, strides: [2]int{1, 1}, dilations: [2]int{1, 1}, in: [2]int{1, tiles}, out: [2]int{1, tiles}},
		outputs: places * c.outputs, inputs: c.inputs, group: places, batch: 1, f: fused{last: c.f.last}}
	products.at = products.tiles(c.inputs, false, 4)
	in := append([]*tensor{x, b.floatLiteral(c.n.Operand(1).Name(), data), b.floatLiteral("bias", c.bias)}, adds...)
	s := b.add(in, []*tensor{y}, func(f *text, lanes int) {
		for _, r := range strips {
			k := *products
			k.win.in[1], k.win.out[1] = r.step*across, r.step*across
			t := &transform{conv: c, w: w, x: x, y: y, adds: adds, products: &k, lanes: min(lanes, 8), across: across, strip: r, down: down}
			t.write(f, lanes)
		}
	})
	most := 0
	for _, r := range strips {
		most = max(most, places*(c.inputs+blocksOf(c.outputs)*block)*r.step*across)
	}
	s.scratch = &buffer{name: "transformed", typ: float, elems: most}
}

// transform writes the loops over strips of tiles.
type transform struct {
	*conv
	w        *winograd
	x, y     *tensor
	adds     []*tensor
	products *conv
	lanes    int
	across   int // tiles in a row
	down     int // rows of tiles
	strip    run
}

func (t *transform) write(f *text, machine int) {
	size := t.w.m + 2
	places := size * size
	tiles := t.strip.step * t.across
	xs := t.x.strides()
	blocks := blocksOf(t.outputs)
	f.loop("t", t.strip.n)
	f.line("float *z = s + %d;", places*t.inputs*tiles)
	// into the transformed domain: [place][block][tile][8]
	f.loop("r", t.strip.step)
	f.loop("o", t.inputs/block)
	f.loop("j", t.across)
	at := t.x.start() - t.win.pads[0]*xs[2] - t.win.pads[1]*xs[3] + t.strip.from*t.w.m*xs[2]
	f.line("%s(a0 + %d + (t * %d + r) * %d + o * %d + j * %d, s + o * %d + (r * %d + j) * %d);", f.helpers.add("into", t.into(t.inputs/block*tiles*block)),
		at, t.strip.step, t.w.m*xs[2], xs[1], t.w.m*xs[3], tiles*block, t.across, block)
	f.end()
	f.end()
	f.end()
	// products
	v := &tensor{buf: &buffer{typ: float}, shape: []int{1, places * t.inputs, 1, tiles}, blocked: true}
	z := &tensor{buf: &buffer{typ: float}, shape: []int{1, places * blocks * block, 1, tiles}, blocked: true}
	body := text{helpers: f.helpers}
	body.line("(const float *restrict a0, const float *restrict a1, float *restrict y0) {")
	(&denseBody{conv: t.products, x: v, y: z, terms: t.inputs, lanes: machine, unbiased: true}).write(&body)
	body.line("}")
	f.line("%s(s, a1, z);", f.helpers.add("products", body.String()))
	// and back
	tall := t.win.out[0] - (t.down-1)*t.w.m // rows of results of the last row of tiles
	wide := t.win.out[1] - (t.across-1)*t.w.m
	last := tall < t.w.m && t.strip.from+t.strip.n*t.strip.step == t.down
	back := func(high int) {
		for _, q := range []struct{ from, n, width int }{{0, t.across - boolInt(wide < t.w.m), t.w.m}, {t.across - 1, boolInt(wide < t.w.m), wide}} {
			if q.n == 0 {
				continue
			}
			f.loop("j", q.n)
			place := func(u *tensor) string {
				s := u.strides()
				return fmt.Sprintf("%d + (t * %d + r) * %d + o * %d + j * %d", u.start()+t.strip.from*t.w.m*s[2]+q.from*t.w.m*s[3], t.strip.step, t.w.m*s[2], s[1], t.w.m*s[3])
			}
			call := fmt.Sprintf("%s(z + o * %d + (r * %d + j + %d) * %d, a2 + o * %d", f.helpers.add("back", t.back(blocks*tiles*block, high, q.width)),
				tiles*block, t.across, q.from, block, block)
			for k, a := range t.adds {
				call += fmt.Sprintf(", a%d + %s", 3+k, place(a))
			}
			f.line("%s, y0 + %s);", call, place(t.y))
			f.end()
		}
	}
	f.loop("r", t.strip.step)
	f.loop("o", blocks)
	if last {
		f.line("if (t == %d && r == %d) {", t.strip.n-1, t.strip.step-1)
		back(tall)
		f.line("} else {")
		back(t.w.m)
		f.end()
	} else {
		back(t.w.m)
	}
	f.end()
	f.end()
	f.end()
}

// sum is the combination of vectors by factors, as a statement that gives a name its value.
func (t *transform) sum(to string, factors []float32, of func(i int) string) string {
	v := fmt.Sprintf("V%d_", t.lanes)
	e := ""
	for _, negative := range []bool{false, true} { // a positive term first, so that no zero is needed
		for i, f := range factors {
			if f == 0 || (f < 0) != negative {
				continue
			}
			switch x := of(i); {
			case e == "" && f == 1:
				e = x
			case e == "":
				e = fmt.Sprintf("%sMUL(%sSET(%s), %s)", v, v, literalOf(f), x)
			case f == 1:
				e = fmt.Sprintf("%sADD(%s, %s)", v, e, x)
			case f == -1:
				e = fmt.Sprintf("%sSUB(%s, %s)", v, e, x)
			default:
				e = fmt.Sprintf("%sFMA(%sSET(%s), %s, %s)", v, v, literalOf(f), x, e)
			}
		}
	}
	return to + " = " + e + ";"
}

// parts opens the loop over the vectors of a block where it has several, and says what is added to places.
func (t *transform) parts(b *text) (off string) {
	if t.lanes < block {
		b.loop("l", block/t.lanes)
		return fmt.Sprintf(" + l * %d", t.lanes)
	}
	return ""
}

// into is the function that transforms a tile of one block of channels; places lie so far apart.
func (t *transform) into(apart int) string {
	size := t.w.m + 2
	xs := t.x.strides()
	var b text
	b.line("(const float *restrict x, float *restrict v) {")
	off := t.parts(&b)
	b.line("v%d d[%d];", t.lanes, size*size)
	for j := range size { // columns
		for i := range size {
			b.line("%sx%d_%d = V%d_LOAD(x + %d%s);", fmt.Sprintf("const v%d ", t.lanes), i, j, t.lanes, i*xs[2]+j*xs[3], off)
		}
		for i := range size {
			b.line("%s", t.sum(fmt.Sprintf("d[%d]", i*size+j), t.w.in[i], func(k int) string { return fmt.Sprintf("x%d_%d", k, j) }))
		}
	}
	for i := range size {
		for j := range size {
			b.line("v%d %s", t.lanes, t.sum(fmt.Sprintf("e%d_%d", i, j), t.w.in[j], func(k int) string { return fmt.Sprintf("d[%d]", i*size+k) }))
			b.line("V%d_STORE(v + %d%s, e%d_%d);", t.lanes, (i*size+j)*apart, off, i, j)
		}
	}
	if off != "" {
		b.end()
	}
	b.line("}")
	return b.String()
}

// back is the function that makes high x wide results of a tile and a block of outputs, with what follows.
func (t *transform) back(apart, high, wide int) string {
	size, m := t.w.m+2, t.w.m
	ys := t.y.strides()
	var b text
	var sig strings.Builder
	for k := range t.adds {
		fmt.Fprintf(&sig, "const float *restrict r%d, ", k)
	}
	b.line("(const float *restrict z, const float *restrict bias, %sfloat *restrict y) {", sig.String())
	off := t.parts(&b)
	b.line("v%d d[%d];", t.lanes, m*size)
	needed := func(k, of int) bool {
		return slices.ContainsFunc(t.w.out[:of], func(f []float32) bool { return f[k] != 0 })
	}
	for j := range size {
		if !needed(j, wide) {
			continue
		}
		for i := range size {
			if !needed(i, high) {
				continue
			}
			b.line("const v%d x%d_%d = V%d_LOAD(z + %d%s);", t.lanes, i, j, t.lanes, (i*size+j)*apart, off)
		}
		for i := range high {
			b.line("%s", t.sum(fmt.Sprintf("d[%d]", i*size+j), t.w.out[i], func(k int) string { return fmt.Sprintf("x%d_%d", k, j) }))
		}
	}
	for i := range high {
		for j := range wide {
			c := fmt.Sprintf("c%d_%d", i, j)
			b.line("v%d %s", t.lanes, t.sum(c, t.w.out[j], func(k int) string { return fmt.Sprintf("d[%d]", i*size+k) }))
			b.line("%s = V%d_ADD(%s, V%d_LOAD(bias%s));", c, t.lanes, c, t.lanes, off)
			n := 0
			for _, op := range t.f.ops {
				if op.add == nil {
					op.act.apply(&b, c, t.lanes)
					continue
				}
				s := t.adds[n].strides()
				b.line("%s = V%d_ADD(%s, V%d_LOAD(r%d + %d%s));", c, t.lanes, c, t.lanes, n, i*s[2]+j*s[3], off)
				n++
			}
			b.line("V%d_STORE(y + %d%s, %s);", t.lanes, i*ys[2]+j*ys[3], off, c)
		}
	}
	if off != "" {
		b.end()
	}
	b.line("}")
	return b.String()
}
