package c

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerDynamicQuantize finds the scale of a tensor, and its integers.
func lowerDynamicQuantize(b *builder, n *ir.Node) error {
	if b.typ(n.Operand(0)) != float {
		return errors.New("numbers that are no floats")
	}
	x := b.flat(n.Operand(0))
	var out []*tensor
	for _, v := range n.Results() {
		y := b.alloc(v.Name(), b.typ(v), b.shape(v), false)
		b.define(v, y)
		y.stiff = true
		out = append(out, y)
	}
	if len(out) < 3 {
		return errors.New("fewer than three results")
	}
	b.add([]*tensor{x}, out, func(f *text, _ int) {
		f.line("float low = 0.0f, high = 0.0f;")
		f.loop("i", product(x.shape))
		f.line("low = a0[i] < low ? a0[i] : low;")
		f.line("high = a0[i] > high ? a0[i] : high;")
		f.end()
		f.line("const float scale = high > low ? (high - low) / 255.0f : 1.0f;")
		f.line("const int zero = @narrow(-low / scale, 0.0f, 255.0f, 0);")
		f.line("y1[0] = scale;")
		f.line("y2[0] = (uint8_t)zero;")
		f.loop("i", product(x.shape))
		f.line("y0[i] = (uint8_t)@narrow(a0[i] / scale, (float)-zero, (float)(255 - zero), zero);")
		f.end()
	})
	return nil
}

// zeroPoint is operand i of a product of integers: the C of it, with the tensor to read it from, which is nil for a constant.
func (b *builder) zeroPoint(n *ir.Node, i int, name string) (c string, from *tensor, err error) {
	v := n.Operand(i)
	if v == nil {
		return "0", nil, nil
	}
	if product(b.shape(v)) != 1 {
		return "", nil, errors.New("several zero points")
	}
	if t := b.constant(v); t != nil {
		z, err := integers(t)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprint(z[0]), nil, nil
	}
	return "(int32_t)" + name + "[0]", b.flat(v), nil
}

// lowerConvInteger sums products of integers in int32, a row of results at a time.
func lowerConvInteger(b *builder, n *ir.Node) error {
	shape := b.shape(n.Operand(1))
	win, err := b.windowOf(n, shape[2:])
	if err != nil {
		return err
	}
	x, w := b.flat(n.Operand(0)), b.flat(n.Operand(1))
	in := []*tensor{x, w}
	zx, from, err := b.zeroPoint(n, 2, "a2")
	if err != nil {
		return err
	}
	if from != nil {
		in = append(in, from)
	}
	zw, other, err := b.zeroPoint(n, 3, fmt.Sprintf("a%d", len(in)))
	if err != nil {
		return err
	}
	if other != nil {
		in = append(in, other)
	}
	y := b.result(n, false)
	y.stiff = true
	outputs, inputs, group := shape[0], shape[1], int(n.Int("group", 1))
	batch := b.shape(n.Operand(0))[0]
	b.add(in, []*tensor{y}, func(f *text, _ int) {
		kh, kw := win.kernel[0], win.kernel[1]
		f.line("const int32_t zx = %s, zw = %s;", zx, zw)
		f.loop("n", batch)
		f.loop("o", outputs)
		f.loop("i", win.out[0])
		f.line("int32_t *q = y0 + ((n * %d + o) * %d + i) * %d;", outputs, win.out[0], win.out[1])
		f.line("for (int j = 0; j < %d; j++) q[j] = 0;", win.out[1])
		f.loop("c", inputs)
		f.loop("h", kh)
		f.line("const int r = i * %d - %d + h * %d;", win.strides[0], win.pads[0], win.dilations[0])
		f.line("if (r < 0 || r >= %d) continue;", win.in[0])
		f.line("const %s *p = a0 + ((n * %d + o / %d * %d + c) * %d + r) * %d;", x.buf.typ.name, inputs*group, outputs/group, inputs, win.in[0], win.in[1])
		f.loop("k", kw)
		f.line("const int32_t w = (int32_t)a1[((o * %d + c) * %d + h) * %d + k] - zw;", inputs, kh, kw)
		f.line("const int s = k * %d - %d;", win.dilations[1], win.pads[1])
		f.line("int from = 0, to = %d;", win.out[1])
		f.line("while (from < to && from * %d + s < 0) from++;", win.strides[1])
		f.line("while (to > from && (to - 1) * %d + s >= %d) to--;", win.strides[1], win.in[1])
		f.line("for (int j = from; j < to; j++) q[j] += ((int32_t)p[j * %d + s] - zx) * w;", win.strides[1])
		for range 6 {
			f.end()
		}
	})
	return nil
}

// lowerMatMulInteger sums products of integers in int32.
func lowerMatMulInteger(b *builder, n *ir.Node) error {
	s, t, out := b.shape(n.Operand(0)), b.shape(n.Operand(1)), b.shape(n.Result(0))
	if len(t) != 2 || len(s) < 2 {
		return errors.New("the target multiplies by one matrix")
	}
	x, w := b.flat(n.Operand(0)), b.flat(n.Operand(1))
	in := []*tensor{x, w}
	zx, from, err := b.zeroPoint(n, 2, "a2")
	if err != nil {
		return err
	}
	if from != nil {
		in = append(in, from)
	}
	// the zero points of the columns of a constant matrix are a row
	zw, each := "0", false
	if v := n.Operand(3); v != nil {
		if product(b.shape(v)) > 1 {
			if product(b.shape(v)) != t[1] {
				return errors.New("several zero points")
			}
			zw, each = fmt.Sprintf("a%d", len(in)), true
			in = append(in, b.flat(v))
		} else {
			var other *tensor
			if zw, other, err = b.zeroPoint(n, 3, fmt.Sprintf("a%d", len(in))); err != nil {
				return err
			}
			if other != nil {
				in = append(in, other)
			}
		}
	}
	y := b.result(n, false)
	y.stiff = true
	b.add(in, []*tensor{y}, func(f *text, _ int) {
		f.line("const int32_t zx = %s;", zx)
		f.loop("i", product(out)/t[1])
		f.line("int32_t *q = y0 + i * %d;", t[1])
		f.line("for (int j = 0; j < %d; j++) q[j] = 0;", t[1])
		f.loop("k", t[0])
		f.line("const int32_t v = (int32_t)a0[i * %d + k] - zx;", t[0])
		if each {
			f.line("for (int j = 0; j < %d; j++) q[j] += v * ((int32_t)a1[k * %d + j] - (int32_t)%s[j]);", t[1], t[1], zw)
		} else {
			f.line("for (int j = 0; j < %d; j++) q[j] += v * ((int32_t)a1[k * %d + j] - %s);", t[1], t[1], zw)
		}
		f.end()
		f.end()
	})
	return nil
}
