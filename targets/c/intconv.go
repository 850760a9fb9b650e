package c

import (
	"github.com/onnxopt/onnxopt/ir"
)

// step appends the step of a merged convolution.
func (m *merged) step(b *builder, n *ir.Node, win window, x, y *tensor, inputs, group int) {
	outputs, fill := m.outputs, raised(m.x)
	for _, d := range m.nodes {
		b.done[d] = true
	}
	blocks := blocksOf(outputs) * block
	sums, scales, offsets := make([]int32, blocks), make([]float32, blocks), make([]float32, blocks)
	kh, kw := win.kernel[0], win.kernel[1]
	each := inputs * kh * kw
	for i := range outputs {
		for _, v := range m.weights[i*each : (i+1)*each] {
			sums[i] -= int32(v * fill)
		}
		scales[i] = float32(float64(m.x.scales[0]) * float64(m.w.scales[i%len(m.w.scales)]) / float64(m.y.scales[0]))
		if m.bias != nil {
			offsets[i] = float32(float64(m.bias[i]) / float64(m.y.scales[0]))
		}
	}
	ints := func(name string, v []int32) *tensor { return b.literal(name, int32s, []int{len(v)}, ir.AsBytes(v)) }
	r := &requant{low: m.low, high: m.high, zero: raised(m.y)}
	tail := []*tensor{ints("sums", sums), b.floatLiteral("scales", scales), b.floatLiteral("offsets", offsets)}
	if group > 1 && inputs == 1 && outputs == group {
		pairs := (kh*kw + 1) / 2
		data := make([]int8, 2*blocks*pairs) // two taps of a channel lie together
		for o := range outputs {
			for k := range kh * kw {
				data[((o/block*pairs+k/2)*block+o%block)*2+k%2] = int8(m.weights[o*kh*kw+k])
			}
		}
		w := b.literal(n.Operand(1).Name(), int8s, []int{len(data)}, ir.AsBytes(data))
		b.add(append([]*tensor{x, w}, tail...), []*tensor{y}, func(f *text, lanes int) { r.depthwise(f, win, x, y, outputs, lanes) })
		return
	}
	quads := func(n int) int { return (n + 3) / 4 }
	// the order of the sum: blocks, taps, quads of channels
	type term struct{ c, h, w int }
	var terms []term
	for from := 0; from < inputs; from += block {
		for h := range kh {
			for w := range kw {
				for q := range quads(min(block, inputs-from)) {
					terms = append(terms, term{from + 4*q, h, w})
				}
			}
		}
	}
	per := outputs / group
	var data []int8
	for g := range group {
		for from := 0; from < blocksOf(per); from += 2 {
			width := min(2, blocksOf(per)-from) * block
			for _, t := range terms {
				for i := range width {
					for c := range 4 {
						v := 0
						if o := from*block + i; o < per && t.c+c < inputs {
							v = m.weights[(((g*per+o)*inputs+t.c+c)*kh+t.h)*kw+t.w]
						}
						data = append(data, int8(v))
					}
				}
			}
		}
	}
	w := b.literal(n.Operand(1).Name(), int8s, []int{len(data)}, ir.AsBytes(data))
	c := &conv{b: b, n: n, win: win, outputs: outputs, inputs: inputs, group: group, batch: x.shape[0], f: fused{last: m.result}}
	c.at = c.tiles(len(terms), false, 1)
	b.add(append([]*tensor{x, w}, tail...), []*tensor{y}, func(f *text, lanes int) {
		(&denseBody{conv: c, x: x, y: y, terms: len(terms), lanes: lanes, requant: r}).write(f)
	})
}

// requant takes sums to bytes.
type requant struct {
	low, high float32
	zero      int
}

// depthwise writes a convolution of each channel by itself.
func (r *requant) depthwise(f *text, win window, x, y *tensor, outputs, lanes int) {
	xs, ys := x.strides(), y.strides()
	var taps []int
	for h := range win.kernel[0] {
		for w := range win.kernel[1] {
			taps = append(taps, h*win.dilations[0]*xs[2]+w*win.dilations[1]*xs[3])
		}
	}
	pairs := (len(taps) + 1) / 2
	wide := lanes >= block
	f.loop("n", x.shape[0])
	f.loop("c", blocksOf(outputs))
	f.line("const int8_t *w = a1 + c * %d;", pairs*2*block)
	if wide {
		f.line("const v8 g = V8_LOAD(a3 + c * 8), d = V8_LOAD(a4 + c * 8), low = V8_SET(%s), high = V8_SET(%s), z = V8_SET(%s);", literalOf(r.low), literalOf(r.high), literalOf(float32(r.zero)))
		f.line("const i8 first = I8_LOAD(a2 + c * 8);")
		for k := range pairs {
			f.line("const i8 w%d = I8_WIDE(w + %d);", k, k*2*block)
		}
	}
	f.loop("i", win.out[0])
	f.loop("j", win.out[1])
	f.line("const uint8_t *p = a0 + %d + n * %d + c * %d + i * %d + j * %d;", x.start()-win.pads[0]*xs[2]-win.pads[1]*xs[3], xs[0], xs[1], win.strides[0]*xs[2], win.strides[1]*xs[3])
	f.line("uint8_t *q = y0 + %d + n * %d + c * %d + i * %d + j * %d;", y.start(), ys[0], ys[1], ys[2], ys[3])
	if wide {
		f.line("FENCE();")
		f.line("i8 m = first;")
		for k := range pairs {
			if 2*k+1 < len(taps) {
				f.line("m = I8_MADD(I8_PAIR(p + %d, p + %d), w%d, m);", taps[2*k], taps[2*k+1], k)
			} else {
				f.line("m = I8_MADD(I8_ONE(p + %d), w%d, m);", taps[2*k], k)
			}
		}
		f.line("const v8 s = V8_ADD(V8_MUL(I8_FLOAT(m), g), d);")
		f.line("I8_STORE(q, V8_ADD(V8_ROUND(V8_MIN(high, V8_MAX(low, s))), z));")
	} else {
		f.line("int32_t m[8];")
		f.line("for (int l = 0; l < 8; l++) m[l] = a2[c * 8 + l];")
		for k, at := range taps {
			f.line("for (int l = 0; l < 8; l++) m[l] += (int32_t)p[%d + l] * (int32_t)w[%d + 2 * l];", at, k/2*2*block+k%2)
		}
		f.line("for (int l = 0; l < 8; l++) q[l] = (uint8_t)@narrow((float)m[l] * a3[c * 8 + l] + a4[c * 8 + l], %s, %s, %d);", literalOf(r.low), literalOf(r.high), r.zero)
	}
	for range 4 {
		f.end()
	}
}
