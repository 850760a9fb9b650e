package native

import (
	"math"
	"sync"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// functions are the operators that give an element the same result wherever it stands, as long as their other operands are single
// numbers. From 8 bits to 8 bits such a node is a table of 256 entries.
var functions = []string{
	"Abs", "Add", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log",
	"Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
	"Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu",
}

// lookupTable is what a chain makes of each byte, by the type of its operand. The separate nodes make it when it is first asked for, so
// that it has their bits.
type lookupTable struct {
	mu   sync.Mutex
	made [2]bool
	to   [2]*byteTable // nil where the separate nodes have to do it
}

// matchTable is a function of one activation.
func matchTable(s *scope, m *match) executor {
	at := -1
	rank := 0 // the largest of a constant
	for i := range m.node.NumOperands() {
		v := m.node.Operand(i)
		if v == nil {
			continue
		}
		r, ok := s.number(v)
		if ok {
			rank = max(rank, r)
			continue
		}
		if at >= 0 {
			return nil
		}
		at = i
	}
	if at < 0 {
		return nil
	}
	x, ok := m.activation(s, at)
	if !ok {
		return nil
	}
	table := &lookupTable{}
	return func(t *task) (*ir.Tensor, bool) {
		in := t.tensor(0)
		if !x.fits(in) || in.Rank() < rank {
			return nil, false
		}
		b := table.get(t, m, x, at, in.DType())
		if b == nil {
			return nil, false
		}
		return m.replaced(t, b, in)
	}
}

// number reports whether v is a constant of one element, or a dequantized one, and its rank.
func (s *scope) number(v *ir.Value) (rank int, ok bool) {
	if n := v.Node(); n != nil && n.Graph() == s.prog.graph && s.quantizer(n, "DequantizeLinear") && n.Int("block_size", 0) == 0 {
		v = n.Operand(0)
	}
	c := s.constant(v)
	if c == nil || c.Len() != 1 {
		return 0, false
	}
	return c.Rank(), true
}

// get is the table for operands of a type, nil if there is none.
func (l *lookupTable) get(t *task, m *match, q quantization, at int, from ir.DType) *byteTable {
	i := 0
	if from == ir.Int8 {
		i = 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.made[i] {
		var all []float32
		if from == ir.Int8 {
			all = everyValue[int8](q)
		} else {
			all = everyValue[uint8](q)
		}
		b, final := m.function(t, at, all)
		l.to[i], l.made[i] = b, final
	}
	return l.to[i]
}

// everyValue is what each byte stands for.
func everyValue[T gemm.Integer](q quantization) []float32 {
	var all [256]T
	for i := range all {
		all[i] = T(i)
	}
	values := make([]float32, 256)
	gemm.Dequantize(values, all[:], q.scales[0], zeroOf[T](q))
	return values
}

// function makes the table of the node for the values of operand at. final says that another run would come to the same.
func (m *match) function(t *task, at int, all []float32) (b *byteTable, final bool) {
	in := make([]ir.Datum, len(t.step.in))
	for i, o := range t.step.in {
		switch {
		case i == at:
			in[i] = ir.TensorOf(all, 256)
		case o == omitted:
		case o.tensor == nil:
			return nil, true // nothing that Load knows
		default:
			in[i] = o.tensor
		}
	}
	res, err := t.frame.apply(t.step, in)
	if err != nil || len(res) == 0 {
		return nil, false
	}
	r, ok := res[0].(*ir.Tensor)
	if !ok || r.DType() != ir.Float32 || r.Len() != 256 {
		return nil, true
	}
	v := elements[float32](r)
	b = &byteTable{}
	for _, e := range v {
		if math.IsNaN(float64(e)) { // a limit may change it
			b = nil
			break
		}
	}
	if b != nil {
		b.to = m.quantized(v)
		b.find()
	}
	t.done(v)
	return b, true
}

// quantized are the bytes of 256 values in the result.
func (m *match) quantized(v []float32) (r [256]uint8) {
	if m.dtype == ir.Int8 {
		var signed [256]int8
		gemm.Quantize(signed[:], v, m.result.scales[0], zeroOf[int8](m.result), int8(m.lo), int8(m.hi))
		for i, e := range signed {
			r[i] = uint8(e)
		}
		return r
	}
	gemm.Quantize(r[:], v, m.result.scales[0], zeroOf[uint8](m.result), uint8(m.lo), uint8(m.hi))
	return r
}

// replaced is x with each byte replaced, of the type of the result.
func (m *match) replaced(t *task, b *byteTable, x *ir.Tensor) (*ir.Tensor, bool) {
	src, err := x.Bytes()
	if err != nil {
		return nil, false
	}
	if b.identical && x.DType() == m.dtype {
		return x, true
	}
	dst, ok := lendBytes[uint8](t, x.Shape())
	if !ok {
		return nil, false
	}
	t.split(len(dst), func(from, to int) { b.replace(dst[from:to], src[from:to]) })
	return ir.NewTensor(m.dtype, x.Shape(), dst), true
}

// find sees whether the table changes nothing.
func (b *byteTable) find() {
	b.identical = true
	for i, e := range b.to {
		b.identical = b.identical && int(e) == i
	}
}
