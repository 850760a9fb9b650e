// Package gemm holds the CPU kernels of the embedded engine: matrix products in float32, float64 and 8-bit integers, convolution,
// and vectorised functions over slices.
//
// Products follow Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34(3), 2008), in the form
// of Van Zee and van de Geijn, "BLIS" (ACM TOMS 41(3), 2015): a small assembly tile that keeps a block of C in registers, and Go
// loops around it that keep panels of A and B in the caches. Convolution is a product without im2col: the tile reads rows of B
// at tabulated offsets into a padded copy of the input, which is the indirection of Dukhan, "The Indirect Convolution
// Algorithm" (2019), applied to the channel-first layout.
//
// The assembly is written by the avo program in _gen and checked in. Which set of kernels runs is decided once from the
// processor's features; the plain Go loops of plain*.go are the specification of each kernel, and what runs on other
// processors and under the build tag purego.
//
// Results depend on the kernel set, since fused multiply-add rounds once, and on the shape, but not on the number of workers:
// work is split over elements of the result, never over a sum. Slices that are too short are a programming error: functions
// panic before they write. NaN and infinities propagate as in the plain loops: nothing skips a product with zero.
package gemm

//go:generate go -C _gen run . -part tile32 -pkg gemm -out ../tile32_amd64.s -stubs ../tile32_amd64.go
//go:generate go -C _gen run . -part tile64 -pkg gemm -out ../tile64_amd64.s -stubs ../tile64_amd64.go
//go:generate go -C _gen run . -part tileint -pkg gemm -out ../tileint_amd64.s -stubs ../tileint_amd64.go
//go:generate go -C _gen run . -part depthwise -pkg gemm -out ../depthwise_amd64.s -stubs ../depthwise_amd64.go
//go:generate go -C _gen run . -part int -pkg gemm -out ../int_amd64.s -stubs ../int_amd64.go
//go:generate go -C _gen run . -part vector -pkg gemm -out ../vector_amd64.s -stubs ../vector_amd64.go
//go:generate go -C _gen run . -part move -pkg gemm -out ../move_amd64.s -stubs ../move_amd64.go
//go:generate go -C _gen run . -part half -pkg gemm -out ../half_amd64.s -stubs ../half_amd64.go
