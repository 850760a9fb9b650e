package gemm

import (
	"fmt"
	"math"
)

// The functions over slices below work on the first len(dst) elements, and panic if another slice is shorter. Dst may be one of
// the other slices, but not overlap one otherwise. On AVX2 the transcendental ones are within 4 units in the last place (expf of
// Cephes, erff of N. Juffa); elsewhere they are rounded from float64.

var negativeInf, positiveInf = float32(math.Inf(-1)), float32(math.Inf(1))

func checkLen(dst int, others ...[]float32) {
	for _, o := range others {
		if len(o) < dst {
			panic(fmt.Sprintf("gemm: slices of %d and %d elements", dst, len(o)))
		}
	}
}

// Exp sets dst to e to the power of src.
func Exp(dst, src []float32) {
	checkLen(len(dst), src)
	for i := expFast(dst, src); i < len(dst); i++ {
		dst[i] = plainExp(src[i])
	}
}

// Sigmoid sets dst to 1/(1+exp(-src)).
func Sigmoid(dst, src []float32) {
	checkLen(len(dst), src)
	for i := sigmoidFast(dst, src); i < len(dst); i++ {
		dst[i] = plainSigmoid(src[i])
	}
}

// Tanh sets dst to the hyperbolic tangent of src.
func Tanh(dst, src []float32) {
	checkLen(len(dst), src)
	for i := tanhFast(dst, src); i < len(dst); i++ {
		dst[i] = plainTanh(src[i])
	}
}

// Erf sets dst to the error function of src.
func Erf(dst, src []float32) {
	checkLen(len(dst), src)
	for i := erfFast(dst, src); i < len(dst); i++ {
		dst[i] = plainErf(src[i])
	}
}

// Gelu sets dst to src/2*(1+erf(src/sqrt 2)).
func Gelu(dst, src []float32) {
	checkLen(len(dst), src)
	for i := geluFast(dst, src); i < len(dst); i++ {
		dst[i] = plainGelu(src[i])
	}
}

// Silu sets dst to src*sigmoid(src).
func Silu(dst, src []float32) {
	checkLen(len(dst), src)
	for i := siluFast(dst, src); i < len(dst); i++ {
		dst[i] = plainSilu(src[i])
	}
}

// Clip limits src to lo..hi; NaN stays. Relu is Clip to 0..+Inf.
func Clip(dst, src []float32, lo, hi float32) {
	checkLen(len(dst), src)
	for i := clipFast(dst, src, lo, hi); i < len(dst); i++ {
		dst[i] = clamp(src[i], lo, hi)
	}
}

// Standardize sets dst to (src-mean)*factor + bias, limited to lo..hi; NaN stays.
func Standardize(dst, src []float32, mean, factor, bias, lo, hi float32) {
	checkLen(len(dst), src)
	for i := standardizeFast(dst, src, mean, factor, bias, lo, hi); i < len(dst); i++ {
		dst[i] = clamp(float32((src[i]-mean)*factor)+bias, lo, hi)
	}
}

// HardSigmoid sets dst to alpha*src+beta, limited to 0..1.
func HardSigmoid(dst, src []float32, alpha, beta float32) {
	checkLen(len(dst), src)
	for i := hardSigmoidFast(dst, src, alpha, beta); i < len(dst); i++ {
		dst[i] = clamp(float32(alpha*src[i])+beta, 0, 1)
	}
}

// HardSwish sets dst to src*HardSigmoid(src), with ONNX's alpha of 1/6 and beta of 1/2.
func HardSwish(dst, src []float32) {
	checkLen(len(dst), src)
	const alpha, beta = 1. / 6, .5
	for i := hardSwishFast(dst, src, alpha, beta); i < len(dst); i++ {
		dst[i] = src[i] * clamp(float32(alpha*src[i])+beta, 0, 1)
	}
}

// Add sets dst to a+b.
func Add(dst, a, b []float32) {
	checkLen(len(dst), a, b)
	for i := addFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] + b[i]
	}
}

// Sub sets dst to a-b.
func Sub(dst, a, b []float32) {
	checkLen(len(dst), a, b)
	for i := subFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] - b[i]
	}
}

// Mul sets dst to a*b.
func Mul(dst, a, b []float32) {
	checkLen(len(dst), a, b)
	for i := mulFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] * b[i]
	}
}

// Div sets dst to a/b.
func Div(dst, a, b []float32) {
	checkLen(len(dst), a, b)
	for i := divFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] / b[i]
	}
}

// Maximum sets dst to the greater of a and b; NaN wins, and so does +0 over -0.
func Maximum(dst, a, b []float32) {
	checkLen(len(dst), a, b)
	for i := maximumFast(dst, a, b); i < len(dst); i++ {
		dst[i] = max(a[i], b[i])
	}
}

// AddScalar sets dst to a+b.
func AddScalar(dst, a []float32, b float32) {
	checkLen(len(dst), a)
	for i := addScalarFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] + b
	}
}

// SubScalar sets dst to a-b.
func SubScalar(dst, a []float32, b float32) {
	checkLen(len(dst), a)
	for i := subScalarFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] - b
	}
}

// MulScalar sets dst to a*b.
func MulScalar(dst, a []float32, b float32) {
	checkLen(len(dst), a)
	for i := mulScalarFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] * b
	}
}

// DivScalar sets dst to a/b.
func DivScalar(dst, a []float32, b float32) {
	checkLen(len(dst), a)
	for i := divScalarFast(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] / b
	}
}

func plainExp(x float32) float32     { return float32(math.Exp(float64(x))) }
func plainSigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
func plainTanh(x float32) float32    { return float32(math.Tanh(float64(x))) }
func plainErf(x float32) float32     { return float32(math.Erf(float64(x))) }
func plainGelu(x float32) float32 {
	return float32(float64(x) / 2 * (1 + math.Erf(float64(x)/math.Sqrt2)))
}
func plainSilu(x float32) float32 { return float32(float64(x) / (1 + math.Exp(-float64(x)))) }
