package c

import (
	"github.com/onnxopt/onnxopt/ir"
)

// averaged appends the step of an average between DequantizeLinear and QuantizeLinear: the sum of integers, scaled and rounded once, as in
// the embedded engine. It is false where n is none.
func (b *builder) averaged(n *ir.Node, w window, include bool) bool {
	d := n.Operand(0).Node()
	if d == nil || !isDequantize(d) || b.constant(d.Operand(0)) != nil || w.kernel[0]*w.kernel[1] > 1<<22 {
		return false
	}
	m := &merged{from: d.Operand(0)}
	var err error
	if m.x, err = b.quantizationOf(d); err != nil || len(m.x.scales) != 1 || m.x.dtype != ir.Int8 && m.x.dtype != ir.Uint8 || !b.quantized(n.Result(0), m) {
		return false
	}
	x := b.blocked(m.from)
	y := b.alloc(m.result.Name(), uint8s, imageShape(b.shape(m.result)), true)
	b.define(m.result, y)
	for _, next := range m.nodes {
		b.done[next] = true
	}
	b.add([]*tensor{x}, []*tensor{y}, func(f *text, _ int) { m.average(f, w, x, y, include) })
	return true
}

// average writes the loops of averages over bytes.
func (m *merged) average(f *text, w window, x, y *tensor, include bool) {
	xs, ys := x.strides(), y.strides()
	f.loop("n", x.shape[0])
	f.loop("c", blocksOf(x.shape[1]))
	f.loop("i", w.out[0])
	f.loop("j", w.out[1])
	f.line("int32_t m[8] = {0, 0, 0, 0, 0, 0, 0, 0};")
	f.line("int count = 0;")
	f.loop("h", w.kernel[0])
	f.line("const int r = i * %d - %d + h * %d;", w.strides[0], w.pads[0], w.dilations[0])
	if w.clipped(0) {
		f.line("if (r < 0 || r >= %d) continue;", w.in[0])
	}
	f.loop("k", w.kernel[1])
	f.line("const int q = j * %d - %d + k * %d;", w.strides[1], w.pads[1], w.dilations[1])
	if w.clipped(1) {
		f.line("if (q < 0 || q >= %d) continue;", w.in[1])
	}
	f.line("const uint8_t *p = a0 + %d + n * %d + c * %d + r * %d + q * %d;", x.start(), xs[0], xs[1], xs[2], xs[3])
	f.line("for (int l = 0; l < 8; l++) m[l] += p[l];")
	f.line("count++;")
	f.end()
	f.end()
	count := "count"
	if include {
		f.line("const int size = %d;", w.kernel[0]*w.kernel[1])
		count = "size"
	}
	f.line("uint8_t *to = y0 + %d + n * %d + c * %d + i * %d + j * %d;", y.start(), ys[0], ys[1], ys[2], ys[3])
	f.line("for (int l = 0; l < 8; l++) {")
	f.line("const float v = (float)((double)(m[l] - count * %d) * (double)%s / %s);", raised(m.x), literalOf(m.x.scales[0]), count)
	f.line("to[l] = (uint8_t)@narrow(v / %s, %s, %s, %d);", literalOf(m.y.scales[0]), literalOf(m.low), literalOf(m.high), raised(m.y))
	f.end()
	for range 4 {
		f.end()
	}
}

// clipped reports whether windows reach over the borders of an axis.
func (w *window) clipped(axis int) bool {
	return w.pads[axis] > 0 || (w.out[axis]-1)*w.strides[axis]-w.pads[axis]+(w.kernel[axis]-1)*w.dilations[axis] >= w.in[axis]
}
