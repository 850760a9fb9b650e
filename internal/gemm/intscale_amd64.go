//go:build amd64 && !purego

package gemm

import "unsafe"

// The functions below do what their namesakes in assembly do, and return whether or for how many elements they did.

func requantizeVectors(dst unsafe.Pointer, src *int32, vectors int, scale, offset *float32, step int, zero, lo, hi float32) bool {
	if !hasAVX2() {
		return false
	}
	requantize8((*byte)(dst), src, vectors, scale, offset, step, zero, lo, hi)
	return true
}

func quantizeFast(dst unsafe.Pointer, src []float32, scale, zero, lo, hi float32) int {
	if !hasAVX2() || len(src) < 8 {
		return 0
	}
	quantize8((*byte)(dst), &src[0], len(src)/8, scale, zero, lo, hi)
	return len(src) &^ 7
}

func dequantizeFast(dst []float32, src unsafe.Pointer, n int, flip uint8, zero, scale float32) int {
	if !hasAVX2() || n < 8 {
		return 0
	}
	dequantize8(&dst[0], (*byte)(src), n/8, uint32(flip), zero, scale)
	return n &^ 7
}

func addBytesFast(dst, a, b unsafe.Pointer, vectors int, flipA, flipB uint8, zeroA, zeroB, scaleA, scaleB, scale, zero, lo, hi float32) bool {
	if !hasAVX2() {
		return false
	}
	addBytes8((*byte)(dst), (*byte)(a), (*byte)(b), vectors, uint32(flipA), uint32(flipB), zeroA, zeroB, scaleA, scaleB, scale, zero, lo, hi)
	return true
}

func floatsToIntsFast(v []float32) int {
	if !hasAVX2() || len(v) < 8 {
		return 0
	}
	floatsToInts8(&v[0], len(v)/8)
	return len(v) &^ 7
}
