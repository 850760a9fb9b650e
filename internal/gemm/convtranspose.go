package gemm

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/par"
)

// A ConvTranspose is a float32 transposed convolution (the gradient of a convolution with respect to its input) over
// channel-first images. It may be used by several goroutines at once.
//
// The product of the weights, a row for each output channel and kernel position, with the input is computed in bands of the
// input's rows, and each of its rows is added to where the result has that position.
type ConvTranspose struct {
	p      ConvParams
	bias   []float32 // of each output channel
	blocks []transposeBlock
}

// A transposeBlock is some output channels of a group: a is [channels x kernel positions][In/Groups].
type transposeBlock struct {
	group, first, channels int
	a                      *PackedA[float32]
	bias                   []float32 // a row of a each
}

// transposeRows is about how many rows of weights a block has.
const transposeRows = 96

// NewConvTranspose prepares a transposed convolution. Weights are [In][Out/Groups][kernel height][kernel width]; bias is nil or
// has Out elements. Padding is what the result lacks at its edges.
func NewConvTranspose(p ConvParams, weights, bias []float32) (*ConvTranspose, error) {
	return newConvTranspose(float32Best, p, weights, bias)
}

func newConvTranspose(kernel *microkernel, p ConvParams, weights, bias []float32) (*ConvTranspose, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	taps, in, out := p.Kernel[0]*p.Kernel[1], p.In/p.Groups, p.Out/p.Groups
	if taps > math.MaxInt32 || len(weights) != p.In*out*taps || (bias != nil && len(bias) != p.Out) {
		return nil, errors.New("gemm: weights or bias of a transposed convolution do not fit its channels")
	}
	c := &ConvTranspose{p: p, bias: make([]float32, p.Out)}
	copy(c.bias, bias)
	each := max(1, transposeRows/taps)
	for g := range p.Groups {
		w := RowMajor(weights[g*in*out*taps:][:in*out*taps], in, out*taps).T()
		for first := 0; first < out; first += each {
			b := transposeBlock{group: g, first: first, channels: min(each, out-first)}
			rows := View[float32]{Data: w.Data[first*taps:], Rows: b.channels * taps, Cols: in, RowStride: 1, ColStride: out * taps}
			b.a = packA(kernel, rows)
			for i := range b.channels * taps {
				b.bias = append(b.bias, c.bias[g*out+first+i/taps])
			}
			b.bias = padded(b.bias, len(b.bias), kernel.mr(), "row")
			c.blocks = append(c.blocks, b)
		}
	}
	return c, nil
}

// band returns how many rows of an input of width w are multiplied at a time.
func (c *ConvTranspose) band(h, w int) int { return min(h, max(1, blockN/w)) }

// Scratch returns how many elements Run needs for images of height h and width w with so many workers.
func (c *ConvTranspose) Scratch(h, w, workers int) int {
	if h == 0 || w == 0 {
		return 0
	}
	return workers * c.each(h, w)
}

func (c *ConvTranspose) each(h, w int) int {
	n := c.band(h, w) * w
	most := 0
	for i := range c.blocks {
		b := &c.blocks[i]
		most = max(most, b.a.rows*n+scratchLen(b.a.kernel, b.a.rows, n, b.a.k, 1))
	}
	return most
}

// Run computes n images of oh by ow from images of height h and width w. Src is [n][In][h][w], dst is [n][Out][oh][ow] and does
// not overlap it; what no input reaches is the bias. Scratch is used if it is at least Scratch(h, w, pool.Workers()) long.
func (c *ConvTranspose) Run(dst, src []float32, n, h, w, oh, ow int, scratch []float32, pool *par.Pool) {
	p := &c.p
	in, out := p.In*h*w, p.Out*oh*ow
	if len(src) < n*in || len(dst) < n*out {
		panic(fmt.Sprintf("gemm: transposed convolution of %d images of %dx%d with %d elements into %d", n, h, w, len(src), len(dst)))
	}
	if need := c.Scratch(h, w, pool.Workers()); len(scratch) < need {
		scratch = make([]float32, need)
	}
	covered := p.Kernel == p.Stride && p.Dilation == [2]int{1, 1} && p.Pad == [4]int{} && oh == h*p.Stride[0] && ow == w*p.Stride[1] && in > 0
	for i := range n {
		t := transposing{c: c, dst: dst[i*out:][:out], src: src[i*in:][:in], h: h, w: w, oh: oh, ow: ow, covered: covered}
		t.run(scratch, pool)
	}
}

// transposing is the work on one image. Covered says that every element of the result has exactly one kernel position.
type transposing struct {
	c            *ConvTranspose
	dst, src     []float32
	h, w, oh, ow int
	covered      bool
}

func (t *transposing) run(scratch []float32, pool *par.Pool) {
	c, p := t.c, &t.c.p
	plane := t.oh * t.ow
	if !t.covered {
		pool.For(p.Out, moveGrain(p.Out, plane, pool), func(_, lo, hi int) {
			for o := lo; o < hi; o++ {
				setAll(t.dst[o*plane:][:plane], c.bias[o])
			}
		})
	}
	if len(t.src) > 0 && plane > 0 {
		band, each := c.band(t.h, t.w), c.each(t.h, t.w)
		bands := (t.h + band - 1) / band
		together := bands // how many bands one worker takes: those that add to the same rows
		if (p.Kernel[0]-1)*p.Dilation[0] < p.Stride[0] {
			together = 1
		}
		pool.For(len(c.blocks)*bands, together, func(worker, lo, hi int) {
			for x := lo; x < hi; x++ {
				y := x % bands * band
				t.band(&c.blocks[x/bands], y, min(y+band, t.h), scratch[worker*each:][:each])
			}
		})
	}
	if p.Clamp && !t.covered {
		pool.For(p.Out, moveGrain(p.Out, plane, pool), func(_, lo, hi int) {
			part := t.dst[lo*plane : hi*plane]
			Clip(part, part, p.Lo, p.Hi)
		})
	}
}

// band adds what rows y0 to y1 of the input contribute to the channels of a block.
func (t *transposing) band(b *transposeBlock, y0, y1 int, scratch []float32) {
	p := &t.c.p
	in, out := p.In/p.Groups, p.Out/p.Groups
	n, rows := (y1-y0)*t.w, b.a.rows
	src := View[float32]{Data: t.src[b.group*in*t.h*t.w+y0*t.w:], Rows: in, Cols: n, RowStride: t.h * t.w, ColStride: 1}
	patch := scratch[:rows*n]
	o := Options[float32]{Scratch: scratch[len(patch):]}
	if t.covered {
		o.RowBias, o.Clamp, o.Lo, o.Hi = b.bias, p.Clamp, p.Lo, p.Hi
	}
	product(b.a.kernel, RowMajor(patch, rows, n), operandA[float32]{packed: b.a}, operandB[float32]{view: src}, o)
	plane := t.oh * t.ow
	for ch := range b.channels {
		dst := t.dst[(b.group*out+b.first+ch)*plane:][:plane]
		for ky := range p.Kernel[0] {
			row := patch[(ch*p.Kernel[0]+ky)*p.Kernel[1]*n:][:p.Kernel[1]*n]
			for y := y0; y < y1; y++ {
				at := y*p.Stride[0] + ky*p.Dilation[0] - p.Pad[0]
				if at < 0 || at >= t.oh {
					continue
				}
				t.scatter(dst[at*t.ow:][:t.ow], row[(y-y0)*t.w:], n)
			}
		}
	}
}

// scatter adds one row of the input, by kernel column, to a row of the result. Columns of the patch are n apart.
func (t *transposing) scatter(dst, patch []float32, n int) {
	p := &t.c.p
	s := p.Stride[1]
	if t.covered && s == 2 {
		a, b := patch[:t.w], patch[n:][:t.w]
		for x, v := range a {
			dst[2*x] = v
			dst[2*x+1] = b[x]
		}
		return
	}
	for kx := range p.Kernel[1] {
		lo, hi := inside(t.w, t.ow, kx*p.Dilation[1]-p.Pad[1], s)
		if lo == hi {
			continue
		}
		from, to := patch[kx*n+lo:][:hi-lo], dst[lo*s+kx*p.Dilation[1]-p.Pad[1]:]
		switch {
		case t.covered:
			for x, v := range from {
				to[x*s] = v
			}
		case s == 1:
			Add(to[:len(from)], to, from)
		default:
			for x, v := range from {
				to[x*s] += v
			}
		}
	}
}
