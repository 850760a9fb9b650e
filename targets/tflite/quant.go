package tflite

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Where a model has quantizers, a node between them becomes an operator on int8: its operands come from DequantizeLinear, and its
// result goes to QuantizeLinear alone, past a Relu or Clip perhaps. Unsigned activations become signed ones: all values and
// zero points less 128. What does not fit stays in float between Dequantize and Quantize of the target.

// quantizableOps are the operators that have a form on int8. True: only with one scale on both sides.
func quantizableOps() map[string]bool {
	return map[string]bool{
		"Conv": false, "ConvTranspose": false, "MatMul": false, "Gemm": false, "Add": false, "Sub": false, "Mul": false, "GlobalAveragePool": false,
		"ReduceMean": false, "Relu": false, "LeakyRelu": false, "HardSwish": false,
		"Sigmoid": false, "Tanh": false, "Softmax": false, // with a scale of their own
		"MaxPool": true, "AveragePool": true, "Concat": true, "Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true,
		"Slice": true, "Pad": true, "Gather": true, "Resize": true, "DepthToSpace": true, "SpaceToDepth": true, "GlobalMaxPool": true,
	}
}

// fixedQuant is the result's quantization of operators that have one of their own.
func fixedQuant(op string) *quant {
	switch op {
	case "Sigmoid", "Softmax":
		return &quant{scale: []float32{1.0 / 256}, zero: []int64{-128}}
	case "Tanh":
		return &quant{scale: []float32{1.0 / 128}, zero: []int64{0}}
	}
	return nil
}

// paramsOf reads scale and zero point of a QuantizeLinear or DequantizeLinear on 8 or 32 bits, as those of signed integers.
func (e *emitter) paramsOf(n *ir.Node) (*quant, error) {
	s, err := e.floatsOf(n.Operand(1))
	if err != nil {
		return nil, errors.New("a scale that is no float constant")
	}
	if slices.ContainsFunc(s, func(x float32) bool { return !(x > 0) || math.IsInf(float64(x), 1) }) {
		return nil, errors.New("a scale that is not above zero")
	}
	if n.Int("block_size", 0) != 0 {
		return nil, errors.New("quantization in blocks")
	}
	v := n.Operand(0)
	if n.Is("QuantizeLinear") {
		v = n.Result(0)
	}
	q := &quant{scale: s, zero: make([]int64, len(s))}
	if z := e.constant(n.Operand(2)); z != nil {
		b, err := z.Bytes()
		if err != nil {
			return nil, err
		}
		for i := range q.zero {
			switch z.DType() {
			case ir.Int8:
				q.zero[i] = int64(int8(b[i]))
			case ir.Uint8:
				q.zero[i] = int64(b[i])
			case ir.Int32:
				if slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) {
					return nil, errors.New("a zero point of 32 bits")
				}
			default:
				return nil, fmt.Errorf("integers of type %s", z.DType())
			}
		}
	} else if n.Operand(2) != nil {
		return nil, errors.New("a zero point that is no constant")
	}
	switch d := e.facts.DType(v); d {
	case ir.Uint8:
		for i := range q.zero {
			q.zero[i] -= 128
		}
	case ir.Int8, ir.Int32:
	default:
		return nil, fmt.Errorf("integers of type %s", d)
	}
	if len(s) > 1 {
		rank := len(e.shape(v))
		if q.axis, err = axisOf(n, 1, rank); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// signed is the data of a constant of 8 bits as int8.
func signed(t *ir.Tensor) ([]byte, error) {
	b, err := t.Bytes()
	if err != nil || t.DType() != ir.Uint8 {
		return b, err
	}
	r := make([]byte, len(b))
	for i, x := range b {
		r[i] = x ^ 0x80
	}
	return r, nil
}

// quantized is what the value, a result of DequantizeLinear, lies in as integers; nil if it is none.
func (e *emitter) quantized(v *ir.Value) *ir.Node {
	if v == nil || !e.dequantized[v] {
		return nil
	}
	return v.Node()
}

// integersOf is the int8 view of a value that a DequantizeLinear gives.
func (e *emitter) integersOf(v *ir.Value) view {
	if l := e.integers[v]; len(l) > 0 {
		return l[0]
	}
	n := v.Node()
	q, err := e.paramsOf(n)
	e.fail(err)
	t := e.constant(n.Operand(0))
	if t == nil || q == nil {
		e.fail(errNoValue)
		return view{e.ints(), identity(1)}
	}
	data, err := signed(t)
	e.fail(err)
	c := e.tensor(v.Name(), typeInt8, e.shape(v))
	c.data, c.quant = data, q
	w := view{c, identity(t.Rank())}
	e.integers[v] = []view{w}
	e.journal = append(e.journal, logged{v, true})
	return w
}

// rescaled is t with the quantization q.
func (e *emitter) rescaled(t *tensor, q *quant) *tensor {
	if sameQuant(t.quant, q) {
		return t
	}
	u := e.op(opQuantize, t.name, typeInt8, t.shape, options{}, t)
	u.quant = q
	return u
}

// intWeights are constant weights of 8 bits with zero point 0 behind a DequantizeLinear, and their scales along an axis.
func (e *emitter) intWeights(v *ir.Value, axis int) (*ir.Tensor, *quant, error) {
	n := e.quantized(v)
	if n == nil {
		return nil, nil, errors.New("weights that are not quantized")
	}
	t := e.constant(n.Operand(0))
	q, err := e.paramsOf(n)
	switch {
	case err != nil:
		return nil, nil, err
	case t == nil || t.DType() != ir.Int8 && t.DType() != ir.Uint8:
		return nil, nil, errors.New("weights that are no constants of 8 bits")
	case slices.ContainsFunc(q.zero, func(z int64) bool { return z != 0 }):
		return nil, nil, errors.New("weights with a zero point")
	case len(q.scale) > 1 && q.axis != axis:
		return nil, nil, fmt.Errorf("weights with scales along axis %d", q.axis)
	}
	b, err := signed(t)
	return ir.NewTensor(ir.Int8, t.Shape(), b), q, err
}

// intBias is a bias as int32 in steps of the input's scale times that of the weights; v may be nil.
func (e *emitter) intBias(v *ir.Value, outputs int, x *quant, w *quant) (*tensor, error) {
	q := &quant{scale: make([]float32, len(w.scale)), zero: make([]int64, len(w.scale))}
	for i, s := range w.scale {
		q.scale[i] = x.scale[0] * s
	}
	r := make([]int32, outputs)
	if v != nil {
		f, err := e.biasFloats(v)
		if err != nil || len(f) != outputs {
			return nil, errors.New("a bias that is no constant row")
		}
		for i, b := range f {
			n := math.RoundToEven(b / float64(q.scale[i%len(q.scale)]))
			if !(math.Abs(n) <= math.MaxInt32) {
				return nil, errors.New("a bias that 32 bits do not hold")
			}
			r[i] = int32(n)
		}
	}
	t := e.tensor("bias", typeInt32, []int{outputs})
	t.data, t.quant = ir.AsBytes(r), q
	return t, nil
}

// biasFloats is a constant bias, quantized or not, in float64.
func (e *emitter) biasFloats(v *ir.Value) ([]float64, error) {
	var r []float64
	if n := e.quantized(v); n != nil {
		t, q := e.constant(n.Operand(0)), (*quant)(nil)
		q, err := e.paramsOf(n)
		if err != nil || t == nil || t.DType() != ir.Int32 {
			return nil, errors.New("a bias that is no constant of 32 bits")
		}
		l, err := ir.Elements[int32](t)
		for i, b := range l {
			r = append(r, float64(b)*float64(q.scale[i%len(q.scale)]))
		}
		return r, err
	}
	f, err := e.floatsOf(v)
	for _, b := range f {
		r = append(r, float64(b))
	}
	return r, err
}

// lowerQuantize writes the step from float to int8.
func lowerQuantize(e *emitter, n *ir.Node) error {
	q, err := e.paramsOf(n)
	if err != nil {
		return err
	}
	if len(q.scale) != 1 {
		return errors.New("activations with several scales")
	}
	w := e.view(n.Operand(0))
	t := e.op(opQuantize, n.Result(0).Name(), typeInt8, w.t.shape, options{}, w.t)
	t.quant = q
	e.define(n.Result(0), t, w.perm)
	return nil
}

// unsigned gives v, whose elements are unsigned in the model and lie as signed ones with all values less 128, a tensor of its own type. It
// is for what takes the integers as they are.
func (e *emitter) unsigned(v *ir.Value) {
	if v == nil || e.facts.DType(v) != ir.Uint8 {
		return
	}
	l := e.views[v]
	if len(l) == 0 || l[0].t.typ != typeInt8 || l[0].t.quant == nil {
		return
	}
	u := e.op(opQuantize, v.Name(), typeUint8, l[0].t.shape, options{}, l[0].t)
	u.quant = &quant{scale: l[0].t.quant.scale, zero: []int64{l[0].t.quant.zero[0] + 128}}
	e.views[v] = []view{{u, l[0].perm}}
}

// lowerDequantize writes nothing: who wants floats makes them.
func lowerDequantize(e *emitter, n *ir.Node) error {
	q, err := e.paramsOf(n)
	if err != nil {
		return err
	}
	x, v := n.Operand(0), n.Result(0)
	e.dequantized[v] = true
	if e.constant(x) != nil {
		return nil
	}
	if len(q.scale) != 1 {
		return errors.New("activations with several scales")
	}
	l := slices.Clone(e.views[x])
	for i := range l {
		t := l[i].t
		if t.typ == typeUint8 { // an input of the model
			t.quant = &quant{scale: q.scale, zero: []int64{q.zero[0] + 128}}
			u := e.op(opQuantize, v.Name(), typeInt8, t.shape, options{}, t)
			u.quant = q
			l[i].t = u
			continue
		}
		if t.quant == nil {
			t.quant = q
		}
		if !sameQuant(t.quant, q) {
			return errors.New("another scale than that of the quantizer before it")
		}
	}
	e.integers[v] = l
	return nil
}

// floatsFrom is the float view of a dequantized value.
func (e *emitter) floatsFrom(v *ir.Value) view {
	n := v.Node()
	if t := e.constant(n.Operand(0)); t != nil {
		q, err := e.paramsOf(n)
		e.fail(err)
		f, err := dequantize(t, q)
		e.fail(err)
		return view{e.literal(v.Name(), typeFloat32, e.shape(v), ir.AsBytes(f)), identity(t.Rank())}
	}
	w := e.integers[v][0]
	return view{e.op(opDequantize, v.Name(), typeFloat32, w.t.shape, options{}, w.t), w.perm}
}

// dequantize is a constant in float.
func dequantize(t *ir.Tensor, q *quant) ([]float32, error) {
	if q == nil {
		return nil, errNoValue
	}
	inner := 1
	for _, d := range t.Shape()[min(q.axis+1, t.Rank()):] {
		inner *= int(d)
	}
	at := func(i int) (float32, int64) {
		k := 0
		if len(q.scale) > 1 {
			k = i / inner % len(q.scale)
		}
		return q.scale[k], q.zero[k]
	}
	r := make([]float32, t.Len())
	if t.DType() == ir.Int32 {
		l, err := ir.Elements[int32](t)
		for i, x := range l {
			s, z := at(i)
			r[i] = float32(int64(x)-z) * s
		}
		return r, err
	}
	b, err := signed(t)
	for i, x := range b {
		s, z := at(i)
		r[i] = float32(int64(int8(x))-z) * s
	}
	return r, err
}
