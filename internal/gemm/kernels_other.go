//go:build !amd64 || purego

package gemm

func float32Kernels() []*microkernel { return []*microkernel{plainKernel[float32]()} }
func float64Kernels() []*microkernel { return []*microkernel{plainKernel[float64]()} }
func intKernels() []*microkernel     { return []*microkernel{plainQuadKernel()} }
