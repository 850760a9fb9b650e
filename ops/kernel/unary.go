package kernel

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// mapFloat applies f, a function on float64, to every element of the only operand, which has a float type. Results are
// rounded once to float32 and, for narrower types, once more.
func mapFloat(c *Call, f func(float64) float64) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	switch computeType(x.DType()) {
	case ir.Float32:
		return one(mapped(c, x, func(v float32) float32 { return float32(f(float64(v))) }))
	case ir.Float64:
		return one(mapped(c, x, f))
	}
	return nil, c.badType(x.DType())
}

// mapped applies f to every element of x.
func mapped[T ir.Scalar](c *Call, x *ir.Tensor, f func(T) T) (*ir.Tensor, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	r, err := result[T](c, x.Shape())
	if err != nil {
		return nil, err
	}
	const block = 1 << 12
	for at := 0; at < len(v); at += block {
		dst, src := r[at:min(at+block, len(v))], v[at:min(at+block, len(v))]
		for i, e := range src {
			dst[i] = f(e)
		}
		if err := c.tick(len(src) * 16); err != nil {
			return nil, err
		}
	}
	return pack(x.DType(), x.Shape(), r), nil
}

func expOp(c *Call) ([]ir.Datum, error)      { return mapFloat(c, fmath.Exp) }
func logOp(c *Call) ([]ir.Datum, error)      { return mapFloat(c, fmath.Log) }
func sqrtOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, math.Sqrt) }
func erfOp(c *Call) ([]ir.Datum, error)      { return mapFloat(c, fmath.Erf) }
func tanhOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, fmath.Tanh) }
func sigmoidOp(c *Call) ([]ir.Datum, error)  { return mapFloat(c, fmath.Sigmoid) }
func sinOp(c *Call) ([]ir.Datum, error)      { return mapFloat(c, fmath.Sin) }
func cosOp(c *Call) ([]ir.Datum, error)      { return mapFloat(c, fmath.Cos) }
func tanOp(c *Call) ([]ir.Datum, error)      { return mapFloat(c, fmath.Tan) }
func asinOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, fmath.Asin) }
func acosOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, fmath.Acos) }
func atanOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, fmath.Atan) }
func sinhOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, fmath.Sinh) }
func coshOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, fmath.Cosh) }
func asinhOp(c *Call) ([]ir.Datum, error)    { return mapFloat(c, fmath.Asinh) }
func acoshOp(c *Call) ([]ir.Datum, error)    { return mapFloat(c, fmath.Acosh) }
func atanhOp(c *Call) ([]ir.Datum, error)    { return mapFloat(c, fmath.Atanh) }
func softplusOp(c *Call) ([]ir.Datum, error) { return mapFloat(c, fmath.Softplus) }
func ceilOp(c *Call) ([]ir.Datum, error)     { return mapFloat(c, math.Ceil) }
func floorOp(c *Call) ([]ir.Datum, error)    { return mapFloat(c, math.Floor) }
func roundOp(c *Call) ([]ir.Datum, error)    { return mapFloat(c, math.RoundToEven) }

func reciprocalOp(c *Call) ([]ir.Datum, error) {
	return mapFloat(c, func(x float64) float64 { return 1 / x })
}

func softsignOp(c *Call) ([]ir.Datum, error) {
	return mapFloat(c, func(x float64) float64 {
		if math.IsInf(x, 0) {
			return math.Copysign(1, x)
		}
		return x / (1 + math.Abs(x))
	})
}

func geluOp(c *Call) ([]ir.Datum, error) {
	if c.str("approximate", "none") == "tanh" {
		return mapFloat(c, fmath.GeluTanh)
	}
	return mapFloat(c, fmath.Gelu)
}

// mishOp is x * tanh(softplus(x)).
func mishOp(c *Call) ([]ir.Datum, error) {
	return mapFloat(c, func(x float64) float64 {
		if math.IsInf(x, -1) {
			return 0
		}
		return x * fmath.Tanh(fmath.Softplus(x))
	})
}

// swishOp is x * sigmoid(alpha*x).
func swishOp(c *Call) ([]ir.Datum, error) { return swish(c, float64(c.float("alpha", 1))) }

func swish(c *Call, alpha float64) ([]ir.Datum, error) {
	return mapFloat(c, func(x float64) float64 {
		s := fmath.Sigmoid(float64(alpha * x))
		if s == 0 {
			return 0
		}
		return x * s
	})
}

func hardSwishOp(c *Call) ([]ir.Datum, error) {
	return mapFloat(c, func(x float64) float64 {
		h := max(0, min(1, x/6+0.5))
		if h == 0 {
			return 0
		}
		return x * h
	})
}

func hardSigmoidOp(c *Call) ([]ir.Datum, error) {
	alpha, beta := float64(c.float("alpha", 0.2)), float64(c.float("beta", 0.5))
	return mapFloat(c, func(x float64) float64 { return max(0, min(1, float64(alpha*x)+beta)) })
}

func eluOp(c *Call) ([]ir.Datum, error) {
	alpha := float64(c.float("alpha", 1))
	return mapFloat(c, func(x float64) float64 {
		if x < 0 {
			return alpha * fmath.Expm1(x)
		}
		return x
	})
}

// celuOp is max(0,x) + min(0, alpha*(exp(x/alpha)-1)).
func celuOp(c *Call) ([]ir.Datum, error) {
	alpha := float64(c.float("alpha", 1))
	return mapFloat(c, func(x float64) float64 {
		return max(0, x) + min(0, float64(alpha*fmath.Expm1(x/alpha)))
	})
}

func seluOp(c *Call) ([]ir.Datum, error) {
	defAlpha, defGamma := float32(1.67326319217681884765625), float32(1.05070102214813232421875)
	if c.Opset < 6 {
		defAlpha, defGamma = 1.6732, 1.0507
	}
	alpha, gamma := float64(c.float("alpha", defAlpha)), float64(c.float("gamma", defGamma))
	return mapFloat(c, func(x float64) float64 {
		if x <= 0 {
			return gamma * float64(alpha*fmath.Expm1(x))
		}
		return gamma * x
	})
}

func leakyReluOp(c *Call) ([]ir.Datum, error) {
	alpha := float64(c.float("alpha", 0.01))
	return mapFloat(c, func(x float64) float64 {
		if x < 0 {
			return alpha * x
		}
		return x
	})
}

func thresholdedReluOp(c *Call) ([]ir.Datum, error) {
	alpha := float64(c.float("alpha", 1))
	return mapFloat(c, func(x float64) float64 {
		if x > alpha || x != x {
			return x
		}
		return 0
	})
}

// unaryKind names the functions that are defined on integers as well.
type unaryKind uint8

const (
	kindAbs unaryKind = iota
	kindNeg
	kindSign
	kindRelu
)

func absOp(c *Call) ([]ir.Datum, error)  { return mapReal(c, kindAbs, 0, 0) }
func negOp(c *Call) ([]ir.Datum, error)  { return mapReal(c, kindNeg, 0, 0) }
func signOp(c *Call) ([]ir.Datum, error) { return mapReal(c, kindSign, 0, 0) }
func reluOp(c *Call) ([]ir.Datum, error) { return mapReal(c, kindRelu, 0, 0) }

const kindShrink = kindRelu + 1

// shrinkOp is x+bias below -lambd, x-bias above lambd and 0 in between.
func shrinkOp(c *Call) ([]ir.Datum, error) {
	return mapReal(c, kindShrink, float64(c.float("bias", 0)), float64(c.float("lambd", 0.5)))
}

func mapReal(c *Call, k unaryKind, p, q float64) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.DType() == ir.Bool {
		return nil, c.badType(x.DType())
	}
	switch computeType(x.DType()) {
	case ir.Float32:
		return one(mapped(c, x, realFunc[float32](k, p, q)))
	case ir.Float64:
		return one(mapped(c, x, realFunc[float64](k, p, q)))
	case ir.Int8:
		return one(mapped(c, x, realFunc[int8](k, p, q)))
	case ir.Int16:
		return one(mapped(c, x, realFunc[int16](k, p, q)))
	case ir.Int32:
		return one(mapped(c, x, realFunc[int32](k, p, q)))
	case ir.Int64:
		return one(mapped(c, x, realFunc[int64](k, p, q)))
	case ir.Uint8:
		return one(mapped(c, x, realFunc[uint8](k, p, q)))
	case ir.Uint16:
		return one(mapped(c, x, realFunc[uint16](k, p, q)))
	case ir.Uint32:
		return one(mapped(c, x, realFunc[uint32](k, p, q)))
	case ir.Uint64:
		return one(mapped(c, x, realFunc[uint64](k, p, q)))
	}
	return nil, c.badType(x.DType())
}

func realFunc[T ordered](k unaryKind, p, q float64) func(T) T {
	switch k {
	case kindAbs:
		return func(x T) T {
			if x <= 0 {
				return 0 - x // 0 - -0 is +0
			}
			return x
		}
	case kindNeg:
		return func(x T) T { return -x }
	case kindSign:
		return signOf[T]
	case kindRelu:
		return func(x T) T {
			if x < 0 {
				return 0
			}
			return x // NaN and -0 stay, as in Clip
		}
	}
	return func(x T) T {
		switch v := float64(x); {
		case v < -q:
			return T(v + p)
		case v > q:
			return T(v - p)
		case v != v:
			return x
		}
		return 0
	}
}

func signOf[T ordered](x T) T {
	switch {
	case x > 0:
		return 1
	case x == 0:
		return 0
	case x < 0:
		var one T = 1
		return -one
	}
	return x // NaN
}

func notOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.DType() != ir.Bool {
		return nil, c.badType(x.DType())
	}
	return one(mapped(c, x, func(b uint8) uint8 {
		if b == 0 {
			return 1
		}
		return 0
	}))
}

func bitwiseNotOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	d := x.DType()
	if !d.IsInt() {
		return nil, c.badType(d)
	}
	b, err := x.Bytes()
	if err != nil {
		return nil, err
	}
	r, err := alloc[uint8](c, []int64{int64(len(b))})
	for i := range r {
		r[i] = ^b[i]
	}
	return one(ir.NewTensor(d, x.Shape(), r), err)
}

// isNaNOp and isInfOp test elements of a float type.
func isNaNOp(c *Call) ([]ir.Datum, error) {
	return testFloat(c, func(x float64) bool { return x != x })
}

func isInfOp(c *Call) ([]ir.Datum, error) {
	neg, pos := c.int("detect_negative", 1) != 0, c.int("detect_positive", 1) != 0
	return testFloat(c, func(x float64) bool { return pos && math.IsInf(x, 1) || neg && math.IsInf(x, -1) })
}

func testFloat(c *Call, f func(float64) bool) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if !x.DType().IsFloat() {
		return nil, c.badType(x.DType())
	}
	r, err := alloc[uint8](c, x.Shape())
	if err != nil {
		return nil, err
	}
	v, err := floats(x)
	for i, e := range v {
		if f(e) {
			r[i] = 1
		}
	}
	return one(boolTensor(x.Shape(), r), err)
}

// clipOp limits elements to [min, max], given as attributes below opset 11 and as scalar operands from then on. It is
// min(max, max(x, min)), so that max wins where it is below min, as the specification says; NaN stays.
func clipOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	switch computeType(x.DType()) {
	case ir.Float32:
		return clip[float32](c, x)
	case ir.Float64:
		return clip[float64](c, x)
	case ir.Int8:
		return clip[int8](c, x)
	case ir.Int16:
		return clip[int16](c, x)
	case ir.Int32:
		return clip[int32](c, x)
	case ir.Int64:
		return clip[int64](c, x)
	case ir.Uint8:
		return clip[uint8](c, x)
	case ir.Uint16:
		return clip[uint16](c, x)
	case ir.Uint32:
		return clip[uint32](c, x)
	case ir.Uint64:
		return clip[uint64](c, x)
	}
	return nil, c.badType(x.DType())
}

func clip[T ordered](c *Call, x *ir.Tensor) ([]ir.Datum, error) {
	lo, hasLo, err := bound[T](c, x, 1, "min")
	if err != nil {
		return nil, err
	}
	hi, hasHi, err := bound[T](c, x, 2, "max")
	if err != nil {
		return nil, err
	}
	if limit := largest(x.DType()); limit > 0 { // an absent bound is the type's largest finite number, not infinity
		if !hasLo {
			lo, hasLo = T(-limit), true
		}
		if !hasHi {
			hi, hasHi = T(limit), true
		}
	}
	return one(mapped(c, x, func(v T) T {
		if hasLo && v < lo {
			v = lo
		}
		if hasHi && v > hi {
			v = hi
		}
		return v
	}))
}

// largest is the largest finite number of a float type, 0 for other types.
func largest(d ir.DType) float64 {
	switch d {
	case ir.Float16:
		return 65504
	case ir.BFloat16:
		return 0x1.fep127
	case ir.Float32:
		return math.MaxFloat32
	case ir.Float64:
		return math.MaxFloat64
	}
	return 0
}

// bound is one limit of Clip; ok is false if it is not given.
func bound[T ordered](c *Call, x *ir.Tensor, i int, attr string) (v T, ok bool, err error) {
	if c.Opset < 11 {
		a := c.Attr(attr)
		return T(a.Float()), a != nil, nil
	}
	t, err := c.Tensor(i)
	if t == nil || err != nil {
		return 0, false, err
	}
	if t.DType() != x.DType() || t.Len() != 1 {
		return 0, false, c.badOperand(i, t)
	}
	l, err := load[T](t)
	if err != nil {
		return 0, false, err
	}
	return l[0], true, nil
}
