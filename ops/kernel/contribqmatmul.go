package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// quantizeDynamic quantizes to uint8 as DynamicQuantizeLinear does.
func quantizeDynamic(c *Call, v []float64) (q []int32, scale float32, zero int32, err error) {
	var lo, hi float32
	for _, e := range v {
		lo, hi = min(lo, float32(e)), max(hi, float32(e))
	}
	scale = float32(hi-lo) / 255
	if scale == 0 {
		scale = 1
	}
	zero = int32(saturate(math.RoundToEven(float64(float32(0-lo)/scale)), 0, 255))
	if q, err = alloc[int32](c, []int64{int64(len(v))}); err != nil {
		return nil, 0, 0, err
	}
	for i, e := range v {
		q[i] = int32(saturate(math.RoundToEven(float64(float32(e)/scale))+float64(zero), 0, 255))
	}
	return q, scale, zero, nil
}

// dynamicQuantizeMatMulOp is A * B + bias with A quantized to uint8 by its range and B given in 8 bits, one scale and zero point for
// all or one for each column: sum of the products of integers * (aScale*bScale).
func dynamicQuantizeMatMulOp(c *Call) ([]ir.Datum, error) {
	a, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if a.DType() != ir.Float32 {
		return nil, c.badType(a.DType())
	}
	v, err := c.floats(a)
	if err != nil {
		return nil, err
	}
	b, y, err := centred(c, 1, 3, -1)
	if err != nil {
		return nil, err
	}
	q, scale, zero, err := quantizeDynamic(c, v)
	if err != nil {
		return nil, err
	}
	for i := range q {
		q[i] -= zero
	}
	sums, shape, err := matMul(c, q, y, a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	return one(scaledSums(c, sums, shape, []float64{float64(scale)}, 2, 4))
}

// matMulIntegerToFloatOp is MatMulInteger * (aScale*bScale) + bias. Operands: A, B, their scales, their zero points, bias.
func matMulIntegerToFloatOp(c *Call) ([]ir.Datum, error) {
	a, x, err := centred(c, 0, 4, -1)
	if err != nil {
		return nil, err
	}
	b, y, err := centred(c, 1, 5, -1)
	if err != nil {
		return nil, err
	}
	sums, shape, err := matMul(c, x, y, a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	t, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	if t.Len() != 1 {
		return nil, c.badOperand(2, t)
	}
	scale, err := c.floats(t)
	if err != nil {
		return nil, err
	}
	return one(scaledSums(c, sums, shape, scale, 3, 6))
}

// scaledSums is sums * (aScale * scale) + bias, with the scale in operand s, one for all or one a column, and the optional bias in
// operand b.
func scaledSums(c *Call, sums []int32, shape []int64, aScale []float64, s, b int) (*ir.Tensor, error) {
	t, err := c.Need(s)
	if err != nil {
		return nil, err
	}
	cols := 1
	if len(shape) > 0 {
		cols = int(shape[len(shape)-1])
	}
	if t.Len() != 1 && t.Len() != int64(cols) {
		return nil, c.badOperand(s, t)
	}
	scales, err := c.floats(t)
	if err != nil {
		return nil, err
	}
	bias, err := c.sized(b, []int64{int64(cols)})
	if err != nil {
		return nil, err
	}
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	for i, n := range sums {
		m := float32(float32(aScale[0]) * float32(scales[i%cols%len(scales)]))
		y := float32(float32(n) * m)
		if bias != nil {
			y += float32(bias[i%cols])
		}
		r[i] = float64(y)
	}
	return convertFloats(c, t.DType(), shape, r)
}

// qGemmOp is alpha*A'*B' + C of integers less their zero points, times aScale*bScale: floats, or quantized where operands 7 and 8
// give scale and zero point. C is int32 with the scale of the products.
func qGemmOp(c *Call) ([]ir.Datum, error) {
	a, x, err := centred(c, 0, 2, -1)
	if err != nil {
		return nil, err
	}
	bt, err := c.Need(3)
	if err != nil {
		return nil, err
	}
	column := -1
	if c.int("transB", 0) != 0 {
		column = -bt.Rank()
	}
	b, y, err := centred(c, 3, 5, column)
	if err != nil {
		return nil, err
	}
	if a.Rank() != 2 || b.Rank() != 2 {
		return nil, c.badOperand(0, a)
	}
	as, bs := a.Shape(), b.Shape()
	if c.int("transA", 0) != 0 {
		if x, as, err = swapped(c, x, as); err != nil {
			return nil, err
		}
	}
	if c.int("transB", 0) != 0 {
		if y, bs, err = swapped(c, y, bs); err != nil {
			return nil, err
		}
	}
	sums, shape, err := matMul(c, x, y, as, bs)
	if err != nil {
		return nil, err
	}
	if sums, err = qGemmBias(c, sums, shape); err != nil {
		return nil, err
	}
	return one(qGemmResult(c, sums, shape))
}

// swapped transposes a matrix.
func swapped(c *Call, v []int32, s []int64) ([]int32, []int64, error) {
	rows, cols := int(s[0]), int(s[1])
	r, err := alloc[int32](c, s)
	if err != nil {
		return nil, nil, err
	}
	for i := range rows {
		for j := range cols {
			r[j*rows+i] = v[i*cols+j]
		}
	}
	return r, []int64{s[1], s[0]}, nil
}

func qGemmBias(c *Call, sums []int32, shape []int64) ([]int32, error) {
	t, err := c.Tensor(6)
	if t == nil || err != nil {
		return sums, err
	}
	if to, err := broadcast(shape, t.Shape()); err != nil || !slices.Equal(to, shape) || t.DType() != ir.Int32 {
		return nil, c.badOperand(6, t)
	}
	v, err := ir.Elements[int32](t)
	if err != nil {
		return nil, err
	}
	return zip(c, sums, v, shape, t.Shape(), shape, func(x, y int32) int32 { return x + y })
}

func qGemmResult(c *Call, sums []int32, shape []int64) (*ir.Tensor, error) {
	aScale, ok, err := c.scalarFloat(1)
	if err != nil {
		return nil, err
	}
	st, err := c.Need(4)
	if err != nil {
		return nil, err
	}
	if !ok || st.Len() != 1 && st.Len() != shape[1] {
		return nil, c.badOperand(4, st)
	}
	scales, err := c.floats(st)
	if err != nil {
		return nil, err
	}
	alpha := c.float("alpha", 1)
	factor := func(i int) float32 {
		return float32(float32(alpha*float32(aScale)) * float32(scales[i%int(shape[1])%len(scales)]))
	}
	yScale, quantized, err := c.scalarFloat(7)
	if err != nil {
		return nil, err
	}
	if !quantized && len(c.In) > 8 && c.In[8] != nil {
		return nil, fmt.Errorf("the zero point of the result stands without a scale")
	}
	if !quantized {
		r, err := alloc[float32](c, shape)
		for i := range r {
			r[i] = float32(float32(sums[i]) * factor(i))
		}
		return ir.TensorOf(r, shape...), err
	}
	to, err := c.quantizer(7, 8)
	if err != nil {
		return nil, err
	}
	r, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	for i, s := range sums {
		r[i] = to.round(float32(float32(s) * (factor(i) / float32(yScale))))
	}
	return convertInts(c, to.dtype, shape, r)
}

// quantizer is a scale and zero point for a whole tensor of integers.
type quantizer struct {
	dtype  ir.DType
	scale  float32
	zero   float64
	lo, hi float64
}

// quantizer reads scale and zero point from operands s and z. Without the zero point it is 0 and the type unknown.
func (c *Call) quantizer(s, z int) (*quantizer, error) {
	scale, ok, err := c.scalarFloat(s)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("operand %d, a scale, is missing", s)
	}
	q := &quantizer{scale: float32(scale)}
	t, err := c.Tensor(z)
	if t == nil || err != nil {
		return q, err
	}
	zero, _, err := c.scalarInt(z)
	if err != nil {
		return nil, err
	}
	q.zero = float64(zero)
	return q, q.of(t.DType(), c)
}

// of sets the type.
func (q *quantizer) of(d ir.DType, c *Call) error {
	if !d.IsInt() || d.Bits() > 16 {
		return c.badType(d)
	}
	q.dtype = d
	q.lo, q.hi = intRange(d)
	return nil
}

// value is the number that an integer stands for.
func (q *quantizer) value(n int64) float32 { return float32(float32(float64(n)-q.zero) * q.scale) }

// quantize is the integer for a number.
func (q *quantizer) quantize(x float32) int64 { return q.round(x / q.scale) }

// round is the integer for a number that is divided by the scale already.
func (q *quantizer) round(x float32) int64 {
	return saturate(math.RoundToEven(float64(x))+q.zero, q.lo, q.hi)
}
