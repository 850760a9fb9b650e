package kernel

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// preluOp multiplies negative elements by the slope, which broadcasts to x in one direction. Below opset 7 a vector of
// slopes lies along axis 1.
func preluOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	slope, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if c.Opset < 7 && slope.Rank() == 1 && slope.Len() > 1 && x.Rank() > 2 {
		slope = slope.Reshape(append(slope.Shape(), ones(x.Rank()-2)...))
	}
	d := x.DType()
	shape, err := broadcast(x.Shape(), slope.Shape())
	if err != nil {
		return nil, err
	}
	if !slices.Equal(shape, x.Shape()) || slope.DType() != d {
		return nil, c.badOperand(1, slope)
	}
	switch computeType(d) {
	case ir.Float32:
		return prelu[float32](c, x, slope)
	case ir.Float64:
		return prelu[float64](c, x, slope)
	case ir.Int32:
		return prelu[int32](c, x, slope)
	case ir.Int64:
		return prelu[int64](c, x, slope)
	case ir.Uint32:
		return prelu[uint32](c, x, slope)
	case ir.Uint64:
		return prelu[uint64](c, x, slope)
	}
	return nil, c.badType(d)
}

func prelu[T ordered](c *Call, x, slope *ir.Tensor) ([]ir.Datum, error) {
	a, err := load[T](x)
	if err != nil {
		return nil, err
	}
	b, err := load[T](slope)
	if err != nil {
		return nil, err
	}
	r, err := zip(c, a, b, x.Shape(), slope.Shape(), x.Shape(), func(v, s T) T {
		if v < 0 {
			return v * s
		}
		return v
	})
	return one(pack(x.DType(), x.Shape(), r), err)
}
