package dataset

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Cast converts a tensor as ONNX's Cast does.
func Cast(t *ir.Tensor, to ir.DType) (*ir.Tensor, error) {
	if t.DType() == to {
		return t, nil
	}
	f := kernel.Lookup(ir.Op("Cast"), 19)
	attr := func(name string) *ir.Attr {
		if name == "to" {
			return ir.IntAttr("to", int64(to))
		}
		return nil
	}
	r, err := f(kernel.NewCall(context.Background(), ir.Op("Cast"), 19, attr, []ir.Datum{t}, 1))
	if err != nil {
		return nil, err
	}
	return r[0].(*ir.Tensor), nil
}

// exact converts a tensor whose values the other type holds exactly.
func exact(t *ir.Tensor, to ir.DType) (*ir.Tensor, error) {
	if t.DType() == to || to == ir.Undefined {
		return t, nil
	}
	if t.DType() == ir.String || to == ir.String {
		return nil, fmt.Errorf("elements are %s where the model takes %s", t.DType(), to)
	}
	r, err := Cast(t, to)
	if err != nil {
		return nil, err
	}
	back, err := Cast(r, t.DType())
	if err != nil {
		return nil, err
	}
	a, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	b, err := back.Bytes()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(a, b) {
		return nil, fmt.Errorf("elements are %s where the model takes %s, which does not hold them all exactly; save them as %s, or ask for a cast", t.DType(), to, to)
	}
	return r, nil
}

// rounded converts a tensor; floats that become integers are rounded, half to even, and must lie in the type's range.
func rounded(t *ir.Tensor, to ir.DType) (*ir.Tensor, error) {
	if t.DType() == to || to == ir.Undefined {
		return t, nil
	}
	if t.DType() == ir.String || to == ir.String {
		return exact(t, to)
	}
	if !t.DType().IsFloat() || to.IsFloat() {
		if to.IsFloat() {
			return Cast(t, to)
		}
		return exact(t, to)
	}
	v, err := Floats(t)
	if err != nil {
		return nil, err
	}
	lo, hi := 0.0, math.Ldexp(1, to.Bits())-1
	switch {
	case to == ir.Bool:
		hi = 1
	case to.IsSigned():
		lo, hi = -math.Ldexp(1, to.Bits()-1), math.Ldexp(1, to.Bits()-1)-1
	}
	whole := make([]float64, len(v))
	for i, x := range v {
		if whole[i] = math.RoundToEven(x); !(whole[i] >= lo && whole[i] <= hi) {
			return nil, fmt.Errorf("the value %g is outside of %s", x, to)
		}
	}
	return Cast(ir.TensorOf(whole, t.Shape()...), to)
}

// Floats are the elements of a tensor of numbers.
func Floats(t *ir.Tensor) ([]float64, error) {
	r, err := Cast(t, ir.Float64)
	if err != nil {
		return nil, err
	}
	return ir.Elements[float64](r)
}
