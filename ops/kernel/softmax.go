package kernel

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

func softmaxOp(c *Call) ([]ir.Datum, error)    { return alongAxis(c, softmax) }
func logSoftmaxOp(c *Call) ([]ir.Datum, error) { return alongAxis(c, logSoftmax) }
func hardmaxOp(c *Call) ([]ir.Datum, error)    { return alongAxis(c, hardmax) }

// alongAxis applies f to each vector along attribute axis. Below opset 13 the vectors are the rows of the operand flattened to
// a matrix at the axis.
func alongAxis(c *Call, f func(v []float64)) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if !x.DType().IsFloat() {
		return nil, c.badType(x.DType())
	}
	s := x.Shape()
	var outer, n, inner int
	if c.Opset < 13 {
		axis := c.int("axis", 1)
		if axis < 0 {
			axis += int64(len(s))
		}
		if axis < 0 || axis > int64(len(s)) {
			return nil, fmt.Errorf("axis %d is out of range for rank %d", axis, len(s))
		}
		outer, n, inner = product(s[:axis]), product(s[axis:]), 1
	} else {
		if x.Rank() == 0 {
			s = []int64{1} // the one vector of a scalar
		}
		axis, err := axisOf(c.int("axis", -1), len(s))
		if err != nil {
			return nil, err
		}
		outer, n, inner = product(s[:axis]), int(s[axis]), product(s[axis+1:])
	}
	if computeType(x.DType()) == ir.Float64 {
		return one(vectors[float64](c, x, outer, n, inner, f))
	}
	return one(vectors[float32](c, x, outer, n, inner, f))
}

// vectors applies f to each vector of the middle axis of x seen as [outer, n, inner]; it computes in float64 and rounds once.
func vectors[T float](c *Call, x *ir.Tensor, outer, n, inner int, f func(v []float64)) (*ir.Tensor, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	r, err := alloc[T](c, x.Shape())
	if err != nil || len(r) == 0 {
		return pack(x.DType(), x.Shape(), r), err
	}
	buf := make([]float64, n)
	for o := range outer {
		for i := range inner {
			at := o*n*inner + i
			for k := range buf {
				buf[k] = float64(v[at+k*inner])
			}
			f(buf)
			for k, y := range buf {
				r[at+k*inner] = T(y)
			}
			if err := c.tick(32 * n); err != nil {
				return nil, err
			}
		}
	}
	return pack(x.DType(), x.Shape(), r), nil
}

// softmax is exp(x-max) / sum(exp(x-max)).
func softmax(v []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, x := range v {
		top = max(top, x)
	}
	for i, x := range v {
		v[i] = fmath.Exp(x - top)
		sum += v[i]
	}
	for i := range v {
		v[i] /= sum
	}
}

// logSoftmax is x - max - log(sum(exp(x-max))).
func logSoftmax(v []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, x := range v {
		top = max(top, x)
	}
	for _, x := range v {
		sum += fmath.Exp(x - top)
	}
	sum = fmath.Log(sum)
	for i, x := range v {
		v[i] = x - top - sum
	}
}

// hardmax is 1 at the first greatest element and 0 elsewhere.
func hardmax(v []float64) {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	clear(v)
	if len(v) > 0 {
		v[best] = 1
	}
}
