package c

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerPool is MaxPool or AveragePool over blocked channels.
func lowerPool(b *builder, n *ir.Node) error {
	if n.NumResults() > 1 && n.Result(1) != nil && n.Result(1).NumUses() > 0 {
		return errors.New("indices")
	}
	k := make([]int, 0, 2)
	for _, x := range n.Ints("kernel_shape") {
		k = append(k, int(x))
	}
	w, err := b.windowOf(n, k)
	if err != nil {
		return err
	}
	return b.pool(n, w, n.Is("MaxPool"), n.Int("count_include_pad", 0) != 0)
}

// lowerGlobalPool takes each channel to one number.
func lowerGlobalPool(b *builder, n *ir.Node) error {
	s := imageShape(b.shape(n.Operand(0)))
	if len(s) != 4 {
		return fmt.Errorf("%d axes", len(s))
	}
	w := window{kernel: [2]int{s[2], s[3]}, strides: [2]int{1, 1}, dilations: [2]int{1, 1}, in: [2]int{s[2], s[3]}, out: [2]int{1, 1}}
	return b.pool(n, w, n.Is("GlobalMaxPool"), false)
}

func (b *builder) pool(n *ir.Node, w window, most, include bool) error {
	if t := b.typ(n.Result(0)); t != float {
		if !most || t.size != 1 || b.facts.DType(n.Result(0)) == ir.Bool {
			return fmt.Errorf("numbers of type %s", t.name)
		}
		x, y := b.blocked(n.Operand(0)), b.alloc(n.Result(0).Name(), uint8s, imageShape(b.shape(n.Result(0))), true)
		b.define(n.Result(0), y)
		b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) { greatestBody(f, w, x, y) })
		return nil
	}
	if !most && b.averaged(n, w, include) {
		return nil
	}
	x := b.blocked(n.Operand(0))
	v := n.Result(0)
	y := b.alloc(v.Name(), float, imageShape(b.shape(v)), true)
	b.define(v, y)
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, lanes int) { (&poolBody{w, x, y, most, include, min(lanes, 8)}).write(f) })
	return nil
}

type poolBody struct {
	w             window
	x, y          *tensor
	most, include bool
	lanes         int
}

func (p *poolBody) write(f *text) {
	w, l := p.w, p.lanes
	xs, ys := p.x.strides(), p.y.strides()
	f.loop("n", p.x.shape[0])
	f.loop("c", blocksOf(p.x.shape[1]))
	if l < block {
		f.loop("l", block/l)
	}
	lane := ""
	if l < block {
		lane = fmt.Sprintf(" + l * %d", l)
	}
	f.line("const float *p = a0 + %d + n * %d + c * %d%s;", p.x.start(), xs[0], xs[1], lane)
	f.line("float *q = y0 + %d + n * %d + c * %d%s;", p.y.start(), ys[0], ys[1], lane)
	f.loop("i", w.out[0])
	bounds := func(name, at string, axis int) {
		f.line("int %s0 = 0, %s1 = %d;", name, name, w.kernel[axis])
		if w.pads[axis] > 0 {
			f.line("while (%s * %d - %d + %s0 * %d < 0) %s0++;", at, w.strides[axis], w.pads[axis], name, w.dilations[axis], name)
		}
		if (w.out[axis]-1)*w.strides[axis]-w.pads[axis]+(w.kernel[axis]-1)*w.dilations[axis] >= w.in[axis] {
			f.line("while (%s1 > %s0 && %s * %d - %d + (%s1 - 1) * %d >= %d) %s1--;", name, name, at, w.strides[axis], w.pads[axis], name, w.dilations[axis], w.in[axis], name)
		}
	}
	bounds("h", "i", 0)
	// columns whose windows lie inside
	from := min((w.pads[1]+w.strides[1]-1)/w.strides[1], w.out[1])
	to := from
	for to < w.out[1] && to*w.strides[1]-w.pads[1]+(w.kernel[1]-1)*w.dilations[1] < w.in[1] {
		to++
	}
	columns := func(a, b int, inside bool) {
		if a >= b {
			return
		}
		f.line("for (int j = %d; j < %d; j++) {", a, b)
		if inside {
			if p.most {
				f.line("v%d m = V%d_SET(-HUGE_VALF);", l, l)
			} else {
				f.line("v%d m = V%d_ZERO();", l, l)
			}
		} else {
			bounds("w", "j", 1)
			if p.most {
				f.line("v%d m = V%d_SET(-HUGE_VALF);", l, l)
			} else {
				f.line("v%d m = V%d_ZERO();", l, l)
			}
		}
		f.line("for (int h = h0; h < h1; h++) {")
		f.line("const float *r = p + (i * %d - %d + h * %d) * %d + (j * %d - %d) * %d;", w.strides[0], w.pads[0], w.dilations[0], xs[2], w.strides[1], w.pads[1], block)
		fold := func(at string) {
			if p.most {
				f.line("m = V%d_MAX(m, V%d_LOAD(r + %s));", l, l, at)
			} else {
				f.line("m = V%d_ADD(m, V%d_LOAD(r + %s));", l, l, at)
			}
		}
		if inside && w.kernel[1] <= 16 {
			for k := range w.kernel[1] {
				fold(fmt.Sprint(k * w.dilations[1] * block))
			}
		} else {
			if inside {
				f.line("for (int k = 0; k < %d; k++) {", w.kernel[1])
			} else {
				f.line("for (int k = w0; k < w1; k++) {")
			}
			fold(fmt.Sprintf("k * %d", w.dilations[1]*block))
			f.end()
		}
		f.end()
		if !p.most {
			switch {
			case p.include:
				rows := fmt.Sprint(w.kernel[0])
				cols := fmt.Sprint(w.kernel[1])
				f.line("m = V%d_MUL(m, V%d_SET(1.0f / (float)(%s * %s)));", l, l, rows, cols)
			case inside:
				f.line("m = V%d_MUL(m, V%d_SET(1.0f / (float)((h1 - h0) * %d)));", l, l, w.kernel[1])
			default:
				f.line("m = V%d_MUL(m, V%d_SET(1.0f / (float)((h1 - h0) * (w1 - w0))));", l, l)
			}
		}
		f.line("V%d_STORE(q + i * %d + j * %d, m);", l, ys[2], block)
		f.end()
	}
	columns(0, from, false)
	columns(from, to, true)
	columns(to, w.out[1], false)
	f.end()
	if l < block {
		f.end()
	}
	f.end()
	f.end()
}

// greatestBody writes a MaxPool over bytes without sign.
func greatestBody(f *text, w window, x, y *tensor) {
	xs, ys := x.strides(), y.strides()
	f.loop("n", x.shape[0])
	f.loop("c", blocksOf(x.shape[1]))
	f.loop("i", w.out[0])
	f.loop("j", w.out[1])
	f.line("uint8_t m[8] = {0, 0, 0, 0, 0, 0, 0, 0};")
	f.line("const int r = i * %d - %d, q = j * %d - %d;", w.strides[0], w.pads[0], w.strides[1], w.pads[1])
	f.line("const int at = %d + n * %d + c * %d + r * %d + q * %d;", x.start(), xs[0], xs[1], xs[2], xs[3])
	whole := w.kernel[0]*w.kernel[1] <= 25
	if whole { // windows that lie inside
		f.line("if (r >= 0 && r + %d < %d && q >= 0 && q + %d < %d) {", (w.kernel[0]-1)*w.dilations[0], w.in[0], (w.kernel[1]-1)*w.dilations[1], w.in[1])
		f.line("const uint8_t *p = a0 + at;")
		for h := range w.kernel[0] {
			for k := range w.kernel[1] {
				f.line("for (int l = 0; l < 8; l++) m[l] = p[%d + l] > m[l] ? p[%d + l] : m[l];", h*w.dilations[0]*xs[2]+k*w.dilations[1]*xs[3], h*w.dilations[0]*xs[2]+k*w.dilations[1]*xs[3])
			}
		}
		f.line("} else")
	}
	f.loop("h", w.kernel[0])
	f.line("if (r + h * %d < 0 || r + h * %d >= %d) continue;", w.dilations[0], w.dilations[0], w.in[0])
	f.loop("k", w.kernel[1])
	f.line("if (q + k * %d < 0 || q + k * %d >= %d) continue;", w.dilations[1], w.dilations[1], w.in[1])
	f.line("const uint8_t *t = a0 + at + h * %d + k * %d;", w.dilations[0]*xs[2], w.dilations[1]*xs[3])
	f.line("for (int l = 0; l < 8; l++) m[l] = t[l] > m[l] ? t[l] : m[l];")
	f.end()
	f.end()
	f.line("memcpy(y0 + %d + n * %d + c * %d + i * %d + j * %d, m, 8);", y.start(), ys[0], ys[1], ys[2], ys[3])
	for range 4 {
		f.end()
	}
}
