package rewrite

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Scalar is the only element of a real tensor as a float64; ok is false if t is nil, has another number of elements or is of
// a type without numbers. An int64 beyond 2**53 is rounded.
func Scalar(t *ir.Tensor) (v float64, ok bool, err error) {
	if t == nil || t.Len() != 1 {
		return 0, false, nil
	}
	switch t.DType() {
	case ir.Float32:
		return first[float32](t)
	case ir.Float64:
		return first[float64](t)
	case ir.Float16, ir.BFloat16:
		h, err := ir.Elements[uint16](t)
		if err != nil {
			return 0, false, err
		}
		if t.DType() == ir.Float16 {
			return float64(kernel.Float16ToFloat32(h[0])), true, nil
		}
		return float64(kernel.BFloat16ToFloat32(h[0])), true, nil
	case ir.Int64:
		return first[int64](t)
	case ir.Int32:
		return first[int32](t)
	case ir.Int16:
		return first[int16](t)
	case ir.Int8:
		return first[int8](t)
	case ir.Uint64:
		return first[uint64](t)
	case ir.Uint32:
		return first[uint32](t)
	case ir.Uint16:
		return first[uint16](t)
	case ir.Uint8, ir.Bool:
		return first[uint8](t)
	}
	return 0, false, nil
}

func first[T interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}](t *ir.Tensor) (float64, bool, error) {
	v, err := ir.Elements[T](t)
	if err != nil {
		return 0, false, err
	}
	return float64(v[0]), true, nil
}

// equalsScalar reports whether t has one element, which is want rounded to t's type. 0 and -0 differ.
func equalsScalar(t *ir.Tensor, want float64) (bool, error) {
	v, ok, err := Scalar(t)
	if !ok {
		return false, err
	}
	switch t.DType() {
	case ir.Float32:
		want = float64(float32(want))
	case ir.Float16:
		want = float64(kernel.Float16ToFloat32(kernel.Float32ToFloat16(float32(want))))
	case ir.BFloat16:
		want = float64(kernel.BFloat16ToFloat32(kernel.Float32ToBFloat16(float32(want))))
	}
	return v == want && math.Signbit(v) == math.Signbit(want), nil
}

// Ints are the elements of a tensor of type int32 or int64, as pads, axes and shapes are given; ok is false for other types and
// for nil.
func Ints(t *ir.Tensor) (v []int64, ok bool, err error) {
	switch {
	case t == nil:
		return nil, false, nil
	case t.DType() == ir.Int64:
		v, err = ir.Elements[int64](t)
		return v, err == nil, err
	case t.DType() == ir.Int32:
		narrow, err := ir.Elements[int32](t)
		v = make([]int64, len(narrow))
		for i, x := range narrow {
			v[i] = int64(x)
		}
		return v, err == nil, err
	}
	return nil, false, nil
}
