//go:build !amd64 || purego

package gemm

import "unsafe"

func packRowsFast[T float32 | float64](*microkernel, []T, []T, int, int, int) bool { return false }

// transposeBlocks is reached only with kernels that these builds do not have.
func transposeBlocks(_, _ unsafe.Pointer, _, _, _ int) { panic("gemm: no assembly in this build") }

func compact(_ *microkernel, dst, src []float32, rows, width, stride int) {
	compactPlain(dst, src, rows, width, stride)
}

func depthwiseRows(_ *microkernel, a *depthwiseArgs) { depthwisePlain(a) }

func splitPlane(_ *microkernel, dst, src []float32, rows, width, dstStride, srcStride, step int) {
	splitPlain(dst, src, rows, width, dstStride, srcStride, step)
}
