package onnxgo

import (
	"fmt"
	"reflect"

	"gorgonia.org/tensor"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// toIR is t as a tensor of the graph. want is Float16 or BFloat16 where float32 has to be rounded to it, otherwise it does not matter.
func toIR(t tensor.Tensor, want ir.DType) (*ir.Tensor, error) {
	shape := make([]int64, len(t.Shape()))
	n := int64(1)
	for i, d := range t.Shape() {
		shape[i] = int64(d)
		n *= int64(d)
	}
	data, err := elements(t)
	if err != nil {
		return nil, err
	}
	if l := int64(reflect.ValueOf(data).Len()); l != n {
		return nil, fmt.Errorf("a tensor of shape %v has %d elements", t.Shape(), l)
	}
	switch v := data.(type) {
	case []float32:
		if want == ir.Float16 || want == ir.BFloat16 {
			half := make([]uint16, len(v))
			for i, x := range v {
				if want == ir.Float16 {
					half[i] = kernel.Float32ToFloat16(x)
				} else {
					half[i] = kernel.Float32ToBFloat16(x)
				}
			}
			return ir.NewTensor(want, shape, ir.AsBytes(half)), nil
		}
		return ir.TensorOf(v, shape...), nil
	case []float64:
		return ir.TensorOf(v, shape...), nil
	case []int8:
		return ir.TensorOf(v, shape...), nil
	case []int16:
		return ir.TensorOf(v, shape...), nil
	case []int32:
		return ir.TensorOf(v, shape...), nil
	case []int64:
		return ir.TensorOf(v, shape...), nil
	case []int:
		w := make([]int64, len(v))
		for i, x := range v {
			w[i] = int64(x)
		}
		return ir.TensorOf(w, shape...), nil
	case []uint8:
		return ir.TensorOf(v, shape...), nil
	case []uint16:
		return ir.TensorOf(v, shape...), nil
	case []uint32:
		return ir.TensorOf(v, shape...), nil
	case []uint64:
		return ir.TensorOf(v, shape...), nil
	case []complex64:
		return ir.TensorOf(v, shape...), nil
	case []complex128:
		return ir.TensorOf(v, shape...), nil
	case []bool:
		b := make([]byte, len(v))
		for i, x := range v {
			if x {
				b[i] = 1
			}
		}
		return ir.NewTensor(ir.Bool, shape, b), nil
	case []string:
		return ir.NewStringTensor(shape, v), nil
	}
	return nil, fmt.Errorf("ONNX has no tensors of %s", t.Dtype())
}

// elements is a slice of the elements in row-major order. It is t's own where they lie so; the engine does not write into it.
func elements(t tensor.Tensor) (any, error) {
	data := reflect.ValueOf(t.Data())
	if data.Kind() != reflect.Slice { // a scalar
		one := reflect.MakeSlice(reflect.SliceOf(data.Type()), 1, 1)
		one.Index(0).Set(data)
		return one.Interface(), nil
	}
	if !t.RequiresIterator() && !t.DataOrder().IsColMajor() {
		return data.Interface(), nil
	}
	dense, ok := t.(*tensor.Dense)
	if !ok {
		return nil, fmt.Errorf("a %T is no dense tensor", t)
	}
	shape, strides := dense.Shape(), dense.Strides()
	out := reflect.MakeSlice(data.Type(), shape.TotalSize(), shape.TotalSize())
	if len(strides) != len(shape) {
		return nil, fmt.Errorf("a view of shape %v with strides %v; materialize it", shape, strides)
	}
	at := make([]int, len(shape))
	for i := range out.Len() {
		from := 0
		for k, x := range at {
			from += x * strides[k]
		}
		out.Index(i).Set(data.Index(from))
		for k := len(at) - 1; k >= 0; k-- {
			if at[k]++; at[k] < shape[k] {
				break
			}
			at[k] = 0
		}
	}
	return out.Interface(), nil
}

// fromIR is a tensor for the program, with elements of its own.
func fromIR(d ir.Datum) (t tensor.Tensor, err error) {
	x, ok := d.(*ir.Tensor)
	if !ok {
		return nil, fmt.Errorf("a value of type %s, which gorgonia.org/tensor cannot hold", d.Type())
	}
	data, err := backing(x)
	if err != nil {
		return nil, err
	}
	shape := make([]int, x.Rank())
	for i, n := range x.Shape() {
		shape[i] = int(n)
	}
	defer func() {
		if r := recover(); r != nil { // it has no tensors without elements
			t, err = nil, fmt.Errorf("gorgonia.org/tensor has no tensor of shape %v: %v", shape, r)
		}
	}()
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data)), nil
}

func backing(x *ir.Tensor) (any, error) {
	switch x.DType() {
	case ir.Float32:
		return copied[float32](x)
	case ir.Float64:
		return copied[float64](x)
	case ir.Int8:
		return copied[int8](x)
	case ir.Int16:
		return copied[int16](x)
	case ir.Int32:
		return copied[int32](x)
	case ir.Int64:
		return copied[int64](x)
	case ir.Uint8:
		return copied[uint8](x)
	case ir.Uint16:
		return copied[uint16](x)
	case ir.Uint32:
		return copied[uint32](x)
	case ir.Uint64:
		return copied[uint64](x)
	case ir.Complex64:
		return copied[complex64](x)
	case ir.Complex128:
		return copied[complex128](x)
	case ir.Float16, ir.BFloat16:
		half, err := ir.Elements[uint16](x)
		out := make([]float32, len(half))
		for i, h := range half {
			if x.DType() == ir.Float16 {
				out[i] = kernel.Float16ToFloat32(h)
			} else {
				out[i] = kernel.BFloat16ToFloat32(h)
			}
		}
		return out, err
	case ir.Bool:
		b, err := x.Bytes()
		out := make([]bool, len(b))
		for i := range b {
			out[i] = b[i] != 0
		}
		return out, err
	case ir.String:
		s, err := x.Strings()
		return append([]string(nil), s...), err
	}
	return nil, fmt.Errorf("gorgonia.org/tensor has no elements of type %s", x.DType())
}

func copied[T ir.Scalar](x *ir.Tensor) (any, error) {
	v, err := ir.Elements[T](x)
	return append([]T(nil), v...), err
}
