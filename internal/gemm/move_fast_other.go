//go:build !amd64 || purego

package gemm

import "unsafe"

func packRowsFast[T element](*microkernel, []T, []T, int, int, int) bool { return false }

// transposeBlocks is reached only with kernels that these builds do not have.
func transposeBlocks(_, _ unsafe.Pointer, _, _, _ int) { panic("gemm: no assembly in this build") }

func compact[T float32 | int32](_ *microkernel, dst, src []T, rows, width, stride int) {
	compactPlain(dst, src, rows, width, stride)
}

func depthwiseRows(_ *microkernel, a *depthwiseArgs) { depthwisePlain(a) }

func splitPlane[T float32 | int32](_ *microkernel, dst, src []T, rows, width, dstStride, srcStride, step int) {
	splitPlain(dst, src, rows, width, dstStride, srcStride, step)
}

func encodeFast(*microkernel, []int32, unsafe.Pointer, int, uint8) (done int, sum int32) { return 0, 0 }

func interleaveFast(*microkernel, []int32, unsafe.Pointer, int, int, uint32) bool { return false }
