package gemm

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// An IntConv is a convolution of 8-bit integers with wrapping 32-bit sums, with weights arranged for its kernels. It may be
// used by several goroutines at once.
type IntConv struct {
	convCore[int32]
	in   int     // input channels
	sums []int32 // of the weights of each output channel

	floats *Conv // instead of all that, or nil
}

// NewIntConv prepares a convolution. Weights are [Out][In/Groups][kernel height][kernel width]; their zero points are none
// (zero), one, or one for each output channel; bias is nil or has Out elements. The clamp of p is ignored: see [Requantize].
func NewIntConv[T Integer](p ConvParams, weights, zero []T, bias []int32) (*IntConv, error) {
	return newIntConv(intBest, p, weights, zero, bias)
}

func newIntConv[T Integer](kernel *microkernel, p ConvParams, weights, zero []T, bias []int32) (*IntConv, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	m, k, taps := p.Out/p.Groups, p.In/p.Groups, p.Kernel[0]*p.Kernel[1]
	if len(weights) != p.Out*k*taps || (bias != nil && len(bias) != p.Out) || (len(zero) > 1 && len(zero) != p.Out) {
		return nil, fmt.Errorf("gemm: convolution with %d weights, %d biases and %d zero points for %d x %d", len(weights), len(bias), len(zero), p.Out, k*taps)
	}
	zero = checkZero(zero, p.Out, "weights")
	difference := func(o, i int) int { return int(weights[o*k*taps+i]) - int(zero[o%len(zero)]) }
	if f := depthwiseFloats(kernel, p, difference, bias); f != nil {
		return &IntConv{in: p.In, convCore: convCore[int32]{p: p}, floats: f}, nil
	}
	groups := (k + kernel.group - 1) / kernel.group
	c := &IntConv{in: p.In, sums: make([]int32, p.Out)}
	p.Clamp, p.In = false, p.Groups*groups
	c.convCore = convCore[int32]{p: p, kernel: kernel, repeat: 1}
	c.setBias(bias)
	// Weights less their zero point have nine bits. Where eight are too few, the rest becomes a second row for the same windows,
	// and of 255, which is more than twice the largest signed byte, a third.
	limit := math.MaxInt8
	if kernel.group == 2 {
		limit = math.MaxInt16
	}
	for o := range p.Out {
		for i := range k * taps {
			d := difference(o, i)
			c.repeat = max(c.repeat, (max(d, -d-1)+limit-1)/limit)
			c.sums[o] += int32(d)
		}
	}
	once := groups * taps
	for g := range p.Groups {
		rows := make([]int32, m*once*c.repeat)
		for o := range m {
			for i := range k * taps {
				at := o*once*c.repeat + i/taps/kernel.group*taps + i%taps
				d := difference(g*m+o, i)
				for part := range c.repeat {
					v := max(-limit-1, min(limit, d))
					putInt(&rows[at+part*once], kernel.group, i/taps%kernel.group, int16(v))
					d -= v
				}
			}
		}
		c.weights = append(c.weights, packA(kernel, RowMajor(rows, m, once*c.repeat)))
	}
	return c, nil
}

// OutputSize is [ConvParams.OutputSize].
func (c *IntConv) OutputSize(h, w int) (oh, ow int) { return c.p.OutputSize(h, w) }

// Scratch returns how many elements RunIntConv needs for images of height h and width w with so many workers.
func (c *IntConv) Scratch(h, w, workers int) int {
	if oh, ow := c.OutputSize(h, w); oh == 0 || ow == 0 {
		return 0
	}
	if c.floats != nil {
		return c.in*h*w + c.floats.Scratch(h, w, workers)
	}
	pl := c.plan(h, w, workers)
	return len(c.bias) + c.scratch(pl, workers) + workers*h*w
}

// RunIntConv computes dst = conv(src - zero) + bias for n images of height h and width w, with padding that stands for zero.
// Src is [n][In][h][w], dst is [n][Out][oh][ow]. Scratch is used if it is at least c.Scratch(h, w, pool.Workers()) long.
func RunIntConv[T Integer](c *IntConv, dst []int32, src []T, zero T, n, h, w int, scratch []int32, pool *par.Pool) {
	oh, ow := c.OutputSize(h, w)
	in, out := c.in*h*w, c.p.Out*oh*ow
	if n == 0 || out == 0 {
		return
	}
	if len(src) < n*in || len(dst) < n*out {
		panic(fmt.Sprintf("gemm: convolution of %d images of %dx%d with %d elements into %d", n, h, w, len(src), len(dst)))
	}
	if need := c.Scratch(h, w, pool.Workers()); len(scratch) < need {
		scratch = make([]int32, need)
	}
	if c.floats != nil {
		runFloats(c, dst, src, zero, n, h, w, scratch, pool)
		return
	}
	pl := c.plan(h, w, pool.Workers())
	flip, z := unsigned(zero)
	bias, rest := scratch[:len(c.bias)], scratch[len(c.bias):]
	m := c.p.Out / c.p.Groups
	copy(bias, c.bias)
	for o, s := range c.sums {
		bias[o/m*c.biasLen+o%m] -= z * s
	}
	planes, rest := rest[:pool.Workers()*h*w], rest[pool.Workers()*h*w:]
	var padding int32
	for q := range c.kernel.group {
		putInt(&padding, c.kernel.group, q, int16(z))
	}
	k, groups := c.in/c.p.Groups, c.p.In/c.p.Groups
	for i := range n {
		s := src[i*in:][:in]
		c.run(pl, bias, dst[i*out:][:out], rest, pool, func(worker int, ch *convChunk, channel int, copied []int32) {
			first := channel % groups * c.kernel.group // within the group of the convolution
			count := min(c.kernel.group, k-first)
			from, size := s[(channel/groups*k+first)*h*w+ch.from*w:], (ch.to-ch.from)*w
			if pl.whole() {
				interleave(c.kernel, copied, from, h*w, size, count, flip)
				return
			}
			pad(pl, ch, copied, padding)
			if size > 0 {
				plane := planes[worker*h*w:][:size]
				interleave(c.kernel, plane, from, h*w, size, count, flip)
				split(pl, ch, c.kernel, copied, plane)
			}
		})
	}
}

// interleave sets each of n groups to the bytes of count rows that are stride bytes apart, with some bits flipped. What it leaves
// in the rest of a group is multiplied with zero.
func interleave[T Integer](kernel *microkernel, dst []int32, src []T, stride, n, count int, flip uint8) {
	group := kernel.group
	if count == group {
		bits := uint32(flip) * 0x01010101
		if group == 2 {
			bits = uint32(flip) * 0x00010001
		}
		_ = src[(count-1)*stride+n-1]
		if interleaveFast(kernel, dst, unsafe.Pointer(&src[0]), n, stride, bits) {
			return
		}
	}
	for j := range n {
		dst[j] = 0
		for q := range count {
			putInt(&dst[j], group, q, int16(uint8(src[q*stride+j])^flip))
		}
	}
}
