package gemm

import (
	"errors"
	"fmt"
	"sync"

	"github.com/onnxopt/onnxopt/internal/par"
)

// ConvParams describe a two-dimensional convolution as ONNX's Conv does; a one-dimensional one has height, kernel, stride and
// dilation 1 in the first dimension. Pairs are height, width.
type ConvParams struct {
	In, Out, Groups          int // channels
	Kernel, Stride, Dilation [2]int
	Pad                      [4]int // top, left, bottom, right
	Clamp                    bool   // limit the result to Lo..Hi; NaN stays
	Lo, Hi                   float32
}

func (p *ConvParams) check() error {
	if p.In < 1 || p.Out < 1 || p.Groups < 1 || p.In%p.Groups != 0 || p.Out%p.Groups != 0 {
		return fmt.Errorf("gemm: convolution of %d to %d channels in %d groups", p.In, p.Out, p.Groups)
	}
	for i := range 2 {
		if p.Kernel[i] < 1 || p.Stride[i] < 1 || p.Dilation[i] < 1 || p.Pad[i] < 0 || p.Pad[i+2] < 0 {
			return errors.New("gemm: convolution with kernel, stride or dilation below 1, or negative padding")
		}
	}
	return nil
}

// OutputSize returns the height and width of the result for an input of height h and width w, or zeros where the kernel is
// larger than the padded input.
func (p *ConvParams) OutputSize(h, w int) (oh, ow int) {
	size := func(n, i int) int {
		free := n + p.Pad[i] + p.Pad[i+2] - (p.Kernel[i]-1)*p.Dilation[i] - 1
		if free < 0 {
			return 0
		}
		return free/p.Stride[i] + 1
	}
	return size(h, 0), size(w, 1)
}

// A Conv is a float32 convolution over channel-first images with weights arranged for its kernels. It may be used by several
// goroutines at once.
type Conv struct {
	convCore[float32]
	raw    []float32 // the weights as given
	given  *convWeights
	rows   sync.Once // takes what is arranged as rows
	pixels pixelWeights
}

// convWeights are weights in the arrangements that were needed so far; several convolutions may have them.
type convWeights struct {
	rows, columns sync.Once
	left          []*PackedA[float32] // by group: rows are output channels
	right         []*PackedB[float32] // by group: columns are output channels
}

// Share lets c use the arranged weights of d, and reports whether it can: both were made with the same slice of weights, for as
// many channels and groups.
func (c *Conv) Share(d *Conv) bool {
	if len(c.raw) != len(d.raw) || &c.raw[0] != &d.raw[0] || c.p.Out != d.p.Out || c.p.Groups != d.p.Groups || c.kernel != d.kernel {
		return false
	}
	c.given = d.given
	return true
}

// NewConv prepares a convolution. Weights are [Out][In/Groups][kernel height][kernel width], and stay in use; bias is nil or has
// Out elements.
func NewConv(p ConvParams, weights, bias []float32) (*Conv, error) {
	return newConv(float32Best, p, weights, bias)
}

func newConv(kernel *microkernel, p ConvParams, weights, bias []float32) (*Conv, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	k := p.In / p.Groups * p.Kernel[0] * p.Kernel[1]
	if len(weights) != p.Out*k || (bias != nil && len(bias) != p.Out) {
		return nil, fmt.Errorf("gemm: convolution with %d weights and %d biases for %d x %d", len(weights), len(bias), p.Out, k)
	}
	c := &Conv{convCore: convCore[float32]{p: p, kernel: kernel, repeat: 1}, raw: weights, given: &convWeights{}}
	c.setBias(bias)
	return c, nil
}

// Prepare arranges the weights for images of height h and width w, which is otherwise left to the first run.
func (c *Conv) Prepare(h, w int) {
	oh, ow := c.OutputSize(h, w)
	switch {
	case c.depthwise() || oh == 0 || ow == 0:
	case c.pointwise() && c.pointwisePixels(h*w) || !c.pointwise() && c.plan(h, w, 1).byPixels:
		c.pixelWeights()
	default:
		c.arrangeRows()
	}
}

func (c *Conv) arrangeRows() {
	w := c.given
	w.rows.Do(func() {
		m, k := c.p.Out/c.p.Groups, len(c.raw)/c.p.Out
		for g := range c.p.Groups {
			w.left = append(w.left, packA(c.kernel, RowMajor(c.raw[g*m*k:][:m*k], m, k)))
		}
	})
	c.rows.Do(func() { c.weights = w.left })
}

// depthwise reports whether each output channel reads one input channel.
func (c *Conv) depthwise() bool { return c.p.In == c.p.Groups && c.p.Groups > 1 }

// pointwise reports whether the convolution is a matrix product as it stands.
func (c *Conv) pointwise() bool {
	p := &c.p
	return p.Kernel == [2]int{1, 1} && p.Stride == [2]int{1, 1} && p.Pad == [4]int{}
}

// OutputSize is [ConvParams.OutputSize].
func (c *Conv) OutputSize(h, w int) (oh, ow int) { return c.p.OutputSize(h, w) }

// Scratch returns how many elements Run needs for images of height h and width w with so many workers.
func (c *Conv) Scratch(h, w, workers int) int {
	if oh, ow := c.OutputSize(h, w); oh == 0 || ow == 0 {
		return 0
	}
	if c.pointwise() && !c.depthwise() {
		if c.pointwisePixels(h * w) {
			return c.pointwisePixelsScratch(h*w, workers)
		}
		return c.groupScratch(workers, func(workers int) int {
			return scratchLen(c.kernel, c.p.Out/c.p.Groups, h*w, c.p.In/c.p.Groups, workers)
		})
	}
	pl := c.plan(h, w, workers)
	if c.depthwise() {
		return workers * pl.depthwiseLen()
	}
	if pl.byPixels {
		return c.pixelsScratch(pl, workers)
	}
	return c.scratch(pl, workers)
}

// Run computes dst = clamp(conv(src) + bias) for n images of height h and width w. Src is [n][In][h][w], dst is
// [n][Out][oh][ow] and does not overlap it. Scratch is used if it is at least Scratch(h, w, pool.Workers()) long; otherwise
// Run allocates.
func (c *Conv) Run(dst, src []float32, n, h, w int, scratch []float32, pool *par.Pool) {
	oh, ow := c.OutputSize(h, w)
	in, out := c.p.In*h*w, c.p.Out*oh*ow
	if n == 0 || out == 0 {
		return
	}
	if len(src) < n*in || len(dst) < n*out {
		panic(fmt.Sprintf("gemm: convolution of %d images of %dx%d with %d elements into %d", n, h, w, len(src), len(dst)))
	}
	if need := c.Scratch(h, w, pool.Workers()); len(scratch) < need {
		scratch = make([]float32, need)
	}
	for i := range n {
		d, s := dst[i*out:][:out], src[i*in:][:in]
		switch {
		case c.depthwise():
			c.runDepthwise(d, s, h, w, scratch, pool)
		case c.pointwise() && c.pointwisePixels(h*w):
			c.runPointwisePixels(d, s, h*w, scratch, pool)
		case c.pointwise():
			c.runPointwise(d, s, h*w, scratch, pool)
		case c.plan(h, w, pool.Workers()).byPixels:
			c.runPixels(c.plan(h, w, pool.Workers()), d, s, scratch, pool)
		default:
			c.runImplicit(d, s, h, w, scratch, pool)
		}
	}
}

func (c *Conv) runPointwise(dst, src []float32, n int, scratch []float32, pool *par.Pool) {
	m, k := c.p.Out/c.p.Groups, c.p.In/c.p.Groups
	c.arrangeRows()
	c.overGroups(scratch, pool, func(g int, scratch []float32, pool *par.Pool) {
		product(c.kernel, RowMajor(dst[g*m*n:][:m*n], m, n), operandA[float32]{packed: c.weights[g]},
			operandB[float32]{view: RowMajor(src[g*k*n:][:k*n], k, n)},
			Options[float32]{RowBias: c.bias[g*c.biasLen:][:c.biasLen], Clamp: c.p.Clamp, Lo: c.p.Lo, Hi: c.p.Hi, Pool: pool, Scratch: scratch})
	})
}

// byGroups reports whether each of several workers takes groups of its own: together they would wait for each other after every
// group.
func (c *Conv) byGroups(workers int) bool {
	return workers > 1 && c.p.Groups > 1 && (c.p.Groups >= 4*workers || c.p.Groups%workers == 0)
}

// groupScratch is what overGroups needs where one group needs so much with so many workers.
func (c *Conv) groupScratch(workers int, one func(workers int) int) int {
	if c.byGroups(workers) {
		return workers * one(1)
	}
	return one(workers)
}

// overGroups calls f for each group.
func (c *Conv) overGroups(scratch []float32, pool *par.Pool, f func(g int, scratch []float32, pool *par.Pool)) {
	if !c.byGroups(pool.Workers()) {
		for g := range c.p.Groups {
			f(g, scratch, pool)
		}
		return
	}
	each := len(scratch) / pool.Workers()
	pool.For(c.p.Groups, 1, func(worker, lo, hi int) {
		for g := lo; g < hi; g++ {
			f(g, scratch[worker*each:][:each], nil)
		}
	})
}

func (c *Conv) runImplicit(dst, src []float32, h, w int, scratch []float32, pool *par.Pool) {
	pl := c.plan(h, w, pool.Workers())
	c.arrangeRows()
	c.run(pl, c.bias, dst, scratch, pool, func(_ int, ch *convChunk, channel int, copied []float32) {
		c.load(pl, ch, copied, src[channel*h*w:][:h*w])
	})
}

// load copies a chunk of one channel.
func (c *Conv) load(pl *convPlan, ch *convChunk, copied, channel []float32) {
	pad(pl, ch, copied, 0)
	split(pl, ch, c.kernel, copied, channel[ch.from*pl.w:ch.to*pl.w])
}

// plan is that of the core, with the choice of what rows are.
func (c *Conv) plan(h, w, workers int) *convPlan {
	return c.planWith(h, w, workers, func(pl *convPlan) {
		pl.byPixels = !c.depthwise() && len(pl.chunks) == 1 && c.byPixels(pl.pixels(), pl.cost)
	})
}
