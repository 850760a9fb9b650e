package c

import (
	"errors"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

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
