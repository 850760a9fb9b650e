package native

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// matchAdd is the sum of two tensors of the same shape.
func matchAdd(s *scope, m *match) executor {
	a, ok := m.activation(s, 0)
	b, okB := m.activation(s, 1)
	if !ok || !okB {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		x, y := t.tensor(0), t.tensor(1)
		if !a.fits(x) || !b.fits(y) || !slices.Equal(x.Shape(), y.Shape()) {
			return nil, false
		}
		if x.DType() == ir.Int8 {
			return addTo[int8](t, m, a, b)
		}
		return addTo[uint8](t, m, a, b)
	}
}

// addTo and addBoth choose the types of the second operand and of the result.
func addTo[A gemm.Integer](t *task, m *match, a, b quantization) (*ir.Tensor, bool) {
	if t.tensor(1).DType() == ir.Int8 {
		return addBoth[A, int8](t, m, a, b)
	}
	return addBoth[A, uint8](t, m, a, b)
}

func addBoth[A, B gemm.Integer](t *task, m *match, a, b quantization) (*ir.Tensor, bool) {
	if m.dtype == ir.Int8 {
		return addAll[A, B, int8](t, m, a, b)
	}
	return addAll[A, B, uint8](t, m, a, b)
}

func addAll[A, B, T gemm.Integer](t *task, m *match, a, b quantization) (*ir.Tensor, bool) {
	x, y := elements[A](t.tensor(0)), elements[B](t.tensor(1))
	shape := t.tensor(0).Shape()
	dst, ok := lendBytes[T](t, shape)
	if !ok {
		return nil, false
	}
	t.split(len(dst), func(from, to int) {
		gemm.AddQuantized(gemm.Quantized[T]{Data: dst[from:to], Scale: m.result.scales[0], Zero: zeroOf[T](m.result)},
			gemm.Quantized[A]{Data: x[from:to], Scale: a.scales[0], Zero: zeroOf[A](a)},
			gemm.Quantized[B]{Data: y[from:to], Scale: b.scales[0], Zero: zeroOf[B](b)}, T(m.lo), T(m.hi))
	})
	return ir.NewTensor(m.dtype, shape, ir.AsBytes(dst)), true
}

// matchResize is a Resize that picks elements.
func matchResize(s *scope, m *match) executor {
	if m.node.Str("mode", "nearest") != "nearest" || m.node.Str("coordinate_transformation_mode", "") == "tf_crop_and_resize" {
		return nil
	}
	return matchMove(s, m)
}

// matchMove is a node that only moves elements, so that it may as well move integers; its kernel does. Where the result has another
// scale or zero point, each integer is then replaced by what the separate nodes make of it.
func matchMove(s *scope, m *match) executor {
	x, ok := m.activation(s, 0)
	if !ok {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		if !x.fits(t.tensor(0)) {
			return nil, false
		}
		in := []ir.Datum{t.in[0]}
		for _, o := range t.step.in[1:] {
			in = append(in, t.frame.get(o))
		}
		res, err := t.frame.apply(t.step, in)
		if err != nil || len(res) == 0 {
			return nil, false
		}
		r, ok := res[0].(*ir.Tensor)
		if !ok || !x.fits(r) {
			return nil, false
		}
		return m.translate(t, x, r)
	}
}

// matchConcat joins integers, each operand's as the result has them.
func matchConcat(s *scope, m *match) executor {
	axis := m.node.Int("axis", 0)
	in := make([]quantization, m.node.NumOperands())
	for i := range in {
		var ok bool
		if in[i], ok = m.activation(s, i); !ok {
			return nil
		}
	}
	return func(t *task) (*ir.Tensor, bool) {
		x := t.tensor(0)
		if x == nil || axis < -int64(x.Rank()) || axis >= int64(x.Rank()) {
			return nil, false
		}
		at := int(axis)
		if at < 0 {
			at += x.Rank()
		}
		shape := slices.Clone(x.Shape())
		shape[at] = 0
		rows := make([]int, len(in))
		for i, q := range in {
			y := t.tensor(i)
			if !q.fits(y) || y.Rank() != x.Rank() || !slices.Equal(y.Shape()[:at], shape[:at]) || !slices.Equal(y.Shape()[at+1:], shape[at+1:]) {
				return nil, false
			}
			rows[i] = int(ir.NumElements(y.Shape()[at:]))
			shape[at] += y.Shape()[at]
		}
		dst, ok := lendBytes[uint8](t, shape)
		if !ok {
			return nil, false
		}
		outer := int(ir.NumElements(shape[:at]))
		pitch, first := len(dst)/outer, 0
		for i, q := range in {
			src, err := t.tensor(i).Bytes()
			if err != nil {
				return nil, false
			}
			b := m.tableFor(q, t.tensor(i).DType())
			for o := range outer {
				b.replace(dst[o*pitch+first:][:rows[i]], src[o*rows[i]:][:rows[i]])
			}
			first += rows[i]
		}
		return ir.NewTensor(m.dtype, shape, dst), true
	}
}

// byteTable says what becomes of each byte.
type byteTable struct {
	to        [256]uint8
	identical bool
}

func (b *byteTable) replace(dst, src []uint8) {
	if b.identical {
		copy(dst, src)
		return
	}
	for i, e := range src[:len(dst)] {
		dst[i] = b.to[e]
	}
}

// tableFor takes integers of a type, which q is for, to those of the result.
func (m *match) tableFor(q quantization, from ir.DType) (b byteTable) {
	b.to = m.quantized(values(q, from))
	b.find()
	return b
}

// translate replaces the integers of x, which q is for, by those of the result.
func (m *match) translate(t *task, q quantization, x *ir.Tensor) (*ir.Tensor, bool) {
	b := m.tableFor(q, x.DType())
	return m.replaced(t, &b, x)
}
