package gemm

import (
	"fmt"
	"math"
	"unsafe"
)

// The functions below convert between 8-bit integers and float32. Each step rounds on its own, in the order of the text, so that
// the results are the same on every processor.

// bounds are the limits of a result less its zero point, as float32.
func bounds[T Integer](zero, lo, hi T) (z, low, high float32) {
	z = float32(zero)
	return z, float32(lo) - z, float32(hi) - z
}

// narrowTo rounds v to the nearest integer, ties to even, within low..high, and adds zero.
func narrowTo[T Integer](v, low, high float32, zero T) T {
	return T(int32(math.RoundToEven(float64(clamp(v, low, high)))) + int32(zero))
}

// Requantize sets dst to the nearest integer of src times scale, ties to even, plus zero, saturated to T and then to lo..hi. Scale
// is positive and finite. The product is rounded to float32 as ONNX Runtime does.
func Requantize[T Integer](dst []T, src []int32, scale float32, zero, lo, hi T) {
	RequantizeOffset(dst, src, scale, 0, zero, lo, hi)
}

// RequantizeOffset is [Requantize] of src times scale plus a finite offset, which is rounded twice.
func RequantizeOffset[T Integer](dst []T, src []int32, scale, offset float32, zero, lo, hi T) {
	var s, o [8]float32
	for i := range s {
		s[i], o[i] = scale, offset
	}
	z, low, high := bounds(zero, lo, hi)
	for i := requantizeFast(dst, src, &s[0], &o[0], 0, z, low, high); i < len(src); i++ {
		dst[i] = narrowTo(float32(float32(src[i])*scale)+offset, low, high, zero)
	}
}

// RequantizeEach is [RequantizeOffset] with a scale and an offset for each element.
func RequantizeEach[T Integer](dst []T, src []int32, scale, offset []float32, zero, lo, hi T) {
	checkLen(len(src), scale, offset)
	if len(src) == 0 {
		return
	}
	z, low, high := bounds(zero, lo, hi)
	for i := requantizeFast(dst, src, &scale[0], &offset[0], 32, z, low, high); i < len(src); i++ {
		dst[i] = narrowTo(float32(float32(src[i])*scale[i])+offset[i], low, high, zero)
	}
}

// Quantize sets dst to the nearest integer of src/scale, ties to even, plus zero, saturated to T and then to lo..hi; to lo for NaN.
func Quantize[T Integer](dst []T, src []float32, scale float32, zero, lo, hi T) {
	checkBytes(len(dst), len(src))
	z, low, high := bounds(zero, lo, hi)
	for i := quantizeFast(pointer(dst), src, scale, z, low, high); i < len(src); i++ {
		if v := src[i] / scale; v == v {
			dst[i] = narrowTo(v, low, high, zero)
		} else {
			dst[i] = lo
		}
	}
}

// Dequantize sets dst to src less zero, times scale.
func Dequantize[T Integer](dst []float32, src []T, scale float32, zero T) {
	checkBytes(len(dst), len(src))
	flip, z := unsigned(zero)
	for i := dequantizeFast(dst, pointer(src), len(src), flip, float32(z), scale); i < len(src); i++ {
		dst[i] = float32(int32(src[i])-int32(zero)) * scale
	}
}

// Quantized is a tensor of 8-bit integers: values are the elements less Zero, times Scale.
type Quantized[T Integer] struct {
	Data  []T
	Scale float32
	Zero  T
}

// AddQuantized sets y to the sum of a and b, limited to lo..hi: what [Quantize] makes of the sum of what [Dequantize] makes of them.
func AddQuantized[A, B, T Integer](y Quantized[T], a Quantized[A], b Quantized[B], lo, hi T) {
	n := len(y.Data)
	checkBytes(len(a.Data), n)
	checkBytes(len(b.Data), n)
	flipA, zA := unsigned(a.Zero)
	flipB, zB := unsigned(b.Zero)
	z, low, high := bounds(y.Zero, lo, hi)
	i := 0
	if vectors := n / 8; vectors > 0 && addBytesFast(pointer(y.Data), pointer(a.Data), pointer(b.Data), vectors, flipA, flipB,
		float32(zA), float32(zB), a.Scale, b.Scale, y.Scale, z, low, high) {
		i = vectors * 8
	}
	for ; i < n; i++ {
		p := float32(int32(a.Data[i])-int32(a.Zero)) * a.Scale
		q := float32(int32(b.Data[i])-int32(b.Zero)) * b.Scale
		y.Data[i] = narrowTo((float32(p)+float32(q))/y.Scale, low, high, y.Zero)
	}
}

func checkBytes(have, need int) {
	if have < need {
		panic(fmt.Sprintf("gemm: slices of %d and %d elements", need, have))
	}
}

// pointer is where a slice begins.
func pointer[T any](v []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(v)) }

// requantizeFast does as much of [RequantizeEach] as fills vectors and returns how much.
func requantizeFast[T Integer](dst []T, src []int32, scale, offset *float32, step int, zero, lo, hi float32) int {
	checkBytes(len(dst), len(src))
	if len(src) < 8 || !requantizeVectors(pointer(dst), &src[0], len(src)/8, scale, offset, step, zero, lo, hi) {
		return 0
	}
	return len(src) &^ 7
}
