//go:build !amd64 || purego

package gemm

import "unsafe"

func requantizeVectors(unsafe.Pointer, *int32, int, *float32, *float32, int, float32, float32, float32) bool {
	return false
}

func quantizeFast(unsafe.Pointer, []float32, float32, float32, float32, float32) int { return 0 }

func dequantizeFast([]float32, unsafe.Pointer, int, uint8, float32, float32) int { return 0 }

func addBytesFast(_, _, _ unsafe.Pointer, _ int, _, _ uint8, _, _, _, _, _, _, _, _ float32) bool {
	return false
}

func floatsToIntsFast([]float32) int { return 0 }
