package native

import (
	"slices"
	"sync"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// convTranspose evaluates ConvTranspose over one or two spatial axes. One axis is a picture of height 1.
type convTranspose struct {
	strides, dilations, pads []int64 // empty: the default
	kernel                   []int64
	extra, want              []int64 // output_padding, output_shape
	group                    int64
	auto                     string
	weights, bias            *ir.Tensor // nil where they are not constant
	limits                   *limits    // of the node that follows

	mu     sync.Mutex
	params gemm.ConvParams
	ready  *gemm.ConvTranspose // for params and the constant weights
}

func prepareConvTranspose(s *site) executor {
	c := &convTranspose{strides: s.Ints("strides"), dilations: s.Ints("dilations"), pads: s.Ints("pads"), kernel: s.Ints("kernel_shape"),
		extra: s.Ints("output_padding"), want: s.Ints("output_shape"), group: s.Int("group", 1), auto: s.Str("auto_pad", "NOTSET")}
	c.weights = s.constant(1)
	if s.given(2) {
		c.bias = s.constant(2)
	}
	if l, ok := s.following(); ok {
		c.limits = &l
	}
	return c.run
}

// fit gives the parameters, and the size of the result, for an input and weights; false where the kernel must say what is an
// error and what is empty.
func (c *convTranspose) fit(x, w *ir.Tensor) (p gemm.ConvParams, out [2]int, ok bool) {
	xs, ws := x.Shape(), w.Shape()
	n := len(xs) - 2
	fits := func(l []int64, n int, least int64) bool {
		return len(l) == 0 || len(l) == n && slices.Min(l) >= least && slices.Max(l) < 1<<31
	}
	if n < 1 || n > 2 || len(ws) != len(xs) || slices.Min(xs) < 1 || slices.Min(ws) < 1 || slices.Max(xs) >= 1<<31 || slices.Max(ws) >= 1<<31 ||
		c.group < 1 || c.group >= 1<<31 || ws[0] != xs[1] || xs[1]%c.group != 0 || len(c.kernel) > 0 && !slices.Equal(c.kernel, ws[2:]) ||
		!fits(c.strides, n, 1) || !fits(c.dilations, n, 1) || !fits(c.pads, 2*n, 0) || !fits(c.extra, n, 0) || len(c.want) > 0 && len(c.want) < n {
		return p, out, false
	}
	at := func(l []int64, i int, otherwise int) int {
		if len(l) == 0 {
			return otherwise
		}
		return int(l[i])
	}
	p = gemm.ConvParams{In: int(xs[1]), Out: int(ws[1] * c.group), Groups: int(c.group),
		Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
	out[0] = 1
	for i := range n {
		a := 2 - n + i
		p.Kernel[a], p.Stride[a], p.Dilation[a] = int(ws[2+i]), at(c.strides, i, 1), at(c.dilations, i, 1)
		in := int(xs[2+i])
		full := p.Stride[a]*(in-1) + at(c.extra, i, 0) + (p.Kernel[a]-1)*p.Dilation[a] + 1
		share := func() { // of what the result lacks; the odd one goes behind for SAME_UPPER
			total := max(0, full-out[a])
			p.Pad[a], p.Pad[a+2] = total-total/2, total/2
			if c.auto == "SAME_UPPER" {
				p.Pad[a], p.Pad[a+2] = p.Pad[a+2], p.Pad[a]
			}
		}
		switch {
		case len(c.want) > 0:
			out[a] = int(c.want[len(c.want)-n+i])
			share()
		case c.auto == "SAME_UPPER" || c.auto == "SAME_LOWER":
			out[a] = in * p.Stride[a]
			share()
		case c.auto == "NOTSET" || c.auto == "":
			p.Pad[a], p.Pad[a+2] = at(c.pads, i, 0), at(c.pads, n+i, 0)
			out[a] = full - p.Pad[a] - p.Pad[a+2]
		case c.auto == "VALID":
			out[a] = full
		default:
			return p, out, false
		}
		if out[a] < 1 || out[a] >= 1<<31 {
			return p, out, false
		}
	}
	if c.limits != nil {
		p.Clamp, p.Lo, p.Hi = true, c.limits.lo, c.limits.hi
	}
	return p, out, true
}

// prepared arranges weights for the kernels; the last arrangement of constant ones is kept.
func (c *convTranspose) prepared(p gemm.ConvParams, weights, bias []float32, constant bool) *gemm.ConvTranspose {
	if constant {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ready != nil && c.params == p {
			return c.ready
		}
	}
	ready, err := gemm.NewConvTranspose(p, weights, bias)
	if err != nil {
		return nil
	}
	if constant {
		c.params, c.ready = p, ready
	}
	return ready
}

func (c *convTranspose) run(t *task) (*ir.Tensor, bool) {
	x, v, ok := t.float(0)
	w, weights, okW := t.float(1)
	if !ok || !okW {
		return nil, false
	}
	p, size, ok := c.fit(x, w)
	if !ok {
		return nil, false
	}
	var b *ir.Tensor
	var bias []float32
	if len(t.in) > 2 && t.in[2] != nil {
		if b, bias, ok = t.float(2); !ok || !slices.Equal(b.Shape(), []int64{int64(p.Out)}) {
			return nil, false
		}
	}
	ready := c.prepared(p, weights, bias, w == c.weights && b == c.bias)
	if ready == nil {
		return nil, false
	}
	h, wide := 1, int(x.Shape()[x.Rank()-1])
	shape := []int64{x.Shape()[0], int64(p.Out), int64(size[1])}
	if x.Rank() == 4 {
		h = int(x.Shape()[2])
		shape = []int64{shape[0], shape[1], int64(size[0]), shape[2]}
	}
	dst, ok := t.alloc(shape)
	if !ok {
		return nil, false
	}
	in, out := len(v)/int(shape[0]), len(dst)/int(shape[0])
	if !t.images(int(shape[0]), func(workers int) int { return ready.Scratch(h, wide, workers) }, func(i int, scratch []float32, pool *par.Pool) {
		ready.Run(dst[i*out:][:out], v[i*in:][:in], 1, h, wide, size[0], size[1], scratch, pool)
	}) {
		t.done(dst)
		return nil, false
	}
	if c.limits != nil {
		t.markLimited()
	}
	return result(dst, shape)
}
