package gemm

import (
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// A depthwiseArgs is the argument of the depthwise kernel: rows of whole vectors of outputs, each the bias plus the sum over taps
// of a weight and an input at a tabulated offset, clamped. Strides are in bytes. The assembly reads the fields at fixed offsets.
type depthwiseArgs struct {
	dst, src             unsafe.Pointer
	rows, vectors        int // vectors of depthwiseLanes
	dstStride, srcStride int
	offsets              *int
	weights              *float32
	taps                 int
	bias, lo, hi         float32
}

const depthwiseLanes = 8

// depthwiseLen returns the elements of scratch that one worker needs.
func (pl *convPlan) depthwiseLen() int {
	return pl.channel + pl.slack + roundUp(pl.ow, depthwiseLanes)
}

// runDepthwise computes one output channel at a time from a copy of its input channel that stays in the caches.
func (c *Conv) runDepthwise(dst, src []float32, h, w int, scratch []float32, pool *par.Pool) {
	pl := c.plan(h, w, pool.Workers())
	multiplier := c.p.Out / c.p.In
	taps := len(pl.offsets)
	lo, hi := c.p.Lo, c.p.Hi
	if !c.p.Clamp {
		lo, hi = negativeInf, positiveInf
	}
	each, all := pl.depthwiseLen(), &pl.chunks[0]
	grain := max(1, c.p.In/(4*pool.Workers()))
	pool.For(c.p.In, grain, func(worker, from, to int) {
		mine := scratch[worker*each:][:each]
		row := mine[pl.channel+pl.slack:]
		a := &depthwiseArgs{src: unsafe.Pointer(&mine[0]), srcStride: 4 * pl.wq, dstStride: 4 * pl.ow, offsets: &pl.offsets[0], taps: taps, lo: lo, hi: hi}
		pad(pl, all, mine[:pl.channel], 0) // stays from one channel to the next
		for ch := from; ch < to; ch++ {
			split(pl, all, c.kernel, mine[:pl.channel], src[ch*h*w:][all.from*w:all.to*w])
			for o := ch * multiplier; o < (ch+1)*multiplier; o++ {
				a.weights = &c.raw[o*taps]
				a.bias = c.bias[o/multiplier*c.biasLen+o%multiplier]
				depthwisePlane(c.kernel, a, dst[o*pl.oh*pl.ow:][:pl.oh*pl.ow], mine, row, pl)
			}
		}
	})
}

// depthwisePlane computes one channel. Rows that end so near the end of dst that a whole vector would pass it go through row.
func depthwisePlane(kernel *microkernel, a *depthwiseArgs, dst, src, row []float32, pl *convPlan) {
	wide := roundUp(pl.ow, depthwiseLanes)
	a.vectors = wide / depthwiseLanes
	safe := pl.oh
	for safe > 0 && (safe-1)*pl.ow+wide > len(dst) {
		safe--
	}
	if safe > 0 {
		a.dst, a.src, a.rows = unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), safe
		depthwiseRows(kernel, a)
	}
	for y := safe; y < pl.oh; y++ {
		a.dst, a.src, a.rows = unsafe.Pointer(&row[0]), unsafe.Pointer(&src[y*pl.wq]), 1
		depthwiseRows(kernel, a)
		copy(dst[y*pl.ow:][:pl.ow], row)
	}
}

// depthwisePlain is the specification of the depthwise kernel.
func depthwisePlain(a *depthwiseArgs) {
	weights, offsets := unsafe.Slice(a.weights, a.taps), unsafe.Slice(a.offsets, a.taps)
	for y := range a.rows {
		for v := range a.vectors {
			o := v * depthwiseLanes * 4
			var sum [depthwiseLanes]float32
			for l := range sum {
				sum[l] = a.bias
			}
			for i, w := range weights {
				x := at[[depthwiseLanes]float32](a.src, y*a.srcStride+offsets[i]+o)
				for l := range sum {
					sum[l] += float32(w * x[l])
				}
			}
			for l := range sum {
				sum[l] = clamp(sum[l], a.lo, a.hi)
			}
			*at[[depthwiseLanes]float32](a.dst, y*a.dstStride+o) = sum
		}
	}
}

func clamp[T float32 | float64](v, lo, hi T) T {
	if v < lo {
		return lo
	}
	if v > hi {
		return hi
	}
	return v
}
