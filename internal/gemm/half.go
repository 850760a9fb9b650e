package gemm

import "fmt"

// Widen converts leading elements of src, of float16, and returns how many: none where the processor cannot do it. The slices
// have one length.
func Widen(dst []float32, src []uint16) int {
	sameLen(len(dst), len(src))
	return widenFast(dst, src)
}

// Narrow converts leading elements of src to float16, to nearest even, and returns how many: none where the processor cannot do
// it. It stops at most 7 elements before a NaN, whose float16 the caller chooses. The slices have one length.
func Narrow(dst []uint16, src []float32) int {
	sameLen(len(dst), len(src))
	return narrowFast(dst, src)
}

func sameLen(a, b int) {
	if a != b {
		panic(fmt.Sprintf("gemm: slices of %d and %d elements", a, b))
	}
}
