package native

import (
	"slices"
	"unsafe"

	"github.com/onnxopt/onnxopt/ir"
)

// prepareCompare compares float32 elements with those of an operand of the same shape or with one number.
func prepareCompare(f func(dst []byte, a []float32, b []float32, step int)) prepare {
	return func(*site) executor {
		return func(t *task) (*ir.Tensor, bool) {
			x, a, ok := t.single(0)
			y, b, okY := t.single(1)
			if !ok || !okY || len(a) == 0 {
				return nil, false
			}
			step := 1
			switch {
			case slices.Equal(x.Shape(), y.Shape()):
			case len(b) == 1 && y.Rank() <= x.Rank():
				step = 0
			default:
				return nil, false
			}
			if l := t.frame.run.mem; l.limit > 0 && int64(len(a)) > l.limit-l.live {
				return nil, false
			}
			dst := make([]byte, len(a))
			t.split(len(a), func(from, to int) { f(dst[from:to], a[from:to], b[from*step:], step) })
			return ir.NewTensor(ir.Bool, slices.Clone(x.Shape()), dst), true
		}
	}
}

// greater and the others set elements to 1 where a relation to b holds, which has an element for each or one for all.
func greater(dst []byte, a, b []float32, step int) {
	if step == 0 {
		y := b[0]
		for i, x := range a {
			var r byte
			if x > y {
				r = 1
			}
			dst[i] = r
		}
		return
	}
	b = b[:len(a)]
	for i, x := range a {
		var r byte
		if x > b[i] {
			r = 1
		}
		dst[i] = r
	}
}

func greaterEqual(dst []byte, a, b []float32, step int) {
	if step == 0 {
		y := b[0]
		for i, x := range a {
			var r byte
			if x >= y {
				r = 1
			}
			dst[i] = r
		}
		return
	}
	b = b[:len(a)]
	for i, x := range a {
		var r byte
		if x >= b[i] {
			r = 1
		}
		dst[i] = r
	}
}

func less(dst []byte, a, b []float32, step int) {
	if step == 0 {
		y := b[0]
		for i, x := range a {
			var r byte
			if x < y {
				r = 1
			}
			dst[i] = r
		}
		return
	}
	greater(dst, b[:len(a)], a, 1)
}

func lessEqual(dst []byte, a, b []float32, step int) {
	if step == 0 {
		y := b[0]
		for i, x := range a {
			var r byte
			if x <= y {
				r = 1
			}
			dst[i] = r
		}
		return
	}
	greaterEqual(dst, b[:len(a)], a, 1)
}

// bits reads numbers as their bits.
func bits(v []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// prepareWhere picks float32 elements of operands that have the shape of the condition or one element.
func prepareWhere(*site) executor {
	return func(t *task) (*ir.Tensor, bool) {
		var cond *ir.Tensor
		if x, ok := t.in[0].(*ir.Tensor); ok && x != nil && x.DType() == ir.Bool {
			cond = x
		}
		x, a, ok := t.single(1)
		y, b, okY := t.single(2)
		if cond == nil || !ok || !okY || cond.Len() == 0 {
			return nil, false
		}
		c, err := cond.Bytes()
		if err != nil {
			return nil, false
		}
		shape := cond.Shape()
		step := func(v *ir.Tensor) (int, bool) {
			if slices.Equal(v.Shape(), shape) {
				return 1, true
			}
			return 0, v.Len() == 1 && v.Rank() <= len(shape)
		}
		p, ok := step(x)
		q, okQ := step(y)
		if !ok || !okQ {
			return nil, false
		}
		var dst []float32
		switch {
		case p == 1:
			dst, ok = t.over(1)
		case q == 1:
			dst, ok = t.over(2)
		default:
			dst, ok = t.alloc(shape)
		}
		if !ok {
			return nil, false
		}
		// The choice is a mask, not a branch, which could not be predicted.
		d, u, v := bits(dst), bits(a), bits(b)
		t.split(len(d), func(from, to int) {
			d, c := d[from:to], c[from:to][:to-from]
			switch u, v := u[from*p:], v[from*q:]; {
			case p == 1 && q == 0:
				u, other := u[:len(d)], v[0]
				for i := range d {
					m := uint32(-int32(c[i]) >> 31)
					d[i] = u[i]&m | other&^m
				}
			default:
				for i := range d {
					m := uint32(-int32(c[i]) >> 31)
					d[i] = u[i*p]&m | v[i*q]&^m
				}
			}
		})
		return result(dst, shape)
	}
}
