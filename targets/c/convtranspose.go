package c

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerConvTranspose gathers, for each output, the inputs that reach it. By the remainder of the output's place the taps are the same, so each
// phase is a convolution with stride 1 over the input, scattered to every stride-th output (as in sub-pixel convolution).
func lowerConvTranspose(b *builder, n *ir.Node) error {
	w, err := b.floats(n.Operand(1))
	if err != nil {
		return err
	}
	ws := b.shape(n.Operand(1))
	if len(ws) != 3 && len(ws) != 4 {
		return fmt.Errorf("%d spatial axes", len(ws)-2)
	}
	win, err := b.windowOf(n, ws[2:])
	if err != nil {
		return err
	}
	if auto := n.Str("auto_pad", "NOTSET"); auto == "SAME_UPPER" || auto == "SAME_LOWER" || n.Attr("output_shape") != nil {
		for i := range 2 {
			at := 2 - (len(ws) - 2) + i
			if at < 0 || at > 1 || i >= len(ws)-2 {
				continue
			}
			total := (win.in[at]-1)*win.strides[at] + (win.kernel[at]-1)*win.dilations[at] + 1 - win.out[at]
			if o := n.Ints("output_padding"); len(o) > i {
				total += int(o[i])
			}
			total = max(total, 0)
			win.pads[at], win.pads[2+at] = total/2, total-total/2
			if auto != "SAME_UPPER" {
				win.pads[at], win.pads[2+at] = total-total/2, total/2
			}
		}
	}
	group := int(n.Int("group", 1))
	per, inputs := ws[1], ws[0]
	outputs := per * group
	var bias []float32
	if v := n.Operand(2); v != nil {
		if bias, err = b.floats(v); err != nil {
			return err
		}
	}
	if inputs*outputs*win.kernel[0]*win.kernel[1] > 1<<26 {
		return errors.New("weights of that size")
	}
	return b.phases(n, win, w, bias, inputs, per, group)
}

// phases appends a convolution for each remainder of the output's place.
func (b *builder) phases(n *ir.Node, win window, w, bias []float32, inputs, per, group int) error {
	v := n.Operand(0)
	x := b.blocked(v)
	outputs := per * group
	y := b.alloc(n.Result(0).Name(), float, imageShape(b.shape(n.Result(0))), true)
	b.define(n.Result(0), y)
	kh, kw := win.kernel[0], win.kernel[1]
	// taps of a phase along an axis: which weights, and where in the input relative to the first output's place
	taps := func(axis, phase int) (k, at []int) {
		for i := range win.kernel[axis] {
			d := phase + win.pads[axis] - i*win.dilations[axis]
			if m := d % win.strides[axis]; m == 0 {
				k, at = append(k, i), append(at, d/win.strides[axis])
			}
		}
		return k, at
	}
	var halo [4]int
	for axis := range 2 {
		for p := range min(win.strides[axis], win.out[axis]) {
			_, at := taps(axis, p)
			count := (win.out[axis] - p + win.strides[axis] - 1) / win.strides[axis]
			for _, a := range at {
				halo[axis] = max(halo[axis], -a)
				halo[2+axis] = max(halo[2+axis], a+count-win.in[axis])
			}
		}
	}
	if halo != [4]int{} && !x.grow(halo) {
		u := b.alloc(v.Name(), float, x.shape, true)
		u.halo = halo
		b.copy(x, u)
		x = u
	}
	full := make([]float32, blocksOf(outputs)*block)
	copy(full, bias)
	biases := b.floatLiteral("bias", full)
	for ph := range min(win.strides[0], win.out[0]) {
		for pw := range min(win.strides[1], win.out[1]) {
			hs, ha := taps(0, ph)
			vs, va := taps(1, pw)
			terms := 0
			var sections []tapped
			for from := 0; from < inputs; from += block {
				for i := range hs {
					for j := range vs {
						sections = append(sections, tapped{from, min(block, inputs-from), hs[i], vs[j], ha[i], va[j]})
						terms += min(block, inputs-from)
					}
				}
			}
			type term struct{ c, h, w int }
			var list []term
			for _, s := range sections {
				for c := range s.n {
					list = append(list, term{s.from + c, s.h, s.w})
				}
			}
			data := packed(outputs, max(terms, 1), func(o, k int) float32 {
				if terms == 0 {
					return 0
				}
				t := list[k]
				if t.c/(inputs/group) != o/per {
					return 0
				}
				return w[((t.c*per+o%per)*kh+t.h)*kw+t.w]
			})
			p := &phaseBody{win: win, x: x, y: y, ph: ph, pw: pw, sections: sections, terms: max(terms, 1), outputs: outputs, hs: len(hs), vs: len(vs), inputs: inputs}
			b.add([]*tensor{x, b.floatLiteral(n.Operand(1).Name(), data), biases}, []*tensor{y}, func(f *text, lanes int) { p.write(f, lanes) })
		}
	}
	return nil
}

// tapped are terms of a phase's sum: some channels of the input under one weight.
type tapped struct{ from, n, h, w, y, x int }

type phaseBody struct {
	win      window
	x, y     *tensor
	ph, pw   int
	sections []tapped
	terms    int
	outputs  int
	hs, vs   int
	inputs   int
}

func (p *phaseBody) write(f *text, lanes int) {
	xs, ys := p.x.strides(), p.y.strides()
	sh, sw := p.win.strides[0], p.win.strides[1]
	oh, ow := (p.win.out[0]-p.ph+sh-1)/sh, (p.win.out[1]-p.pw+sw-1)/sw
	t := &tile{k: p.terms, plane: ys[1], bias: true}
	per := p.hs * p.vs
	blocksIn := p.inputs / block
	// loops over whole blocks of inputs, the taps spelled out
	if blocksIn > 0 && per == 1 {
		s := p.sections[0]
		t.sections = append(t.sections, section{s.y*xs[2] + s.x*xs[3], []span{{blocksIn, xs[1]}, {block, 1}}})
	} else {
		for _, s := range p.sections {
			if s.n == block {
				t.sections = append(t.sections, section{s.from/block*xs[1] + s.y*xs[2] + s.x*xs[3], []span{{block, 1}}})
			}
		}
	}
	for _, s := range p.sections {
		if s.n < block {
			t.sections = append(t.sections, section{s.from/block*xs[1] + s.y*xs[2] + s.x*xs[3], []span{{s.n, 1}}})
		}
	}
	blocks, step := blocksOf(p.outputs), groupBlocks(lanes)
	f.loop("n", p.x.shape[0])
	for from := 0; from < blocks; from += step {
		t.group(from, min(from+step, blocks), blocks, lanes)
		f.loop("i", oh)
		for _, c := range split(ow, max(f.budget(lanes)/len(t.vecs), 1)) {
			t.spots = nil
			for j := range c.step {
				t.spots = append(t.spots, spot{j * xs[3], j * sw * ys[3]})
			}
			name := t.write(f)
			f.loop("j", c.n)
			f.line("%s(a0 + %d + n * %d + i * %d + j * %d, a1 + %d, a2 + %d, y0 + %d + n * %d + i * %d + j * %d);", name,
				p.x.start()+c.from*xs[3], xs[0], xs[2], c.step*xs[3], from*block*p.terms, from*block,
				p.y.start()+from*ys[1]+p.ph*ys[2]+(p.pw+c.from*sw)*ys[3], ys[0], sh*ys[2], c.step*sw*ys[3])
			f.end()
		}
		f.end()
	}
	f.end()
}
