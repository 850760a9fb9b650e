// Package weights computes new weights from old ones: scales, shifts, and their rounding to the element type. All arithmetic is in float64,
// rounded after each operation, so that every machine gives the same bits.
package weights

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Unfit says that a result cannot be had in the element type: it would overflow, become NaN, or lose its precision to
// underflow. Other errors of this package are about reading the elements.
type Unfit struct{ Why string }

func (e *Unfit) Error() string { return e.Why }

// Supported reports whether the package computes on elements of d.
func Supported(d ir.DType) bool {
	switch d {
	case ir.Float32, ir.Float64, ir.Float16, ir.BFloat16:
		return true
	}
	return false
}

// Floats reads the elements of a float tensor.
func Floats(t *ir.Tensor) ([]float64, error) {
	switch t.DType() {
	case ir.Float64:
		return ir.Elements[float64](t)
	case ir.Float32:
		return widen(t, func(x float32) float64 { return float64(x) })
	case ir.Float16:
		return widen(t, func(x uint16) float64 { return float64(kernel.Float16ToFloat32(x)) })
	case ir.BFloat16:
		return widen(t, func(x uint16) float64 { return float64(kernel.BFloat16ToFloat32(x)) })
	}
	return nil, fmt.Errorf("a tensor of type %s where floats are needed", t.DType())
}

func widen[T float32 | uint16](t *ir.Tensor, f func(T) float64) ([]float64, error) {
	v, err := ir.Elements[T](t)
	r := make([]float64, len(v))
	for i, x := range v {
		r[i] = f(x)
	}
	return r, err
}

// Round is v as a tensor of type d, which must be Supported.
func Round(d ir.DType, shape []int64, v []float64) (*ir.Tensor, error) {
	c := check{dtype: d}
	for _, x := range v {
		c.add(x, rounded(d, x))
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	b, err := encode(d, v)
	return ir.NewTensor(d, shape, b), err
}

// encode rounds v to d.
func encode(d ir.DType, v []float64) ([]byte, error) {
	switch d {
	case ir.Float64:
		return ir.AsBytes(v), nil
	case ir.Float32:
		return narrow(v, func(x float64) float32 { return float32(x) }), nil
	case ir.Float16:
		return narrow(v, func(x float64) uint16 { return kernel.Float32ToFloat16(float32(x)) }), nil
	case ir.BFloat16:
		return narrow(v, func(x float64) uint16 { return kernel.Float32ToBFloat16(float32(x)) }), nil
	}
	return nil, fmt.Errorf("numbers cannot be rounded to type %s", d)
}

func narrow[T float32 | uint16](v []float64, f func(float64) T) []byte {
	r := make([]T, len(v))
	for i, x := range v {
		r[i] = f(x)
	}
	return ir.AsBytes(r)
}

// rounded is the value of x once it is rounded to d.
func rounded(d ir.DType, x float64) float64 {
	switch d {
	case ir.Float32:
		return float64(float32(x))
	case ir.Float16:
		return float64(kernel.Float16ToFloat32(kernel.Float32ToFloat16(float32(x))))
	case ir.BFloat16:
		return float64(kernel.BFloat16ToFloat32(kernel.Float32ToBFloat16(float32(x))))
	}
	return x
}

// check sees how well numbers survive their rounding.
type check struct {
	dtype     ir.DType
	sum, lost float64
	bad       bool
}

func (c *check) add(exact, round float64) {
	if math.IsInf(round, 0) || round != round {
		c.bad = true
		return
	}
	c.sum += math.Abs(exact)
	c.lost += math.Abs(exact - round)
}

// err is nil if all numbers are finite and the error of rounding is that of the type's precision, taken over all numbers: a
// tensor that falls among the subnormal numbers as a whole has lost its precision, single elements may.
func (c *check) err() error {
	bits := map[ir.DType]int{ir.Float64: 53, ir.Float32: 24, ir.Float16: 11, ir.BFloat16: 8}[c.dtype]
	switch {
	case c.bad:
		return &Unfit{fmt.Sprintf("a value leaves the range of %s", c.dtype)}
	case c.lost > math.Ldexp(c.sum, 2-bits):
		return &Unfit{fmt.Sprintf("the values are too small for the precision of %s", c.dtype)}
	}
	return nil
}
