//go:build amd64 && !purego

package gemm

import "golang.org/x/sys/cpu"

func hasF16C() bool { return hasAVX2() && cpu.X86.HasF16C }

func widenFast(dst []float32, src []uint16) int {
	if len(dst) < 8 || !hasF16C() {
		return 0
	}
	widenVectors(&dst[0], &src[0], len(dst)/8)
	return len(dst) &^ 7
}

func narrowFast(dst []uint16, src []float32) int {
	if len(dst) < 8 || !hasF16C() {
		return 0
	}
	return len(dst)&^7 - 8*narrowVectors(&dst[0], &src[0], len(dst)/8)
}
