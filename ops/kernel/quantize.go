package kernel

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// blocks says which element of scale and zero point belongs to element i of a tensor: one for all, one for each index of an
// axis, or one for each block of an axis.
type blocks struct {
	inner, size, block, count int // elements behind the axis, its size, block length, number of blocks along the axis
	rank0                     bool
}

func (b blocks) at(i int) int {
	if b.rank0 {
		return 0
	}
	k := i / b.inner % b.size
	if b.block == 0 {
		return k
	}
	return (i/b.inner/b.size*b.count+k/b.block)*b.inner + i%b.inner
}

func newBlocks(c *Call, x, scale *ir.Tensor) (blocks, error) {
	s := x.Shape()
	block := int(c.int("block_size", 0))
	if scale.Len() == 1 && block == 0 {
		return blocks{rank0: true}, nil
	}
	axis, err := axisOf(c.int("axis", 1), x.Rank())
	if err != nil {
		return blocks{}, err
	}
	b := blocks{inner: max(1, product(s[axis+1:])), size: int(s[axis]), block: block}
	ok := scale.Rank() == 1 && scale.Shape()[0] == s[axis]
	if block > 0 {
		b.count = (b.size + block - 1) / block
		ok = scale.Rank() == x.Rank()
		for i := range s {
			if ok && scale.Shape()[i] != s[i] && (i != axis || scale.Shape()[i] != int64(b.count)) {
				ok = false
			}
		}
		if ok && scale.Shape()[axis] != int64(b.count) {
			ok = false
		}
	}
	if !ok || block < 0 {
		return b, fmt.Errorf("scale of shape %v for an input of shape %v, axis %d, block size %d", scale.Shape(), s, axis, block)
	}
	return b, nil
}

// roundTo rounds a float32 to a narrower float type and back.
func roundTo(d ir.DType, x float32) float32 {
	switch d {
	case ir.Float16:
		return Float16ToFloat32(Float32ToFloat16(x))
	case ir.BFloat16:
		return BFloat16ToFloat32(Float32ToBFloat16(x))
	}
	return x
}

// quantizeLinearOp is saturate(round(x/scale) + zero point), ties to even. The quotient is computed in the type that attribute
// precision names, by default that of the scale. A float8 or float4 target has no rounding to integers; its zero point is zero.
func quantizeLinearOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	scale, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	zp, err := c.Tensor(2)
	if err != nil {
		return nil, err
	}
	to := ir.DType(c.int("output_dtype", 0))
	switch {
	case zp != nil:
		to = zp.DType()
	case to == 0:
		to = ir.Uint8
	}
	b, err := newBlocks(c, x, scale)
	if err != nil {
		return nil, err
	}
	if zp != nil && zp.Len() != scale.Len() {
		return nil, c.badOperand(2, zp)
	}
	precision := ir.DType(c.int("precision", 0))
	if precision == 0 {
		precision = scale.DType()
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	sv, err := floats(scale)
	if err != nil {
		return nil, err
	}
	quotient := func(i int) float64 {
		if precision == ir.Float64 {
			return v[i] / sv[b.at(i)]
		}
		return float64(roundTo(precision, float32(roundTo(precision, float32(v[i]))/float32(sv[b.at(i)]))))
	}
	if to.IsFloat() && to.Bits() <= 8 {
		return one(quantizeFloat(c, x.Shape(), to, quotient))
	}
	if !to.IsInt() || to.Bits() > 32 {
		return nil, c.badType(to)
	}
	return one(quantizeInt(c, x.Shape(), to, zp, b, quotient))
}

func quantizeFloat(c *Call, shape []int64, to ir.DType, quotient func(int) float64) (*ir.Tensor, error) {
	r, err := alloc[float32](c, shape)
	if err != nil {
		return nil, err
	}
	for i := range r {
		r[i] = float32(quotient(i))
	}
	return packFloats(to, shape, r, c.int("saturate", 1) != 0, "up"), nil
}

func quantizeInt(c *Call, shape []int64, to ir.DType, zp *ir.Tensor, b blocks, quotient func(int) float64) (*ir.Tensor, error) {
	zero := []int64{0}
	var err error
	if zp != nil {
		if zero, err = ints(zp); err != nil {
			return nil, err
		}
	}
	r, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	lo, hi := intRange(to)
	for i := range r {
		z := zero[0]
		if zp != nil {
			z = zero[b.at(i)]
		}
		r[i] = saturate(math.RoundToEven(quotient(i))+float64(z), lo, hi)
	}
	return convertInts(c, to, shape, r)
}

// intRange are the limits of an integer type of at most 32 bits.
func intRange(d ir.DType) (lo, hi float64) {
	if d.IsSigned() {
		h := math.Ldexp(1, d.Bits()-1)
		return -h, h - 1
	}
	return 0, math.Ldexp(1, d.Bits()) - 1
}

// saturate limits an integral value; NaN becomes the least, as in ONNX Runtime on x86, so that it is the same number in int8 and uint8.
func saturate(x, lo, hi float64) int64 {
	if x != x {
		return int64(lo)
	}
	return int64(max(lo, min(hi, x)))
}

// dequantizeLinearOp is (x - zero point) * scale, in the type of the scale or that of attribute output_dtype.
func dequantizeLinearOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	scale, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	zp, err := c.Tensor(2)
	if err != nil {
		return nil, err
	}
	b, err := newBlocks(c, x, scale)
	if err != nil {
		return nil, err
	}
	if zp != nil && (zp.Len() != scale.Len() || zp.DType() != x.DType()) {
		return nil, c.badOperand(2, zp)
	}
	to := ir.DType(c.int("output_dtype", int64(scale.DType())))
	if to == 0 {
		to = scale.DType()
	}
	v, err := floats(x) // exact: integers have at most 32 bits
	if err != nil {
		return nil, err
	}
	sv, err := floats(scale)
	if err != nil {
		return nil, err
	}
	var zv []float64
	if zp != nil {
		if zv, err = floats(zp); err != nil {
			return nil, err
		}
	}
	r, err := alloc[float64](c, x.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range v {
		k := b.at(i)
		if zv != nil {
			e -= zv[k]
		}
		r[i] = float64(float32(e)) * sv[k]
	}
	return one(convertFloats(c, to, x.Shape(), r))
}

// dynamicQuantizeLinearOp quantizes to uint8 with a scale and zero point that cover the data's range and zero. The scale of data
// that is all zero is 1, as in ONNX Runtime.
func dynamicQuantizeLinearOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	v, err := floats32(x)
	if err != nil {
		return nil, err
	}
	var lo, hi float32
	for _, e := range v {
		lo, hi = min(lo, e), max(hi, e)
	}
	scale := float32(hi-lo) / 255
	if scale == 0 {
		scale = 1
	}
	zero := saturate(math.RoundToEven(float64(float32(0-lo)/scale)), 0, 255)
	r, err := alloc[uint8](c, x.Shape())
	if err != nil {
		return nil, err
	}
	for i, e := range v {
		r[i] = uint8(saturate(math.RoundToEven(float64(e/scale))+float64(zero), 0, 255))
	}
	return []ir.Datum{ir.NewTensor(ir.Uint8, x.Shape(), r), ir.ScalarOf(scale), ir.ScalarOf(uint8(zero))}, nil
}

// centred reads operand i of type (u)int8 as int32 less the zero point in operand z. A zero point of several elements holds
// one for each index of axis.
func centred(c *Call, i, z, axis int) (*ir.Tensor, []int32, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, nil, err
	}
	if !t.DType().IsInt() || t.DType().Bits() > 8 {
		return nil, nil, c.badType(t.DType())
	}
	v, err := c.ints(t)
	if err != nil {
		return nil, nil, err
	}
	r, err := alloc[int32](c, t.Shape())
	if err != nil {
		return nil, nil, err
	}
	zero, given, err := c.intsOperand(z)
	if err != nil {
		return nil, nil, err
	}
	if !given {
		zero = []int64{0}
	}
	inner, size := 1, 1
	if len(zero) != 1 {
		if axis += t.Rank(); axis < 0 || axis >= t.Rank() || int64(len(zero)) != t.Shape()[axis] {
			return nil, nil, fmt.Errorf("%d zero points for shape %v", len(zero), t.Shape())
		}
		inner, size = max(1, product(t.Shape()[axis+1:])), len(zero)
	}
	for k, e := range v {
		r[k] = int32(e - zero[k/inner%size])
	}
	return t, r, nil
}

// matMulIntegerOp multiplies matrices of 8-bit integers less their zero points, exactly modulo 2**32.
func matMulIntegerOp(c *Call) ([]ir.Datum, error) {
	a, x, err := centred(c, 0, 2, -2)
	if err != nil {
		return nil, err
	}
	b, y, err := centred(c, 1, 3, -1)
	if err != nil {
		return nil, err
	}
	r, shape, err := matMul(c, x, y, a.Shape(), b.Shape())
	return one(ir.TensorOf(r, shape...), err)
}

// qLinearMatMulOp is MatMulInteger, scaled to the result's scale and zero point.
func qLinearMatMulOp(c *Call) ([]ir.Datum, error) {
	a, x, err := centred(c, 0, 2, -2)
	if err != nil {
		return nil, err
	}
	b, y, err := centred(c, 3, 5, -1)
	if err != nil {
		return nil, err
	}
	r, shape, err := matMul(c, x, y, a.Shape(), b.Shape())
	if err != nil {
		return nil, err
	}
	rows, cols := 1, 1
	if a.Rank() > 1 {
		rows = int(a.Shape()[a.Rank()-2])
	}
	if b.Rank() > 1 {
		cols = int(b.Shape()[b.Rank()-1])
	}
	return one(requantize(c, shape, r, 1, 4, 6, func(i, aScales, bScales int) (int, int) {
		return i / cols % rows % aScales, i % cols % bScales
	}))
}

// requantize scales sums of products: round(sum * (aScale*bScale/yScale)) + zero point, in float32, ties to even. Operands a
// and b hold the scales of the factors, y and y+1 scale and zero point of the result; which picks the scales for a place.
func requantize(c *Call, shape []int64, sums []int32, a, b, y int, which func(i, aScales, bScales int) (int, int)) (*ir.Tensor, error) {
	var scales [2][]float64
	for i, k := range []int{a, b} {
		t, err := c.Need(k)
		if err != nil {
			return nil, err
		}
		if scales[i], err = floats(t); err != nil {
			return nil, err
		}
		if len(scales[i]) == 0 {
			return nil, c.badOperand(k, t)
		}
	}
	scale, ok, err := c.scalarFloat(y)
	if err == nil && !ok {
		err = errors.New("the result's scale is missing")
	}
	if err != nil {
		return nil, err
	}
	zp, err := c.Need(y + 1)
	if err != nil {
		return nil, err
	}
	zero, _, err := c.scalarInt(y + 1)
	if err != nil {
		return nil, err
	}
	lo, hi := intRange(zp.DType())
	r, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	for i, s := range sums {
		p, q := which(i, len(scales[0]), len(scales[1]))
		m := float32(float32(scales[0][p])*float32(scales[1][q])) / float32(scale)
		r[i] = saturate(math.RoundToEven(float64(float32(float32(s)*m)))+float64(zero), lo, hi)
	}
	return convertInts(c, zp.DType(), shape, r)
}

// convIntegerOp is the convolution of 8-bit integers less their zero points, exactly modulo 2**32.
func convIntegerOp(c *Call) ([]ir.Datum, error) {
	x, xv, err := centred(c, 0, 2, 0)
	if err != nil {
		return nil, err
	}
	w, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	_, wv, err := centred(c, 1, 3, -w.Rank())
	if err != nil {
		return nil, err
	}
	g, r, err := convolveInts(c, x, w, xv, wv)
	if err != nil {
		return nil, err
	}
	return one(ir.TensorOf(r, g.shape...), nil)
}

func convolveInts(c *Call, x, w *ir.Tensor, xv, wv []int32) (*conv, []int32, error) {
	if x.Rank() < 3 {
		return nil, nil, c.badOperand(0, x)
	}
	g, err := newConv(c, x.Shape(), w.Shape())
	if err != nil {
		return nil, nil, err
	}
	r, err := convolve(c, g, xv, wv)
	return g, r, err
}

// qLinearConvOp is ConvInteger plus an int32 bias, scaled to the result's scale and zero point; weights may have one scale and
// zero point an output channel.
func qLinearConvOp(c *Call) ([]ir.Datum, error) {
	x, xv, err := centred(c, 0, 2, 0)
	if err != nil {
		return nil, err
	}
	w, err := c.Need(3)
	if err != nil {
		return nil, err
	}
	_, wv, err := centred(c, 3, 5, -w.Rank())
	if err != nil {
		return nil, err
	}
	g, r, err := convolveInts(c, x, w, xv, wv)
	if err != nil {
		return nil, err
	}
	plane := volume(g.axes, outSize)
	b, err := c.Tensor(8)
	if err != nil {
		return nil, err
	}
	if b != nil {
		bias, err := ir.Elements[int32](b)
		if err != nil {
			return nil, err
		}
		if b.DType() != ir.Int32 || len(bias) != g.maps {
			return nil, c.badOperand(8, b)
		}
		addBias(r, bias, plane)
	}
	return one(requantize(c, g.shape, r, 1, 4, 6, func(i, _, scales int) (int, int) {
		return 0, i / plane % g.maps % scales
	}))
}
