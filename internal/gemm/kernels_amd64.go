//go:build amd64 && !purego

package gemm

import "golang.org/x/sys/cpu"

// hasAVX2 and the like say whether the processor, and the operating system, support a kernel set.
func hasAVX2() bool { return cpu.X86.HasAVX2 && cpu.X86.HasFMA }

func hasAVX512() bool {
	return hasAVX2() && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
}

func hasVNNI() bool { return hasAVX512() && cpu.X86.HasAVX512VNNI }

// float32Kernels returns the kernels that this processor runs, best first.
func float32Kernels() []*microkernel {
	var ks []*microkernel
	if hasAVX512() {
		ks = append(ks, &microkernel{
			name: "avx512", elem: 4, rows: []int{12, 8, 4, 1}, lanes: 16, masked: true, group: 1,
			strided:    [][2]func(*byte){{f32AVX512r12v1, f32AVX512r12v2}, {f32AVX512r8v1, f32AVX512r8v2}, {f32AVX512r4v1, f32AVX512r4v2}, {f32AVX512r1v1, f32AVX512r1v2}},
			tabulated:  [][2]func(*byte){{f32AVX512r12v1o, f32AVX512r12v2o}, {f32AVX512r8v1o, f32AVX512r8v2o}, {f32AVX512r4v1o, f32AVX512r4v2o}, {f32AVX512r1v1o, f32AVX512r1v2o}},
			tabulatedA: [][2]func(*byte){{f32AVX512r12v1a, f32AVX512r12v2a}, {f32AVX512r8v1a, f32AVX512r8v2a}, {f32AVX512r4v1a, f32AVX512r4v2a}, {f32AVX512r1v1a, f32AVX512r1v2a}},
		})
	}
	if hasAVX2() {
		ks = append(ks, &microkernel{
			name: "avx2", elem: 4, rows: []int{6, 4, 1}, lanes: 8, masked: false, group: 1,
			strided:    [][2]func(*byte){{f32AVX2r6v1, f32AVX2r6v2}, {f32AVX2r4v1, f32AVX2r4v2}, {f32AVX2r1v1, f32AVX2r1v2}},
			tabulated:  [][2]func(*byte){{f32AVX2r6v1o, f32AVX2r6v2o}, {f32AVX2r4v1o, f32AVX2r4v2o}, {f32AVX2r1v1o, f32AVX2r1v2o}},
			tabulatedA: [][2]func(*byte){{f32AVX2r6v1a, f32AVX2r6v2a}, {f32AVX2r4v1a, f32AVX2r4v2a}, {f32AVX2r1v1a, f32AVX2r1v2a}},
		})
	}
	return append(ks, plainKernel[float32]())
}

// float64Kernels is [float32Kernels] for float64.
func float64Kernels() []*microkernel {
	var ks []*microkernel
	if hasAVX512() {
		ks = append(ks, &microkernel{
			name: "avx512", elem: 8, rows: []int{12, 8, 4, 1}, lanes: 8, masked: true, group: 1,
			strided: [][2]func(*byte){{f64AVX512r12v1, f64AVX512r12v2}, {f64AVX512r8v1, f64AVX512r8v2}, {f64AVX512r4v1, f64AVX512r4v2}, {f64AVX512r1v1, f64AVX512r1v2}},
		})
	}
	if hasAVX2() {
		ks = append(ks, &microkernel{
			name: "avx2", elem: 8, rows: []int{6, 4, 1}, lanes: 4, masked: false, group: 1,
			strided: [][2]func(*byte){{f64AVX2r6v1, f64AVX2r6v2}, {f64AVX2r4v1, f64AVX2r4v2}, {f64AVX2r1v1, f64AVX2r1v2}},
		})
	}
	return append(ks, plainKernel[float64]())
}

// intKernels is [float32Kernels] for 8-bit integers. Without VNNI they are widened to 16 bits, since VPMADDUBSW saturates.
func intKernels() []*microkernel {
	var ks []*microkernel
	if hasVNNI() {
		ks = append(ks, &microkernel{
			name: "vnni", elem: 4, rows: []int{12, 8, 4, 1}, lanes: 16, masked: true, group: 4,
			strided:   [][2]func(*byte){{i8VNNIr12v1, i8VNNIr12v2}, {i8VNNIr8v1, i8VNNIr8v2}, {i8VNNIr4v1, i8VNNIr4v2}, {i8VNNIr1v1, i8VNNIr1v2}},
			tabulated: [][2]func(*byte){{i8VNNIr12v1o, i8VNNIr12v2o}, {i8VNNIr8v1o, i8VNNIr8v2o}, {i8VNNIr4v1o, i8VNNIr4v2o}, {i8VNNIr1v1o, i8VNNIr1v2o}},
		})
	}
	if hasAVX2() {
		ks = append(ks, &microkernel{
			name: "avx2", elem: 4, rows: []int{6, 4, 1}, lanes: 8, masked: false, group: 2,
			strided:   [][2]func(*byte){{i16AVX2r6v1, i16AVX2r6v2}, {i16AVX2r4v1, i16AVX2r4v2}, {i16AVX2r1v1, i16AVX2r1v2}},
			tabulated: [][2]func(*byte){{i16AVX2r6v1o, i16AVX2r6v2o}, {i16AVX2r4v1o, i16AVX2r4v2o}, {i16AVX2r1v1o, i16AVX2r1v2o}},
		})
	}
	return append(ks, plainQuadKernel())
}
