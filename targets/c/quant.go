package c

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// quantization is how the integers of a tensor are read: (q - zero) * scale, by channel if there are several.
type quantization struct {
	scales []float32
	zeros  []int // as many, or one
	dtype  ir.DType
	axis   int
}

// quantizationOf reads the constant parameters of a QuantizeLinear or DequantizeLinear.
func (b *builder) quantizationOf(n *ir.Node) (q quantization, err error) {
	if n.Int("block_size", 0) != 0 {
		return q, errors.New("scales of blocks")
	}
	if q.scales, err = b.floats(n.Operand(1)); err != nil {
		return q, err
	}
	q.axis = int(n.Int("axis", 1))
	q.zeros = []int{0}
	q.dtype = ir.DType(n.Int("output_dtype", 0))
	if z := n.Operand(2); z != nil {
		t := b.constant(z)
		if t == nil {
			return q, errors.New("a zero point that is no constant")
		}
		q.dtype = t.DType()
		if q.zeros, err = integers(t); err != nil {
			return q, err
		}
	} else if q.dtype == 0 {
		q.dtype = ir.Uint8
	}
	if n.Is("DequantizeLinear") {
		q.dtype = b.facts.DType(n.Operand(0))
	}
	for _, s := range q.scales {
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return q, fmt.Errorf("a scale of %v", s)
		}
	}
	return q, nil
}

// integers are the elements of a tensor of integers.
func integers(t *ir.Tensor) ([]int, error) {
	var r []int
	switch t.DType() {
	case ir.Int8:
		s, err := ir.Elements[int8](t)
		for _, x := range s {
			r = append(r, int(x))
		}
		return r, err
	case ir.Uint8:
		s, err := ir.Elements[uint8](t)
		for _, x := range s {
			r = append(r, int(x))
		}
		return r, err
	case ir.Int16:
		s, err := ir.Elements[int16](t)
		for _, x := range s {
			r = append(r, int(x))
		}
		return r, err
	case ir.Int32:
		s, err := ir.Elements[int32](t)
		for _, x := range s {
			r = append(r, int(x))
		}
		return r, err
	}
	return nil, fmt.Errorf("integers of type %s", t.DType())
}

// rangeOf are the ends of a type.
func rangeOf(d ir.DType) (low, high int, err error) {
	switch d {
	case ir.Int8:
		return -128, 127, nil
	case ir.Uint8:
		return 0, 255, nil
	case ir.Int16:
		return -32768, 32767, nil
	}
	return 0, 0, fmt.Errorf("integers of type %s", d)
}

// dequantized is the float tensor that a DequantizeLinear makes of a constant; nil: it does not.
func (b *builder) dequantized(n *ir.Node) *ir.Tensor {
	t := b.constant(n.Operand(0))
	if t == nil {
		return nil
	}
	q, err := b.quantizationOf(n)
	if err != nil {
		return nil
	}
	x, err := integers(t)
	if err != nil {
		return nil
	}
	inner, count := 1, 1
	if len(q.scales) > 1 {
		s := t.Shape()
		axis := normal(int64(q.axis), len(s))
		inner, count = int(ir.NumElements(s[axis+1:])), len(q.scales)
	}
	f := make([]float32, len(x))
	for i, v := range x {
		c := i / inner % count
		f[i] = float32(v-q.zeros[c%len(q.zeros)]) * q.scales[c]
	}
	return ir.TensorOf(f, t.Shape()...)
}

// lowerDequantize makes a formula that each reader computes for itself.
func lowerDequantize(b *builder, n *ir.Node) error {
	q, err := b.quantizationOf(n)
	if err != nil {
		return err
	}
	if len(q.scales) != 1 {
		return errors.New("a scale for each channel of what is no constant")
	}
	if b.typ(n.Result(0)) != float {
		return errors.New("results that are no floats")
	}
	b.cheap[n.Result(0)] = &expr{formula: fmt.Sprintf("((float)(%%[1]s - %d) * %s)", q.zeros[0], literalOf(q.scales[0])), args: []*expr{b.argument(n.Operand(0))}, typ: float, size: 1}
	return nil
}

func lowerQuantize(b *builder, n *ir.Node) error {
	q, err := b.quantizationOf(n)
	if err != nil {
		return err
	}
	if len(q.scales) != 1 || b.typ(n.Operand(0)) != float {
		return errors.New("a scale for each channel, or numbers that are no floats")
	}
	low, high, err := rangeOf(q.dtype)
	if err != nil {
		return err
	}
	z := q.zeros[0]
	typ := b.typ(n.Result(0))
	x := b.argument(n.Operand(0))
	e := &expr{formula: fmt.Sprintf("(%s)@narrow(%%[1]s / %s, %d.0f, %d.0f, %d)", typ.name, literalOf(q.scales[0]), low-z, high-z, z), args: []*expr{x}, typ: typ, size: x.size + 1}
	b.materialize(n.Result(0), e)
	return nil
}

// merged is a convolution or product between integers: DequantizeLinear of input and weights, Conv, Gemm or MatMul, at most one Relu or Clip,
// QuantizeLinear.
type merged struct {
	outputs   int
	from      *ir.Value // the integers
	x, w, y   quantization
	weights   []int
	bias      []float32
	low, high float32 // of the result less its zero point
	result    *ir.Value
	nodes     []*ir.Node
}

// mergedConv recognises a convolution; nil: it is none.
func (b *builder) mergedConv(n *ir.Node) *merged { return b.merge(n, 0) }

// mergedProduct recognises Gemm or MatMul with one matrix of weights, which it turns around to [output][input].
func (b *builder) mergedProduct(n *ir.Node) *merged {
	axis := 1
	if n.Is("Gemm") {
		if n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Operand(2) != nil && n.Float("beta", 1) != 1 {
			return nil
		}
		if n.Int("transB", 0) != 0 {
			axis = 0
		}
	}
	if len(b.shape(n.Operand(1))) != 2 || len(b.shape(n.Operand(0))) < 2 {
		return nil
	}
	m := b.merge(n, axis)
	if m == nil {
		return nil
	}
	if m.bias != nil && len(m.bias) != m.outputs {
		return nil
	}
	if axis == 1 {
		inputs := len(m.weights) / m.outputs
		w := make([]int, len(m.weights))
		for i := range inputs {
			for o := range m.outputs {
				w[o*inputs+i] = m.weights[i*m.outputs+o]
			}
		}
		m.weights = w
	}
	return m
}

// merge recognises what is between quantizers. The outputs are an axis of the weights.
func (b *builder) merge(n *ir.Node, axis int) *merged {
	m := &merged{}
	dq := func(i int) *ir.Node {
		if v := n.Operand(i); v != nil && v.Node() != nil && v.Node().Is("DequantizeLinear") && v.Node().Op().Domain == "" {
			return v.Node()
		}
		return nil
	}
	x, w := dq(0), dq(1)
	if x == nil || w == nil {
		return nil
	}
	var err error
	if m.x, err = b.quantizationOf(x); err != nil || len(m.x.scales) != 1 || m.x.dtype != ir.Int8 && m.x.dtype != ir.Uint8 {
		return nil
	}
	m.from = x.Operand(0)
	if b.constant(m.from) != nil {
		return nil
	}
	outputs := b.shape(n.Operand(1))[axis]
	m.outputs = outputs
	t := b.constant(w.Operand(0))
	if t == nil || t.DType() != ir.Int8 {
		return nil
	}
	if m.w, err = b.quantizationOf(w); err != nil || len(m.w.scales) != 1 && (len(m.w.scales) != outputs || normal(int64(m.w.axis), t.Rank()) != axis) {
		return nil
	}
	for _, z := range m.w.zeros {
		if z != 0 {
			return nil
		}
	}
	if m.weights, err = integers(t); err != nil || len(m.weights)/outputs > 1<<15 {
		return nil
	}
	if v := n.Operand(2); v != nil {
		if m.bias, err = b.floats(v); err != nil {
			return nil
		}
	}
	if !b.quantized(n.Result(0), m) {
		return nil
	}
	for i := range outputs {
		s := float64(m.x.scales[0]) * float64(m.w.scales[i%len(m.w.scales)]) / float64(m.y.scales[0])
		if !(float32(s) > 1e-30 && s < 1e30) || m.bias != nil && !(math.Abs(float64(m.bias[i])/float64(m.y.scales[0])) <= 1<<20) {
			return nil
		}
	}
	return m
}

// quantized follows v to a QuantizeLinear, through at most one Relu or Clip, and states what is found; false: there is none.
func (b *builder) quantized(v *ir.Value, m *merged) bool {
	low, high := float32(math.Inf(-1)), float32(math.Inf(1))
	g := v.Graph()
	var err error
	for at, acts := v, 0; ; {
		use, ok := at.OnlyUse()
		if !ok || at.IsOutput() || use.Node.IsReturn() || use.Index != 0 || use.Node.Graph() != g || b.done[use.Node] {
			return false
		}
		next := use.Node
		m.nodes = append(m.nodes, next)
		at = next.Result(0)
		if next.Is("QuantizeLinear") && next.Op().Domain == "" {
			if m.y, err = b.quantizationOf(next); err != nil || len(m.y.scales) != 1 || m.y.dtype != ir.Int8 && m.y.dtype != ir.Uint8 {
				return false
			}
			m.result = at
			break
		}
		a, err := b.activationOf(next)
		if err != nil || acts > 0 || a.kind != "relu" && a.kind != "clip" {
			return false
		}
		acts++
		if a.kind == "relu" {
			low = 0
		}
		if a.low {
			low = a.a
		}
		if a.high {
			high = a.b
		}
	}
	least, most, _ := rangeOf(m.y.dtype)
	z := float64(m.y.zeros[0])
	limit := func(x float32) float32 { // rounding is monotone, so that a limit may as well be applied to the integers
		return float32(max(float64(least), min(float64(most), math.RoundToEven(float64(x/m.y.scales[0]))+z)) - z)
	}
	m.low, m.high = limit(low), limit(high)
	return true
}

// raised is a zero point of bytes as they lie in blocked tensors, which have no sign.
func raised(q quantization) int {
	if q.dtype == ir.Int8 {
		return q.zeros[0] + 128
	}
	return q.zeros[0]
}

// lower appends the step of a merged convolution. The sums are those of (q - zero) * w; scaled, with the bias, they are rounded once to
// float32 at each operation, as in the embedded engine.
func (m *merged) lower(b *builder, n *ir.Node) error {
	shape := b.shape(n.Operand(1))
	win, err := b.windowOf(n, shape[2:])
	if err != nil {
		return err
	}
	outputs, inputs, group := shape[0], shape[1], int(n.Int("group", 1))
	depthwise := group > 1 && inputs == 1 && outputs == group
	if group > 1 && !depthwise && (inputs%block != 0 || outputs/group%block != 0) {
		return errors.New("groups of integers that are no blocks")
	}
	x := b.blocked(m.from)
	fill := raised(m.x)
	if h := win.halo(); h != [4]int{} {
		r := x.root()
		if r.halo != [4]int{} && r.fill != fill || !x.grow(h) {
			u := b.alloc(m.from.Name(), uint8s, x.shape, true)
			u.halo, u.fill = h, fill
			b.copy(x, u)
			x = u
		}
		x.root().fill = fill
	}
	y := b.alloc(m.result.Name(), uint8s, imageShape(b.shape(m.result)), true)
	b.define(m.result, y)
	m.step(b, n, win, x, y, inputs, group)
	return nil
}

// product appends the steps of a merged Gemm or MatMul: a convolution of single pixels, for which the rows are images.
func (m *merged) product(b *builder, n *ir.Node) {
	s := b.shape(m.from)
	inputs := s[len(s)-1]
	rows := product(s) / inputs
	from := b.flat(m.from)
	x := &tensor{buf: from.buf, shape: []int{rows, inputs, 1, 1}, stiff: true}
	if from.buf.typ == int8s || inputs%block != 0 {
		u := b.alloc(m.from.Name(), uint8s, x.shape, true)
		b.block(x, u)
		x = u
	} else {
		x.blocked = true
	}
	typ := b.typ(m.result)
	y := b.alloc(m.result.Name(), uint8s, []int{rows, m.outputs, 1, 1}, true)
	y.stiff = true
	win := window{kernel: [2]int{1, 1}, strides: [2]int{1, 1}, dilations: [2]int{1, 1}, in: [2]int{1, 1}, out: [2]int{1, 1}}
	m.step(b, n, win, x, y, inputs, 1)
	plain := &tensor{buf: y.buf, shape: b.shape(m.result), stiff: true}
	if typ == int8s || m.outputs%block != 0 {
		plain = b.alloc(m.result.Name(), typ, y.shape, false)
		b.unblock(y, plain)
		plain = &tensor{buf: plain.buf, shape: b.shape(m.result), stiff: true}
	}
	b.define(m.result, plain)
}

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
