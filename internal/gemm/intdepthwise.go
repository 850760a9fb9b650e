package gemm

import (
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// exactFloats bounds the integers that float32 adds and multiplies exactly, with fused multiplication or without, in any order.
const exactFloats = 1 << 24

// depthwiseFloats is the depthwise convolution p in float32 if all its sums stay so small that they are exact; otherwise, or if p is
// another convolution, nil. The tiles of the integer kernels would hold one row of weights and one channel out of four.
func depthwiseFloats(kernel *microkernel, p ConvParams, weights func(o, i int) int, bias []int32) *Conv {
	if p.In != p.Groups || p.Groups == 1 {
		return nil
	}
	taps := p.Kernel[0] * p.Kernel[1]
	w, b := make([]float32, p.Out*taps), make([]float32, p.Out)
	for o := range p.Out {
		sum := 0
		if bias != nil {
			sum = max(int(bias[o]), -int(bias[o]))
			b[o] = float32(bias[o])
		}
		for i := range taps {
			d := weights(o, i)
			sum += 255 * max(d, -d)
			w[o*taps+i] = float32(d)
		}
		if sum >= exactFloats {
			return nil
		}
	}
	best := float32Best
	if kernel.plain != nil {
		best = plainKernel[float32]()
	}
	p.Clamp = false
	c, err := newConv(best, p, w, b)
	if err != nil {
		return nil
	}
	return c
}

// runFloats is [RunIntConv] by the convolution in float32.
func runFloats[T Integer](c *IntConv, dst []int32, src []T, zero T, n, h, w int, scratch []int32, pool *par.Pool) {
	oh, ow := c.OutputSize(h, w)
	in, out := c.in*h*w, c.p.Out*oh*ow
	wide, rest := asFloats(scratch[:in]), asFloats(scratch[in:])
	for i := range n {
		s, d := src[i*in:][:in], asFloats(dst[i*out:][:out])
		overChunks(pool, in, func(from, to int) { Dequantize(wide[from:to], s[from:to], 1, zero) })
		c.floats.Run(d, wide, 1, h, w, rest, pool)
		overChunks(pool, out, func(from, to int) {
			v := d[from:to]
			for i := floatsToIntsFast(v); i < len(v); i++ {
				*(*int32)(unsafe.Pointer(&v[i])) = int32(v[i])
			}
		})
	}
}

// overChunks calls f for ranges of n elements.
func overChunks(pool *par.Pool, n int, f func(from, to int)) {
	pool.For(n, 1<<14, func(_, from, to int) { f(from, to) })
}

// asFloats is memory of int32 as float32.
func asFloats(v []int32) []float32 { return unsafe.Slice((*float32)(pointer(v)), len(v)) }
