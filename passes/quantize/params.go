package quantize

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/quantize/internal/hist"
)

// qparams say how a tensor is stored: real = scale * (integer - zero).
type qparams struct {
	dtype ir.DType
	scale float32
	zero  int64
}

// limits are the least and the largest integer of a type.
func limits(d ir.DType) (lo, hi int64) {
	n := uint(d.Bits())
	if d.IsUnsigned() {
		return 0, 1<<n - 1
	}
	return -1 << (n - 1), 1<<(n-1) - 1
}

// leastScale keeps products of scales, and their inverses, normal numbers.
const leastScale = 1e-12

// paramsOf are the parameters that cover r.
func paramsOf(r hist.Range, d ir.DType, symmetric bool) qparams {
	lo, hi := limits(d)
	r = r.WithZero()
	if symmetric {
		top := math.Max(-r.Lo, r.Hi)
		return qparams{d, scaleOf(top / float64(hi)), 0}
	}
	q := qparams{dtype: d, scale: scaleOf((r.Hi - r.Lo) / float64(hi-lo))}
	q.zero = min(max(lo+int64(math.RoundToEven(-r.Lo/float64(q.scale))), lo), hi)
	return q
}

// scaleOf rounds a scale; a tensor of zeros gets one.
func scaleOf(x float64) float32 {
	if x == 0 {
		return 1
	}
	return float32(math.Max(x, leastScale))
}

// covers is the range that q represents.
func (q qparams) covers() hist.Range {
	lo, hi := limits(q.dtype)
	return hist.Range{Lo: float64(lo-q.zero) * float64(q.scale), Hi: float64(hi-q.zero) * float64(q.scale)}
}

// rounder gives what becomes of a value.
func (q qparams) rounder() func(x float32) float32 {
	lo, hi := limits(q.dtype)
	least, most, scale := float64(lo-q.zero), float64(hi-q.zero), q.scale
	return func(x float32) float32 {
		k := math.RoundToEven(float64(x / scale))
		switch {
		case k < least:
			k = least
		case k > most:
			k = most
		}
		return float32(k) * scale
	}
}

// zeroTensor is the zero point as a scalar.
func (q qparams) zeroTensor() *ir.Tensor {
	switch q.dtype {
	case ir.Uint8:
		return ir.ScalarOf(uint8(q.zero))
	case ir.Int8:
		return ir.ScalarOf(int8(q.zero))
	case ir.Uint16:
		return ir.ScalarOf(uint16(q.zero))
	}
	return ir.ScalarOf(int16(q.zero))
}
