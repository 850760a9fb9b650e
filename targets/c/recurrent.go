package c

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// cell is a recurrent layer: in each step one product of [x, h] with both weights, and one loop over the gates.
type cell struct {
	kind          string // LSTM, GRU, RNN
	t, b, in, h   int    // steps, batch, sizes of input and state
	directions    int
	backward      []bool
	gates         int // rows of the product by h
	before        bool
	weights, bias *tensor // panels for each direction
	second, bias2 *tensor // of the GRU whose reset comes before the product
	h0, c0        *tensor
	x             *tensor
}

func lowerRecurrent(b *builder, n *ir.Node) error {
	xs := b.shape(n.Operand(0))
	kind := n.Op().Type
	k := map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
	c := &cell{kind: kind, t: xs[0], b: xs[1], in: xs[2], before: n.Int("linear_before_reset", 0) == 0}
	switch {
	case b.typ(n.Operand(0)) != float:
		return errors.New("numbers that are no floats")
	case n.Int("layout", 0) != 0:
		return errors.New("layout 1")
	case n.Attr("clip") != nil || n.Int("input_forget", 0) != 0:
		return errors.New("clip or input_forget")
	case n.Operand(7) != nil:
		return errors.New("peepholes")
	case n.Operand(4) != nil && !b.fullLength(n.Operand(4), xs[0]):
		return errors.New("sequence_lens")
	}
	if a := n.Attr("activations"); a != nil {
		want := map[string]string{"LSTM": "sigmoidtanhtanh", "GRU": "sigmoidtanh", "RNN": "tanh"}[kind]
		s := strings.ToLower(strings.Join(a.Strs(), ""))
		if s != want && s != want+want {
			return fmt.Errorf("activations %v", a.Strs())
		}
	}
	switch d := n.Str("direction", "forward"); d {
	case "forward":
		c.backward = []bool{false}
	case "reverse":
		c.backward = []bool{true}
	default:
		c.backward = []bool{false, true}
	}
	c.directions = len(c.backward)
	w, err := b.floats(n.Operand(1))
	if err != nil {
		return err
	}
	r, err := b.floats(n.Operand(2))
	if err != nil {
		return err
	}
	c.h = b.shape(n.Operand(2))[2]
	bias := make([]float32, c.directions*2*k*c.h)
	if v := n.Operand(3); v != nil {
		if bias, err = b.floats(v); err != nil {
			return err
		}
	}
	c.pack(b, n, k, w, r, bias)
	c.x = b.flat(n.Operand(0))
	in := []*tensor{c.x, c.weights, c.bias}
	for i, p := range []**tensor{&c.h0, &c.c0} {
		if v := n.Operand(5 + i); v != nil && (i == 0 || kind == "LSTM") {
			*p = b.flat(v)
		} else {
			*p = b.floatLiteral("zeros", make([]float32, c.directions*c.b*c.h))
		}
	}
	in = append(in, c.h0, c.c0)
	if c.second != nil {
		in = append(in, c.second, c.bias2)
	}
	var out []*tensor
	shapes := [][]int{{c.t, c.directions, c.b, c.h}, {c.directions, c.b, c.h}, {c.directions, c.b, c.h}}
	for i, s := range shapes {
		t := b.alloc("state", float, s, false)
		t.stiff = true
		if v := n.Result(i); v != nil {
			t.buf.name = v.Name()
			b.define(v, t)
		}
		out = append(out, t)
		if i == 1 && kind != "LSTM" {
			break
		}
	}
	s := b.add(in, out, func(f *text, lanes int) { c.write(f, lanes) })
	s.scratch = &buffer{name: "gates", typ: float, elems: c.b * (c.in + c.h + 5*c.h)}
	return nil
}

// fullLength reports whether all sequences have the length.
func (b *builder) fullLength(v *ir.Value, length int) bool {
	l, err := b.ints(v)
	for _, x := range l {
		if x != length {
			return false
		}
	}
	return err == nil
}

// pack joins the weights of x and h. The gates of a GRU are z, r, the candidate's part of x and that of h.
func (c *cell) pack(b *builder, n *ir.Node, k int, w, r, bias []float32) {
	h, in := c.h, c.in
	c.gates = k
	if c.kind == "GRU" && !c.before {
		c.gates = 4
	}
	rows := blocksOf(c.gates*h) * block
	var panels, offsets, second, offsets2 []float32
	for d := range c.directions {
		wd, rd, bd := w[d*k*h*in:], r[d*k*h*h:], bias[d*2*k*h:]
		panels = append(panels, packed(c.gates*h, in+h, func(o, t int) float32 {
			switch {
			case c.kind == "GRU" && o >= 3*h: // the candidate's part of h
				if t < in {
					return 0
				}
				return rd[(o-h)*h+t-in]
			case t < in:
				return wd[o*in+t]
			case c.kind == "GRU" && o >= 2*h:
				return 0
			}
			return rd[o*h+t-in]
		})...)
		one := make([]float32, rows)
		for o := range c.gates * h {
			switch {
			case c.kind == "GRU" && o >= 3*h:
				one[o] = bd[k*h+o-h]
			case c.kind == "GRU" && o >= 2*h:
				one[o] = bd[o]
			default:
				one[o] = bd[o] + bd[k*h+o]
			}
		}
		offsets = append(offsets, one...)
		if c.kind == "GRU" && c.before {
			second = append(second, packed(h, h, func(o, t int) float32 { return rd[(2*h+o)*h+t] })...)
			one := make([]float32, blocksOf(h)*block)
			copy(one, bd[k*h+2*h:k*h+3*h])
			offsets2 = append(offsets2, one...)
		}
	}
	c.weights, c.bias = b.floatLiteral(n.Operand(1).Name(), panels), b.floatLiteral("bias", offsets)
	if second != nil {
		c.second, c.bias2 = b.floatLiteral(n.Operand(2).Name(), second), b.floatLiteral("bias", offsets2)
	}
}

// times writes y[rows, n] = x[rows, k] times panels plus a bias; the pointers are expressions.
func times(f *text, lanes, rows, k, n, stride int, x, w, bias, y string) {
	blocks := blocksOf(n)
	step := min(map[int]int{16: 16, 8: 8, 4: 4}[lanes], blocks+blocks%2)
	if rows > 1 {
		step = groupBlocks(lanes)
	}
	t := &tile{k: k, plane: block, bias: true}
	if k/block > 0 {
		t.sections = append(t.sections, section{0, []span{{k / block, block}, {block, 1}}})
	}
	if rest := k % block; rest > 0 {
		t.sections = append(t.sections, section{k / block * block, []span{{rest, 1}}})
	}
	whole := n / (step * block)
	call := func(from, count, size, tail int) {
		t.group(from, from+size, blocks, lanes)
		t.tail = tail
		f.loop("o", count)
		for _, r := range split(rows, max(f.budget(lanes)/len(t.vecs), 1)) {
			t.spots = nil
			for i := range r.step {
				t.spots = append(t.spots, spot{i * stride, i * n})
			}
			name := t.write(f)
			f.loop("i", r.n)
			f.line("%s(%s + %d + i * %d, %s + %d + o * %d, %s + %d + o * %d, %s + %d + o * %d + i * %d);", name, x, r.from*stride, r.step*stride, w, from*block*k, size*block*k,
				bias, from*block, size*block, y, r.from*n+from*block, size*block, r.step*n)
			f.end()
		}
		f.end()
	}
	if whole > 0 {
		call(0, whole, step, 0)
	}
	if rest := blocks - whole*step; rest > 0 {
		call(whole*step, 1, rest, n%block)
	}
}

func (c *cell) write(f *text, lanes int) {
	h, in := c.h, c.in
	k := in + h
	f.line("float *v = s, *g = s + %d, *m = s + %d;", c.b*k, c.b*(k+4*h))
	if c.kind != "LSTM" {
		f.line("(void)a4;")
	}
	for d, back := range c.backward {
		state := "y1"
		f.line("memcpy(%s + %d, a3 + %d, sizeof(float) * %d);", state, d*c.b*h, d*c.b*h, c.b*h)
		if c.kind == "LSTM" {
			f.line("memcpy(y2 + %d, a4 + %d, sizeof(float) * %d);", d*c.b*h, d*c.b*h, c.b*h)
		}
		f.loop("e", c.t)
		if back {
			f.line("const int t = %d - e;", c.t-1)
		} else {
			f.line("const int t = e;")
		}
		f.line("for (int i = 0; i < %d; i++) {", c.b)
		f.line("memcpy(v + i * %d, a0 + (t * %d + i) * %d, sizeof(float) * %d);", k, c.b, in, in)
		f.line("memcpy(v + i * %d + %d, y1 + (%d + i) * %d, sizeof(float) * %d);", k, in, d*c.b, h, h)
		f.end()
		times(f, lanes, c.b, k, c.gates*h, k, "v", fmt.Sprintf("a1 + %d", d*blocksOf(c.gates*h)*block*k), fmt.Sprintf("a2 + %d", d*blocksOf(c.gates*h)*block), "g")
		f.loop("i", c.b)
		f.line("const float *p = g + i * %d;", c.gates*h)
		f.line("float *q = y1 + (%d + i) * %d;", d*c.b, h)
		switch {
		case c.kind == "LSTM":
			f.line("float *c = y2 + (%d + i) * %d;", d*c.b, h)
			f.loop("j", h)
			f.line("const float n = @sigmoid(p[j + %d]) * c[j] + @sigmoid(p[j]) * @tanh(p[j + %d]);", 2*h, 3*h)
			f.line("c[j] = n;")
			f.line("q[j] = @sigmoid(p[j + %d]) * @tanh(n);", h)
			f.end()
		case c.kind == "RNN":
			f.line("for (int j = 0; j < %d; j++) q[j] = @tanh(p[j]);", h)
		case c.before:
			f.line("for (int j = 0; j < %d; j++) v[i * %d + j] = @sigmoid(p[j + %d]) * q[j];", h, h, h)
		default:
			f.loop("j", h)
			f.line("const float z = @sigmoid(p[j]);")
			f.line("q[j] = (1.0f - z) * @tanh(p[j + %d] + @sigmoid(p[j + %d]) * p[j + %d]) + z * q[j];", 2*h, h, 3*h)
			f.end()
		}
		f.end()
		if c.second != nil {
			times(f, lanes, c.b, h, h, h, "v", fmt.Sprintf("a5 + %d", d*blocksOf(h)*block*h), fmt.Sprintf("a6 + %d", d*blocksOf(h)*block), "m")
			f.loop("i", c.b)
			f.line("const float *p = g + i * %d, *r = m + i * %d;", c.gates*h, h)
			f.line("float *q = y1 + (%d + i) * %d;", d*c.b, h)
			f.loop("j", h)
			f.line("const float z = @sigmoid(p[j]);")
			f.line("q[j] = (1.0f - z) * @tanh(p[j + %d] + r[j]) + z * q[j];", 2*h)
			f.end()
			f.end()
		} else {
			f.line("(void)m;")
		}
		f.line("memcpy(y0 + (t * %d + %d) * %d, y1 + %d, sizeof(float) * %d);", c.directions, d, c.b*h, d*c.b*h, c.b*h)
		f.end()
	}
}
