package native

import (
	"slices"
	"sync"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// conv evaluates Conv over one or two spatial axes. One axis is a picture of height 1.
type conv struct {
	strides, dilations, pads []int64 // empty: the default
	kernel                   []int64 // attribute kernel_shape, empty if it is absent
	group                    int64
	auto                     string
	weights, bias            *ir.Tensor // nil where they are not constant
	limits                   *limits    // of the node that follows, or its own activation
	own                      bool       // the limits are its own
	arranged                 *arranged

	mu     sync.Mutex
	params gemm.ConvParams
	ready  *gemm.Conv // for params and the constant weights
}

// newConv reads the attributes.
func newConv(s *site) *conv {
	c := &conv{strides: s.Ints("strides"), dilations: s.Ints("dilations"), pads: s.Ints("pads"), kernel: s.Ints("kernel_shape"), arranged: s.arranged,
		group: s.Int("group", 1), auto: s.Str("auto_pad", "NOTSET")}
	if c.auto == "VALID" {
		c.auto, c.pads = "NOTSET", nil
	}
	return c
}

func prepareConv(s *site) executor { return prepareConvOf(s, nil) }

// prepareFusedConv is FusedConv of com.microsoft with an activation that limits, and nothing that is added.
func prepareFusedConv(s *site) executor {
	l := relu()
	switch p := s.Attr("activation_params").Floats(); s.Str("activation", "") {
	case "Relu":
	case "Clip":
		if len(p) != 2 || !(p[0] <= p[1]) {
			return nil
		}
		l.lo, l.hi = p[0], p[1]
	default:
		return nil
	}
	if s.given(3) {
		return nil
	}
	return prepareConvOf(s, &l)
}

func prepareConvOf(s *site, fusedLimits *limits) executor {
	c := newConv(s)
	c.weights = s.constant(1)
	if s.given(2) {
		c.bias = s.constant(2)
	}
	if c.limits = fusedLimits; c.limits != nil {
		c.own = true
	} else if l, ok := s.following(); ok {
		c.limits = &l
	}
	if c.weights != nil && (c.bias != nil || !s.given(2)) && c.auto == "NOTSET" && len(c.weights.Shape()) > 2 {
		// Padding is known without the input, and so is everything else.
		if p, ok := c.geometry(nil, c.weights.Shape()); ok {
			ready := c.prepared(p, c.weights, c.bias)
			if h, w, known := pictureSize(s.Operand(0).Type()); ready != nil && known {
				ready.Prepare(h, w)
			}
		}
	}
	return c.run
}

// pictureSize is the height and width of tensors of a type, if it says them.
func pictureSize(t *ir.Type) (h, w int, known bool) {
	shape, ok := t.TensorShape().Ints()
	if !ok || len(shape) < 3 || len(shape) > 4 || slices.Max(shape) >= 1<<31 {
		return 0, 0, false
	}
	h = 1
	if len(shape) == 4 {
		h = int(shape[2])
	}
	return h, int(shape[len(shape)-1]), true
}

// geometry are the parameters for an input with the given spatial sizes, which count where padding depends on them.
func (c *conv) geometry(spatial, ws []int64) (p gemm.ConvParams, ok bool) {
	n := len(ws) - 2
	fits := func(l []int64, n int, least int64) bool {
		return len(l) == 0 || len(l) == n && slices.Min(l) >= least && slices.Max(l) < 1<<31
	}
	if n < 1 || n > 2 || c.group < 1 || ws[0] < 1 || ws[1] < 1 || ws[0]%c.group != 0 || slices.Min(ws) < 1 || slices.Max(ws) > 1<<31 ||
		!fits(c.strides, n, 1) || !fits(c.dilations, n, 1) || !fits(c.pads, 2*n, 0) || len(c.kernel) > 0 && !slices.Equal(c.kernel, ws[2:]) {
		return p, false
	}
	p = gemm.ConvParams{In: int(ws[1] * c.group), Out: int(ws[0]), Groups: int(c.group),
		Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
	for i := range n {
		at := 2 - n + i
		p.Kernel[at] = int(ws[2+i])
		if len(c.strides) > 0 {
			p.Stride[at] = int(c.strides[i])
		}
		if len(c.dilations) > 0 {
			p.Dilation[at] = int(c.dilations[i])
		}
		switch {
		case c.auto == "SAME_UPPER" || c.auto == "SAME_LOWER":
			in := int(spatial[i])
			out := (in + p.Stride[at] - 1) / p.Stride[at]
			total := max(0, (out-1)*p.Stride[at]+(p.Kernel[at]-1)*p.Dilation[at]+1-in)
			p.Pad[at], p.Pad[at+2] = total/2, total-total/2
			if c.auto == "SAME_LOWER" {
				p.Pad[at], p.Pad[at+2] = p.Pad[at+2], p.Pad[at]
			}
		case len(c.pads) > 0:
			p.Pad[at], p.Pad[at+2] = int(c.pads[i]), int(c.pads[n+i])
		}
	}
	if c.limits != nil {
		p.Clamp, p.Lo, p.Hi = true, c.limits.lo, c.limits.hi
	}
	return p, c.auto == "NOTSET" || c.auto == "" || c.auto == "SAME_UPPER" || c.auto == "SAME_LOWER"
}

// prepared arranges weights for the kernels; the last arrangement of constant ones is kept.
func (c *conv) prepared(p gemm.ConvParams, weights, bias *ir.Tensor) *gemm.Conv {
	constant := weights == c.weights && bias == c.bias
	if constant {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ready != nil && c.params == p {
			return c.ready
		}
	}
	w, err := ir.Elements[float32](weights)
	if err != nil {
		return nil
	}
	var b []float32
	if bias != nil {
		if b, err = ir.Elements[float32](bias); err != nil {
			return nil
		}
	}
	ready, err := gemm.NewConv(p, w, b)
	if err != nil {
		return nil
	}
	if constant {
		if c.ready == nil || !ready.Share(c.ready) {
			c.arranged.conv(weights, ready)
		}
		c.params, c.ready = p, ready
	}
	return ready
}

// fitted are the sizes of one evaluation: the input's picture and the result.
type fitted struct {
	height, width int
	shape         []int64
}

// fit checks an input against the weights; false where the kernel must say what is an error and what is empty.
func (c *conv) fit(x, w *ir.Tensor) (p gemm.ConvParams, f fitted, ok bool) {
	if x.Rank() != w.Rank() || x.Rank() < 3 || x.Shape()[1] != w.Shape()[1]*c.group {
		return p, f, false
	}
	spatial := x.Shape()[2:]
	if p, ok = c.geometry(spatial, w.Shape()); !ok {
		return p, f, false
	}
	f.height, f.width = 1, int(spatial[len(spatial)-1])
	if len(spatial) == 2 {
		f.height = int(spatial[0])
	}
	oh, ow := p.OutputSize(f.height, f.width)
	f.shape = []int64{x.Shape()[0], w.Shape()[0], int64(oh), int64(ow)}
	if len(spatial) == 1 {
		f.shape = []int64{f.shape[0], f.shape[1], f.shape[3]}
	}
	return p, f, oh > 0 && ow > 0
}

// images calls run for each of n images with scratch memory, false if there is too little of it: one image after another on all workers, or
// where there are enough each worker with images of its own, which then waits for no other. An end of the context is left to the step to
// report.
func (t *task) images(n int, need func(workers int) int, run func(i int, scratch []float32, pool *par.Pool)) bool {
	workers := t.pool.Workers()
	if workers > 1 && (n >= 4*workers || n%workers == 0) {
		each := need(1)
		if scratch, ok := t.scratch(each * workers); ok {
			t.pool.For(n, 1, func(worker, lo, hi int) {
				for i := lo; i < hi && t.frame.run.ctx.Err() == nil; i++ {
					run(i, scratch[worker*each:][:each], nil)
				}
			})
			t.done(scratch)
			return true
		}
	}
	scratch, ok := t.scratch(need(workers))
	if !ok {
		return false
	}
	for i := 0; i < n && t.frame.run.ctx.Err() == nil; i++ {
		run(i, scratch, t.pool)
	}
	t.done(scratch)
	return true
}

func (c *conv) run(t *task) (*ir.Tensor, bool) {
	x, v, ok := t.float(0)
	w, _, okW := t.float(1)
	if !ok || !okW || len(v) == 0 {
		return nil, false
	}
	var bias *ir.Tensor
	if len(t.in) > 2 && t.in[2] != nil {
		if bias, _, ok = t.float(2); !ok || !slices.Equal(bias.Shape(), w.Shape()[:1]) {
			return nil, false
		}
	}
	p, f, ok := c.fit(x, w)
	if !ok {
		return nil, false
	}
	if bias == nil && !c.own && correlates(p, f) {
		_, kernels, _ := t.float(1)
		return t.correlate(p, f, v, kernels)
	}
	ready := c.prepared(p, w, bias)
	if ready == nil {
		return nil, false
	}
	dst, ok := t.alloc(f.shape)
	if !ok {
		return nil, false
	}
	in, out := len(v)/int(f.shape[0]), len(dst)/int(f.shape[0])
	if !t.images(int(f.shape[0]), func(workers int) int { return ready.Scratch(f.height, f.width, workers) }, func(i int, scratch []float32, pool *par.Pool) {
		ready.Run(dst[i*out:][:out], v[i*in:][:in], 1, f.height, f.width, scratch, pool)
	}) {
		t.done(dst)
		return nil, false
	}
	if c.limits != nil && !c.own {
		t.markLimited()
	}
	return result(dst, f.shape)
}
