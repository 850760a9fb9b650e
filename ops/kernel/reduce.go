package kernel

import (
	"errors"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// reduction is the geometry of a reduction over some axes.
type reduction struct {
	shape []int64 // of the result
	steps []int   // of the result for each axis of the operand; 0 where it is reduced
	count int     // elements of the operand for each of the result
}

// newReduction reads axes (an attribute below opset since, from then on operand 1), keepdims and noop_with_empty_axes.
func newReduction(c *Call, x *ir.Tensor, since int64) (*reduction, error) {
	list, _, err := c.axesGiven(1, since)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && c.int("noop_with_empty_axes", 0) == 0 {
		for i := range x.Rank() {
			list = append(list, int64(i))
		}
	}
	axes, err := axesOf(list, x.Rank())
	if err != nil {
		return nil, err
	}
	return reduceOver(x.Shape(), axes, c.int("keepdims", 1) != 0), nil
}

func reduceOver(shape []int64, axes []int, keep bool) *reduction {
	r := &reduction{shape: []int64{}, count: 1}
	kept := slices.Clone(shape)
	for _, a := range axes {
		r.count *= int(shape[a])
		kept[a] = 1
	}
	r.steps = broadcastStrides(kept, shape)
	for i := range shape {
		if slices.Contains(axes, i) {
			r.steps[i] = 0
		}
		if keep || !slices.Contains(axes, i) {
			r.shape = append(r.shape, kept[i])
		}
	}
	return r
}

// fold combines each element of v into the element of acc it belongs to, in row-major order of v.
func fold[T, A any](c *Call, r *reduction, shape []int64, v []T, acc []A, f func(A, T) A) error {
	n, in := newNest(shape, r.steps), 0
	step := n.inner(0)
	return n.rows(func(at []int, length int) error {
		for j := at[0]; length > 0; {
			part := min(length, 1<<16)
			if row := v[in : in+part]; step == 0 {
				a := acc[j]
				for _, x := range row {
					a = f(a, x)
				}
				acc[j] = a
			} else {
				for _, x := range row {
					acc[j] = f(acc[j], x)
					j += step
				}
			}
			in, length = in+part, length-part
			if err := c.tick(4 * part); err != nil {
				return err
			}
		}
		return nil
	})
}

func reduceMaxOp(c *Call) ([]ir.Datum, error) { return reduceExtreme(c, kindMax) }
func reduceMinOp(c *Call) ([]ir.Datum, error) { return reduceExtreme(c, kindMin) }

// reduceExtreme is the greatest or smallest element; over nothing it is the lowest or highest value of the type.
func reduceExtreme(c *Call, k binaryKind) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	switch computeType(x.DType()) {
	case ir.Float32:
		return extreme[float32](c, x, k)
	case ir.Float64:
		return extreme[float64](c, x, k)
	case ir.Int8:
		return extreme[int8](c, x, k)
	case ir.Int16:
		return extreme[int16](c, x, k)
	case ir.Int32:
		return extreme[int32](c, x, k)
	case ir.Int64:
		return extreme[int64](c, x, k)
	case ir.Uint8:
		return extreme[uint8](c, x, k)
	case ir.Uint16:
		return extreme[uint16](c, x, k)
	case ir.Uint32:
		return extreme[uint32](c, x, k)
	case ir.Uint64:
		return extreme[uint64](c, x, k)
	}
	return nil, c.badType(x.DType())
}

func extreme[T ordered](c *Call, x *ir.Tensor, k binaryKind) ([]ir.Datum, error) {
	r, err := newReduction(c, x, 18)
	if err != nil {
		return nil, err
	}
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	acc, err := alloc[T](c, r.shape)
	if err != nil {
		return nil, err
	}
	start := lowestOf[T](x.DType())
	if k == kindMin {
		start = highestOf[T](x.DType())
	}
	for i := range acc {
		acc[i] = start
	}
	err = fold(c, r, x.Shape(), v, acc, binaryFunc[T](k, x.DType(), nil))
	return one(pack(x.DType(), r.shape, acc), err)
}

// highestOf is what a minimum over nothing gives: infinity, or the greatest integer; true for bools.
func highestOf[T ordered](d ir.DType) T {
	switch {
	case d.IsFloat():
		inf := math.Inf(1)
		return T(inf)
	case d == ir.Bool:
		return 1
	}
	v, bits := T(0), d.Bits()
	if d.IsSigned() {
		bits--
	}
	for range bits {
		v = v + v + 1
	}
	return v
}

// sumKind names the reductions that sum or multiply.
type sumKind uint8

const (
	sumPlain sumKind = iota
	sumMean
	sumProd
	sumL1
	sumL2
	sumSquare
	sumLog
	sumLogExp
)

func reduceSumOp(c *Call) ([]ir.Datum, error)       { return reduceSum(c, sumPlain) }
func reduceMeanOp(c *Call) ([]ir.Datum, error)      { return reduceSum(c, sumMean) }
func reduceProdOp(c *Call) ([]ir.Datum, error)      { return reduceSum(c, sumProd) }
func reduceL1Op(c *Call) ([]ir.Datum, error)        { return reduceSum(c, sumL1) }
func reduceL2Op(c *Call) ([]ir.Datum, error)        { return reduceSum(c, sumL2) }
func reduceSumSquareOp(c *Call) ([]ir.Datum, error) { return reduceSum(c, sumSquare) }
func reduceLogSumOp(c *Call) ([]ir.Datum, error)    { return reduceSum(c, sumLog) }
func reduceLogSumExpOp(c *Call) ([]ir.Datum, error) { return reduceSum(c, sumLogExp) }

// reduceSum accumulates floats in float64 and integers, where the result is one, modulo 2**64, in row-major order.
func reduceSum(c *Call, k sumKind) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	since := int64(18)
	if k == sumPlain {
		since = 13
	}
	r, err := newReduction(c, x, since)
	if err != nil {
		return nil, err
	}
	d := x.DType()
	if d.IsInt() && k <= sumSquare && k != sumL2 {
		return one(sumInts(c, x, r, k))
	}
	if !d.IsFloat() && !d.IsInt() {
		return nil, c.badType(d)
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	acc, err := sumFloats(c, x.Shape(), v, r, k)
	if err != nil {
		return nil, err
	}
	return one(convertFloats(c, d, r.shape, acc))
}

func sumFloats(c *Call, shape []int64, v []float64, r *reduction, k sumKind) ([]float64, error) {
	acc, err := alloc[float64](c, r.shape)
	if err != nil {
		return nil, err
	}
	f := func(a, x float64) float64 { return a + x }
	finish := func(a float64) float64 { return a }
	switch k {
	case sumMean:
		finish = func(a float64) float64 { return a / float64(r.count) }
	case sumProd:
		for i := range acc {
			acc[i] = 1
		}
		f = func(a, x float64) float64 { return a * x }
	case sumL1:
		f = func(a, x float64) float64 { return a + math.Abs(x) }
	case sumL2:
		f = func(a, x float64) float64 { return a + float64(x*x) }
		finish = math.Sqrt
	case sumSquare:
		f = func(a, x float64) float64 { return a + float64(x*x) }
	case sumLog:
		finish = fmath.Log
	case sumLogExp:
		return logSumExp(c, shape, v, r, acc)
	}
	if err := fold(c, r, shape, v, acc, f); err != nil {
		return nil, err
	}
	for i, a := range acc {
		acc[i] = finish(a)
	}
	return acc, nil
}

// logSumExp is log(sum(exp(x))), computed relative to the greatest element.
func logSumExp(c *Call, shape []int64, v []float64, r *reduction, acc []float64) ([]float64, error) {
	top, err := alloc[float64](c, r.shape)
	if err != nil {
		return nil, err
	}
	for i := range top {
		top[i] = math.Inf(-1)
	}
	if err := fold(c, r, shape, v, top, func(a, x float64) float64 { return max(a, x) }); err != nil {
		return nil, err
	}
	n, in := newNest(shape, r.steps), 0
	err = n.rows(func(at []int, length int) error {
		j := at[0]
		for _, x := range v[in : in+length] {
			if !math.IsInf(top[j], 0) {
				acc[j] += fmath.Exp(x - top[j])
			}
			j += n.inner(0)
		}
		in += length
		return c.tick(16 * length)
	})
	for i, t := range top {
		if acc[i] = fmath.Log(acc[i]) + t; math.IsInf(t, 0) {
			acc[i] = t
		}
	}
	return acc, err
}

func sumInts(c *Call, x *ir.Tensor, r *reduction, k sumKind) (*ir.Tensor, error) {
	v, err := ints(x)
	if err != nil {
		return nil, err
	}
	acc, err := alloc[int64](c, r.shape)
	if err != nil {
		return nil, err
	}
	f := func(a, x int64) int64 { return a + x }
	switch k {
	case sumProd:
		for i := range acc {
			acc[i] = 1
		}
		f = func(a, x int64) int64 { return a * x }
	case sumL1:
		signed := x.DType().IsSigned()
		f = func(a, x int64) int64 {
			if x < 0 && signed {
				return a - x
			}
			return a + x
		}
	case sumSquare:
		f = func(a, x int64) int64 { return a + x*x }
	}
	if err := fold(c, r, x.Shape(), v, acc, f); err != nil {
		return nil, err
	}
	if k == sumMean {
		if r.count == 0 && len(acc) > 0 {
			return nil, errors.New("mean of no integers")
		}
		for i := range acc {
			if x.DType() == ir.Uint64 {
				acc[i] = int64(uint64(acc[i]) / uint64(r.count))
			} else {
				acc[i] /= int64(r.count)
			}
		}
	}
	return convertInts(c, x.DType(), r.shape, acc)
}
