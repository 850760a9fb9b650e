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
	switch t.DType() {
	case ir.Int8:
		return widened[int8](t)
	case ir.Uint8:
		return widened[uint8](t)
	case ir.Int16:
		return widened[int16](t)
	case ir.Int32:
		return widened[int32](t)
	case ir.Int64:
		return widened[int64](t)
	}
	return nil, fmt.Errorf("integers of type %s", t.DType())
}

func widened[T int8 | uint8 | int16 | int32 | int64](t *ir.Tensor) ([]int, error) {
	s, err := ir.Elements[T](t)
	r := make([]int, len(s))
	for i, x := range s {
		r[i] = int(x)
	}
	return r, err
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
	if d := n.Operand(0).Node(); d != nil && isDequantize(d) && b.places[n.Operand(0)] == nil {
		if from, err := b.quantizationOf(d); err == nil && len(from.scales) == 1 {
			if factor, ok := ratio(from, q); ok {
				e := &expr{formula: fmt.Sprintf("(%s)@narrow((float)(%%[1]s - %d) * %s, %d.0f, %d.0f, %d)", typ.name, from.zeros[0], literalOf(factor), low-z, high-z, z),
					args: []*expr{b.argument(d.Operand(0))}, typ: typ, size: 2}
				b.materialize(n.Result(0), e)
				return nil
			}
		}
	}
	x := b.argument(n.Operand(0))
	e := &expr{formula: fmt.Sprintf("(%s)@narrow(%%[1]s / %s, %d.0f, %d.0f, %d)", typ.name, literalOf(q.scales[0]), low-z, high-z, z), args: []*expr{x}, typ: typ, size: x.size + 1}
	b.materialize(n.Result(0), e)
	return nil
}

// ratio is a factor that takes bytes from one scale to another with one product in place of a product and a division, if all 256 of them come
// to the same integers.
func ratio(from, to quantization) (float32, bool) {
	low, high, err := rangeOf(from.dtype)
	if err != nil || high-low > 255 {
		return 0, false
	}
	f := float32(float64(from.scales[0]) / float64(to.scales[0]))
	if !(f > 1e-30 && f < 1e30) {
		return 0, false
	}
	for q := low; q <= high; q++ {
		x := float32(q - from.zeros[0])
		if math.RoundToEven(float64(x*f)) != math.RoundToEven(float64(float32(x*from.scales[0])/to.scales[0])) {
			return 0, false
		}
	}
	return f, true
}
