package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// The QLinear operators take integers of 8 bits, each tensor with a scale and zero point for all its elements, compute on the numbers
// in float32 and quantize the result: saturate(round(y/scale) + zero point), ties to even.

// qTensor is a quantized operand.
type qTensor struct {
	*quantizer
	t *ir.Tensor
	v []int64
}

// qOperand reads the quantized tensor in operand i with its scale and zero point in s and z.
func (c *Call) qOperand(i, s, z int) (*qTensor, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, err
	}
	q, err := c.quantizer(s, z)
	if err != nil {
		return nil, err
	}
	if q.dtype != 0 && q.dtype != t.DType() {
		return nil, c.badOperand(z, t)
	}
	if err := q.of(t.DType(), c); err != nil {
		return nil, err
	}
	v, err := c.ints(t)
	return &qTensor{q, t, v}, err
}

// qResult reads scale and zero point of a result of type d.
func (c *Call) qResult(s, z int, d ir.DType) (*quantizer, error) {
	q, err := c.quantizer(s, z)
	if err == nil && q.dtype != 0 && q.dtype != d {
		err = fmt.Errorf("the zero point has type %s and the result %s", q.dtype, d)
	}
	if err != nil {
		return nil, err
	}
	return q, q.of(d, c)
}

// qUnary reads what most operators of one operand have: X with scale and zero point, and those of a result of the same type.
func (c *Call) qUnary() (x *qTensor, to *quantizer, err error) {
	if x, err = c.qOperand(0, 1, 2); err != nil {
		return nil, nil, err
	}
	to, err = c.qResult(3, 4, x.dtype)
	return x, to, err
}

func qLinearAddOp(c *Call) ([]ir.Datum, error) {
	return qLinearBinary(c, func(a, b, to *quantizer) func(x, y int64) int64 {
		p, q := a.scale/to.scale, b.scale/to.scale
		return func(x, y int64) int64 {
			return to.round(float32(float32(float64(x)-a.zero)*p) + float32(float32(float64(y)-b.zero)*q))
		}
	})
}

func qLinearMulOp(c *Call) ([]ir.Datum, error) {
	return qLinearBinary(c, func(a, b, to *quantizer) func(x, y int64) int64 {
		m := float32(a.scale*b.scale) / to.scale
		return func(x, y int64) int64 {
			return to.round(float32(float32((float64(x)-a.zero)*(float64(y)-b.zero)) * m))
		}
	})
}

// qLinearBinary combines operands A and B, which broadcast; f makes the function for their quantizers and that of the result.
func qLinearBinary(c *Call, f func(a, b, to *quantizer) func(x, y int64) int64) ([]ir.Datum, error) {
	a, err := c.qOperand(0, 1, 2)
	if err != nil {
		return nil, err
	}
	b, err := c.qOperand(3, 4, 5)
	if err != nil {
		return nil, err
	}
	to, err := c.qResult(6, 7, a.dtype)
	if err != nil {
		return nil, err
	}
	if a.dtype != b.dtype {
		return nil, c.badOperand(3, b.t)
	}
	shape, err := broadcast(a.t.Shape(), b.t.Shape())
	if err != nil {
		return nil, err
	}
	r, err := zip(c, a.v, b.v, a.t.Shape(), b.t.Shape(), shape, f(a.quantizer, b.quantizer, to))
	if err != nil {
		return nil, err
	}
	return one(convertInts(c, to.dtype, shape, r))
}

func qLinearSigmoidOp(c *Call) ([]ir.Datum, error) { return qLinearUnary(c, fmath.Sigmoid) }

func qLinearLeakyReluOp(c *Call) ([]ir.Datum, error) {
	alpha := float64(c.float("alpha", 0.01))
	return qLinearUnary(c, func(x float64) float64 {
		if x >= 0 {
			return x
		}
		return alpha * x
	})
}

func qLinearUnary(c *Call, f func(float64) float64) ([]ir.Datum, error) {
	x, to, err := c.qUnary()
	if err != nil {
		return nil, err
	}
	r, err := x.mapped(c, func(n int64) int64 { return to.quantize(float32(f(float64(x.value(n))))) })
	if err != nil {
		return nil, err
	}
	return one(convertInts(c, to.dtype, x.t.Shape(), r))
}

// mapped applies f to every element; elements of 8 bits are looked up.
func (x *qTensor) mapped(c *Call, f func(n int64) int64) ([]int64, error) {
	r, err := alloc[int64](c, x.t.Shape())
	if err != nil {
		return nil, err
	}
	known := map[int64]int64{}
	for i, n := range x.v {
		y, ok := known[n]
		if !ok {
			y = f(n)
			known[n] = y
		}
		r[i] = y
	}
	return r, c.tick(len(r) * 8)
}

// qLinearWhereOp picks from X or Y, each brought to the quantization of the result. Operands: condition, X, scale, zero point, Y,
// scale, zero point, scale and zero point of the result.
func qLinearWhereOp(c *Call) ([]ir.Datum, error) {
	cond, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	pick, err := load[uint8](cond)
	if err != nil {
		return nil, err
	}
	var in [2]*ir.Tensor
	var to *quantizer
	for i := range in {
		x, err := c.qOperand(1+3*i, 2+3*i, 3+3*i)
		if err != nil {
			return nil, err
		}
		if to, err = c.qResult(7, 8, x.dtype); err != nil {
			return nil, err
		}
		v, err := x.mapped(c, func(n int64) int64 { return to.requantize(x.quantizer, n) })
		if err != nil {
			return nil, err
		}
		if in[i], err = convertInts(c, to.dtype, x.t.Shape(), v); err != nil {
			return nil, err
		}
	}
	shape, err := broadcast(cond.Shape(), in[0].Shape(), in[1].Shape())
	if err != nil {
		return nil, err
	}
	x, err := c.ints(in[0])
	if err != nil {
		return nil, err
	}
	y, err := c.ints(in[1])
	if err != nil {
		return nil, err
	}
	r, err := alloc[int64](c, shape)
	if err != nil {
		return nil, err
	}
	n, at := newNest(shape, broadcastStrides(cond.Shape(), shape), broadcastStrides(in[0].Shape(), shape), broadcastStrides(in[1].Shape(), shape)), 0
	err = n.rows(func(o []int, length int) error {
		for k := range length {
			if pick[o[0]+k*n.inner(0)] != 0 {
				r[at] = x[o[1]+k*n.inner(1)]
			} else {
				r[at] = y[o[2]+k*n.inner(2)]
			}
			at++
		}
		return c.tick(length)
	})
	if err != nil {
		return nil, err
	}
	return one(convertInts(c, to.dtype, shape, r))
}

// requantize brings an integer of another quantization to this one.
func (q *quantizer) requantize(from *quantizer, n int64) int64 {
	if q.scale == from.scale && q.zero == from.zero {
		return n
	}
	return q.quantize(from.value(n))
}

// qLinearConcatOp joins tensors, each brought to the quantization of the result. Operands: scale and zero point of the result, then
// tensor, scale, zero point of each.
func qLinearConcatOp(c *Call) ([]ir.Datum, error) {
	if len(c.In) < 5 || (len(c.In)-2)%3 != 0 {
		return nil, fmt.Errorf("%d operands", len(c.In))
	}
	to, err := c.quantizer(0, 1)
	if err != nil {
		return nil, err
	}
	var parts []*ir.Tensor
	for i := 2; i < len(c.In); i += 3 {
		x, err := c.qOperand(i, i+1, i+2)
		if err != nil {
			return nil, err
		}
		if x.dtype != to.dtype {
			return nil, c.badOperand(i, x.t)
		}
		v, err := x.mapped(c, func(n int64) int64 { return to.requantize(x.quantizer, n) })
		if err != nil {
			return nil, err
		}
		t, err := convertInts(c, to.dtype, x.t.Shape(), v)
		if err != nil {
			return nil, err
		}
		parts = append(parts, t)
	}
	return one(concat(c, parts, c.int("axis", 0)))
}

// qLinearSoftmaxOp is Softmax along axis, or, below attribute opset 13, over all axes from it on.
func qLinearSoftmaxOp(c *Call) ([]ir.Datum, error) {
	x, to, err := c.qUnary()
	if err != nil {
		return nil, err
	}
	s := x.t.Shape()
	axis, err := axisOf(c.int("axis", -1), len(s))
	if err != nil {
		return nil, err
	}
	outer, n, inner := product(s[:axis]), int(s[axis]), product(s[axis+1:])
	if c.int("opset", 0) < 13 {
		n, inner = product(s[axis:]), 1
	}
	r, err := alloc[int64](c, s)
	if err != nil {
		return nil, err
	}
	buf := make([]float64, n)
	for o := range outer {
		for i := range inner {
			at := o*n*inner + i
			for k := range buf {
				buf[k] = float64(x.value(x.v[at+k*inner]))
			}
			softmax(buf)
			for k, y := range buf {
				r[at+k*inner] = to.quantize(float32(y))
			}
			if err := c.tick(32 * n); err != nil {
				return nil, err
			}
		}
	}
	return one(convertInts(c, to.dtype, s, r))
}

// dequantized is the operand as float32.
func (x *qTensor) dequantized(c *Call) (*ir.Tensor, error) {
	r, err := alloc[float32](c, x.t.Shape())
	for i := range r {
		r[i] = x.value(x.v[i])
	}
	return ir.TensorOf(r, x.t.Shape()...), err
}

// quantized makes the result of floats.
func (q *quantizer) quantized(c *Call, t *ir.Tensor) ([]ir.Datum, error) {
	v, err := c.floats32(t)
	if err != nil {
		return nil, err
	}
	r, err := alloc[int64](c, t.Shape())
	if err != nil {
		return nil, err
	}
	for i, x := range v {
		r[i] = q.quantize(x)
	}
	return one(convertInts(c, q.dtype, t.Shape(), r))
}

// qLinearAveragePoolOp and the others below compute on the dequantized operand; channels_last has the channels in the last axis.
func qLinearAveragePoolOp(c *Call) ([]ir.Datum, error) {
	return qLinearPool(c, func(x *ir.Tensor) ([]ir.Datum, error) {
		p, err := newPooling(c, x)
		if err != nil {
			return nil, err
		}
		all := c.int("count_include_pad", 0) != 0
		for i := range p.axes {
			if all { // windows that reach beyond the padding with ceil_mode count in full
				p.axes[i].after += p.axes[i].kernel * p.axes[i].dilation
			}
		}
		return averagePool(c, p, x, all)
	})
}

func qLinearGlobalAveragePoolOp(c *Call) ([]ir.Datum, error) {
	return qLinearPool(c, func(x *ir.Tensor) ([]ir.Datum, error) { return averagePool(c, globalPooling(x), x, false) })
}

func qLinearPool(c *Call, pool func(x *ir.Tensor) ([]ir.Datum, error)) ([]ir.Datum, error) {
	x, to, err := c.qUnary()
	if err != nil {
		return nil, err
	}
	if x.t.Rank() < 3 || x.t.Rank() > 5 {
		return nil, c.badOperand(0, x.t)
	}
	t, err := x.dequantized(c)
	if err != nil {
		return nil, err
	}
	last := c.int("channels_last", 0) != 0
	if last {
		if t, err = moveChannels(c, t, true); err != nil {
			return nil, err
		}
	}
	out, err := pool(t)
	if err != nil {
		return nil, err
	}
	y, ok := out[0].(*ir.Tensor)
	if !ok {
		return nil, errors.New("no tensor")
	}
	if last {
		if y, err = moveChannels(c, y, false); err != nil {
			return nil, err
		}
	}
	return to.quantized(c, y)
}

// moveChannels moves the last axis behind the first, or back.
func moveChannels(c *Call, t *ir.Tensor, front bool) (*ir.Tensor, error) {
	perm := []int64{0}
	for i := range int64(t.Rank() - 2) {
		if front {
			perm = append(perm, i+1)
		} else {
			perm = append(perm, i+2)
		}
	}
	if front {
		perm = slices.Insert(perm, 1, int64(t.Rank()-1))
	} else {
		perm = append(perm, 1)
	}
	return transpose(c, t, perm)
}

// qLinearReduceMeanOp is the mean over attribute axes.
func qLinearReduceMeanOp(c *Call) ([]ir.Datum, error) {
	x, to, err := c.qUnary()
	if err != nil {
		return nil, err
	}
	list := c.Attr("axes").Ints()
	if len(list) == 0 {
		for i := range x.t.Rank() {
			list = append(list, int64(i))
		}
	}
	axes, err := axesOf(list, x.t.Rank())
	if err != nil {
		return nil, err
	}
	t, err := x.dequantized(c)
	if err != nil {
		return nil, err
	}
	v, err := c.floats(t)
	if err != nil {
		return nil, err
	}
	red := reduceOver(t.Shape(), axes, c.int("keepdims", 1) != 0)
	mean, err := sumFloats(c, t.Shape(), v, red, sumMean)
	if err != nil {
		return nil, err
	}
	if t, err = convertFloats(c, ir.Float32, red.shape, mean); err != nil {
		return nil, err
	}
	return to.quantized(c, t)
}
