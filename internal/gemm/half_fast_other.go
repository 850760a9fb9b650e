//go:build !amd64 || purego

package gemm

func widenFast([]float32, []uint16) int  { return 0 }
func narrowFast([]uint16, []float32) int { return 0 }
