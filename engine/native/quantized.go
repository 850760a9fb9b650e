package native

import (
	"math"
	"slices"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// The executors of quantized operators give the bits of their kernels: integer sums are exact modulo 2**32, and scaling is done
// in float32 in the same order.

func quantizedExecutors() map[string]prepare {
	return map[string]prepare{
		"QuantizeLinear": prepareQuantizeLinear, "DequantizeLinear": prepareDequantizeLinear, "Cast": prepareCast,
		"MatMulInteger": prepareMatMulInteger, "QLinearMatMul": prepareQLinearMatMul,
		"ConvInteger": prepareConvInteger, "QLinearConv": prepareQLinearConv,
	}
}

// viewAs is lent memory as n elements of another type, in at most as many bytes; nil if nothing was lent.
func viewAs[T int32 | uint16 | uint8 | int8](v []float32, n int) []T {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v))), n)
}

// lendInts lends memory for a result of 32-bit integers, lendBytes for one of 8-bit ones.
func (t *task) lendInts(shape []int64) ([]int32, bool) {
	v, ok := t.alloc(shape)
	return viewAs[int32](v, len(v)), ok
}

func lendBytes[T gemm.Integer](t *task, shape []int64) ([]T, bool) {
	n := ir.NumElements(shape)
	if n < 0 || n > 1<<34 {
		return nil, false
	}
	v, ok := t.lend(int(n+3) / 4)
	return viewAs[T](v, int(n)), ok
}

// doneInts gives back what lendInts lent.
func (t *task) doneInts(v []int32) {
	t.done(unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(v))), len(v)))
}

// tensor is operand i, nil if it is omitted or no tensor.
func (t *task) tensor(i int) *ir.Tensor {
	if i >= len(t.in) || t.in[i] == nil {
		return nil
	}
	x, _ := t.in[i].(*ir.Tensor)
	return x
}

// allKnown reports whether all operands are constants.
func (s *site) allKnown() bool {
	return !slices.ContainsFunc(s.in, func(o operand) bool { return o.slot >= 0 })
}

// is8 reports whether x has 8-bit integers.
func is8(x *ir.Tensor) bool { return x != nil && (x.DType() == ir.Int8 || x.DType() == ir.Uint8) }

// elements of a tensor, nil where the type is another.
func elements[T ir.Scalar](x *ir.Tensor) []T {
	v, err := ir.Elements[T](x)
	if err != nil {
		return nil
	}
	return v
}

// optional is operand i, nil if it is omitted; false if it is no tensor.
func (t *task) optional(i int) (*ir.Tensor, bool) {
	x := t.tensor(i)
	return x, x != nil || i >= len(t.in) || t.in[i] == nil
}

// zeroPoint is the only element of x, which has the type like; 0 if x is nil.
func zeroPoint[T gemm.Integer](x *ir.Tensor, like ir.DType) (z T, ok bool) {
	if x == nil {
		return 0, true
	}
	if x.DType() != like || x.Len() != 1 {
		return 0, false
	}
	v := elements[T](x)
	if len(v) != 1 {
		return 0, false
	}
	return v[0], true
}

// scalarFloat is the only element of operand i.
func (t *task) scalarFloat(i int) (float32, bool) {
	x := t.tensor(i)
	if x == nil || x.DType() != ir.Float32 || x.Len() != 1 {
		return 0, false
	}
	v := elements[float32](x)
	if len(v) != 1 {
		return 0, false
	}
	return v[0], true
}

// prepareQuantizeLinear covers float32 to 8 bits, with one scale or one for each index of an axis. Constants are left to what Load computes ahead.
func prepareQuantizeLinear(s *site) executor {
	if s.allKnown() {
		return nil
	}
	if p := ir.DType(s.Int("precision", 0)); p != 0 && p != ir.Float32 || s.Int("block_size", 0) != 0 {
		return nil
	}
	to, axis := ir.DType(s.Int("output_dtype", 0)), s.Int("axis", 1)
	return func(t *task) (*ir.Tensor, bool) {
		dtype := to
		if z := t.tensor(2); z != nil {
			dtype = z.DType()
		} else if dtype == 0 {
			dtype = ir.Uint8
		}
		switch dtype {
		case ir.Uint8:
			return quantizeTo[uint8](t, dtype, axis, 0, math.MaxUint8)
		case ir.Int8:
			return quantizeTo[int8](t, dtype, axis, math.MinInt8, math.MaxInt8)
		}
		return nil, false
	}
}

func quantizeTo[T gemm.Integer](t *task, dtype ir.DType, axis int64, lo, hi T) (*ir.Tensor, bool) {
	x, v, ok := t.single(0)
	z, okZ := t.optional(2)
	if !ok || !okZ || len(v) == 0 {
		return nil, false
	}
	by, ok := steps[T](x.Shape(), t.tensor(1), z, dtype, axis)
	if !ok {
		return nil, false
	}
	r, ok := lendBytes[T](t, x.Shape())
	if !ok {
		return nil, false
	}
	by.each(t, len(v), func(from, to int, scale float32, zero T) {
		if to-from >= shortRun {
			gemm.Quantize(r[from:to], v[from:to], scale, zero, lo, hi)
			return
		}
		low, high := float32(lo)-float32(zero), float32(hi)-float32(zero)
		for i, e := range v[from:to] {
			q := e / scale
			if q != q {
				r[from+i] = lo
				continue
			}
			r[from+i] = T(int32(math.RoundToEven(float64(max(low, min(high, q))))) + int32(zero))
		}
	})
	return ir.NewTensor(dtype, x.Shape(), ir.AsBytes(r)), true
}

// stepping is the scales and zero points of a tensor: runs of elements share one, in turn.
type stepping[T gemm.Integer] struct {
	scales []float32
	zeros  []T
	run    int
}

// steps reads them for a tensor of the shape, which has elements, and zero points of the type; one for all, or one for each index of
// the axis.
func steps[T gemm.Integer](shape []int64, scale, zero *ir.Tensor, dtype ir.DType, axis int64) (s stepping[T], ok bool) {
	if scale == nil || scale.DType() != ir.Float32 || scale.Len() < 1 {
		return s, false
	}
	s.scales, s.run = elements[float32](scale), int(ir.NumElements(shape))
	s.zeros = make([]T, len(s.scales))
	if zero != nil {
		if s.zeros = elements[T](zero); zero.DType() != dtype || len(s.zeros) != len(s.scales) {
			return s, false
		}
	}
	if len(s.scales) == 1 {
		return s, true
	}
	rank := int64(len(shape))
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis >= rank || scale.Rank() != 1 || int64(len(s.scales)) != shape[axis] {
		return s, false
	}
	s.run = int(ir.NumElements(shape[axis+1:]))
	return s, true
}

// shortRun is how many elements pay for a call of a vector kernel. Shorter runs, as those of a last axis, are done on the spot, with the
// same bits.
const shortRun = 16

// each calls f for ranges of n elements that share a scale, side by side.
func (s stepping[T]) each(t *task, n int, f func(from, to int, scale float32, zero T)) {
	if s.run == n {
		t.split(n, func(from, to int) { f(from, to, s.scales[0], s.zeros[0]) })
		return
	}
	t.pool.For(n/s.run, max(1, grain/s.run), func(_, from, to int) {
		for i := from; i < to; i++ {
			f(i*s.run, (i+1)*s.run, s.scales[i%len(s.scales)], s.zeros[i%len(s.scales)])
		}
	})
}

// prepareDequantizeLinear covers 8 bits to float32, with one scale or one for each index of an axis. Constants are left to what
// Load computes ahead.
func prepareDequantizeLinear(s *site) executor {
	if to := ir.DType(s.Int("output_dtype", 0)); to != 0 && to != ir.Float32 || s.Int("block_size", 0) != 0 || s.allKnown() {
		return nil
	}
	axis := s.Int("axis", 1)
	return func(t *task) (*ir.Tensor, bool) {
		switch x := t.tensor(0); {
		case x == nil:
			return nil, false
		case x.DType() == ir.Uint8:
			return dequantizeFrom[uint8](t, x, axis)
		case x.DType() == ir.Int8:
			return dequantizeFrom[int8](t, x, axis)
		}
		return nil, false
	}
}

func dequantizeFrom[T gemm.Integer](t *task, x *ir.Tensor, axis int64) (*ir.Tensor, bool) {
	v := elements[T](x)
	z, ok := t.optional(2)
	if !ok || len(v) == 0 {
		return nil, false
	}
	by, ok := steps[T](x.Shape(), t.tensor(1), z, x.DType(), axis)
	if !ok {
		return nil, false
	}
	r, ok := t.alloc(x.Shape())
	if !ok {
		return nil, false
	}
	by.each(t, len(v), func(from, to int, scale float32, zero T) {
		if to-from >= shortRun {
			gemm.Dequantize(r[from:to], v[from:to], scale, zero)
			return
		}
		for i, e := range v[from:to] {
			r[from+i] = float32(int32(e)-int32(zero)) * scale
		}
	})
	return result(r, x.Shape())
}

// prepareDynamicQuantizeLinear quantizes to uint8 with a scale and zero point that cover the data's range and zero.
func prepareDynamicQuantizeLinear(*site) severalExecutor {
	return func(t *task) ([]ir.Datum, bool) {
		x, v, ok := t.single(0)
		if !ok || len(v) == 0 {
			return nil, false
		}
		var lo, hi float32
		for _, e := range v {
			switch {
			case e < lo:
				lo = e
			case e > hi:
				hi = e
			case e != e:
				return nil, false
			}
		}
		scale := (hi - lo) / 255
		if scale == 0 {
			scale = 1
		}
		if math.IsInf(float64(scale), 0) {
			return nil, false
		}
		zero := uint8(max(0, min(255, math.RoundToEven(float64((0-lo)/scale)))))
		r, ok := lendBytes[uint8](t, x.Shape())
		if !ok {
			return nil, false
		}
		t.split(len(v), func(from, to int) { gemm.Quantize(r[from:to], v[from:to], scale, zero, 0, 255) })
		return []ir.Datum{ir.NewTensor(ir.Uint8, x.Shape(), r), ir.ScalarOf(scale), ir.ScalarOf(zero)}, true
	}
}

// prepareCast covers integers to float32.
func prepareCast(s *site) executor {
	if ir.DType(s.Int("to", 0)) != ir.Float32 {
		return nil
	}
	return func(t *task) (*ir.Tensor, bool) {
		x := t.tensor(0)
		if x == nil || x.Len() == 0 {
			return nil, false
		}
		switch x.DType() {
		case ir.Int64:
			return castFrom[int64](t, x)
		case ir.Int32:
			return castFrom[int32](t, x)
		case ir.Int8:
			return castFrom[int8](t, x)
		case ir.Uint8:
			return castFrom[uint8](t, x)
		}
		return nil, false
	}
}

func castFrom[T int64 | int32 | int8 | uint8](t *task, x *ir.Tensor) (*ir.Tensor, bool) {
	v := elements[T](x)
	r, ok := t.alloc(x.Shape())
	if !ok || len(v) != len(r) {
		return nil, false
	}
	t.split(len(v), func(from, to int) {
		for i, e := range v[from:to] {
			r[from+i] = float32(e)
		}
	})
	return result(r, x.Shape())
}

// constantBytes is operand i if it is a constant of 8-bit integers.
func (s *site) constantBytes(i int) *ir.Tensor {
	if i >= len(s.in) || !is8(s.in[i].tensor) || s.in[i].tensor.Len() == 0 {
		return nil
	}
	return s.in[i].tensor
}

// zeroPoints are the constant zero points in operand i for weights: none, one, or n; false if they are unknown or others.
func zeroPoints[T gemm.Integer](s *site, i int, like ir.DType, n int64) ([]T, bool) {
	if !s.given(i) {
		return nil, true
	}
	z := s.constantBytes(i)
	if z == nil || z.DType() != like || z.Len() != 1 && (z.Len() != n || z.Rank() != 1) {
		return nil, false
	}
	return elements[T](z), true
}
