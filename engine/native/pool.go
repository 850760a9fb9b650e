package native

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// pooling is a pooling over two spatial axes; the padding is given, not derived.
type pooling struct {
	kernel, stride, dilation [2]int
	pad                      [4]int // top, left, bottom, right
}

// newPooling reads the attributes; false where a kernel of ops/kernel must serve.
func newPooling(s *site) (p pooling, ok bool) {
	pair := func(name string) (r [2]int, ok bool) {
		r = [2]int{1, 1}
		l := s.Ints(name)
		if len(l) == 0 {
			return r, name != "kernel_shape"
		}
		if len(l) != 2 || slices.Min(l) < 1 || slices.Max(l) > 1<<16 {
			return r, false
		}
		return [2]int{int(l[0]), int(l[1])}, true
	}
	if auto := s.Str("auto_pad", "NOTSET"); auto != "NOTSET" && auto != "" || s.Int("ceil_mode", 0) != 0 {
		return p, false
	}
	var okK, okS, okD bool
	p.kernel, okK = pair("kernel_shape")
	p.stride, okS = pair("strides")
	p.dilation, okD = pair("dilations")
	pads := s.Ints("pads")
	if !okK || !okS || !okD || len(pads) != 0 && (len(pads) != 4 || slices.Min(pads) < 0 || slices.Max(pads) > 1<<16) {
		return p, false
	}
	for i, n := range pads {
		p.pad[i] = int(n)
	}
	return p, true
}

// output is the size of the result for a picture of n rows or columns along axis i, 0 if the window does not fit.
func (p *pooling) output(n, i int) int {
	rest := n + p.pad[i] + p.pad[i+2] - (p.kernel[i]-1)*p.dilation[i] - 1
	if rest < 0 {
		return 0
	}
	return rest/p.stride[i] + 1
}

// span is where window o begins along axis i, and which of its elements lie inside the n there are.
func (p *pooling) span(o, n, i int) (start, from, to int) {
	start, d := o*p.stride[i]-p.pad[i], p.dilation[i]
	if start < 0 {
		from = (-start + d - 1) / d
	}
	if start < n {
		to = min(p.kernel[i], (n-1-start)/d+1)
	}
	return start, min(from, to), to
}

// planeFunc reduces the windows of a plane of h rows and w columns. Scratch holds twice the columns that a row of windows covers.
type planeFunc func(scratch, dst, src []float32, h, w, oh, ow int)

func (p *pooling) executor(f planeFunc) executor {
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.float(0)
		if !ok || x.Rank() != 4 || len(v) == 0 {
			return nil, false
		}
		s := x.Shape()
		h, w := int(s[2]), int(s[3])
		oh, ow := p.output(h, 0), p.output(w, 1)
		if oh == 0 || ow == 0 {
			return nil, false
		}
		shape := []int64{s[0], s[1], int64(oh), int64(ow)}
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		t.pool.For(int(s[0]*s[1]), max(1, grain/(h*w)), func(_, from, to int) {
			scratch := make([]float32, 2*p.paddedWidth(ow))
			for i := from; i < to; i++ {
				if t.frame.run.ctx.Err() != nil {
					return // the step reports it
				}
				f(scratch, dst[i*oh*ow:][:oh*ow], v[i*h*w:][:h*w], h, w, oh, ow)
			}
		})
		return result(dst, shape)
	}
}

func prepareMaxPool(s *site) executor {
	p, ok := newPooling(s)
	if !ok {
		return nil
	}
	return p.executor(p.maxPlane)
}

// maxPlane takes the greatest element of each window; NaN wins, and a window of padding alone gives -Inf. The rows of a window
// are folded into one, over which the columns are then folded: at every place, of which the stride picks some.
func (p *pooling) maxPlane(scratch, dst, src []float32, h, w, oh, ow int) {
	places := (ow-1)*p.stride[1] + 1
	padded, folded := scratch[:p.paddedWidth(ow)], scratch[p.paddedWidth(ow):][:places]
	for i := range padded {
		padded[i] = float32(math.Inf(-1))
	}
	pad := min(p.pad[1], len(padded))
	inner := padded[pad:]
	inner = inner[:min(len(inner), w)]
	for y := range oh {
		start, from, to := p.span(y, h, 0)
		row := func(k int) []float32 { return src[(start+k*p.dilation[0])*w:][:w] }
		if from >= to {
			for i := range inner {
				inner[i] = float32(math.Inf(-1))
			}
		} else {
			copy(inner, row(from))
		}
		for k := from + 1; k < to; k++ {
			gemm.Maximum(inner, inner, row(k))
		}
		out := dst[y*ow:][:ow]
		if p.stride[1] == 1 {
			folded = out
		}
		copy(folded, padded)
		for k := 1; k < p.kernel[1]; k++ {
			gemm.Maximum(folded, folded, padded[k*p.dilation[1]:])
		}
		if s := p.stride[1]; s > 1 {
			for i := range out {
				out[i] = folded[i*s]
			}
		}
	}
}

// paddedWidth is the number of columns, padding included, that the windows of a row of ow cover.
func (p *pooling) paddedWidth(ow int) int {
	return (ow-1)*p.stride[1] + (p.kernel[1]-1)*p.dilation[1] + 1
}

func prepareAveragePool(s *site) executor {
	p, ok := newPooling(s)
	if !ok {
		return nil
	}
	withPad := s.Int("count_include_pad", 0) != 0
	return p.executor(func(_, dst, src []float32, h, w, oh, ow int) { p.averagePlane(dst, src, h, w, oh, ow, withPad) })
}

// averagePlane is the mean of each window, summed in float64 in row-major order as the kernel does.
func (p *pooling) averagePlane(dst, src []float32, h, w, oh, ow int, withPad bool) {
	for y := range oh {
		top, y0, y1 := p.span(y, h, 0)
		for x := range ow {
			left, x0, x1 := p.span(x, w, 1)
			sum, n := 0.0, max(0, y1-y0)*max(0, x1-x0)
			for j := y0; j < y1 && x0 < x1; j++ {
				row := src[(top+j*p.dilation[0])*w:][:w]
				if p.dilation[1] == 1 {
					for _, e := range row[left+x0 : left+x1] {
						sum += float64(e)
					}
					continue
				}
				for i := x0; i < x1; i++ {
					sum += float64(row[left+i*p.dilation[1]])
				}
			}
			if withPad {
				n = p.kernel[0] * p.kernel[1]
			}
			dst[y*ow+x] = float32(sum / float64(n))
		}
	}
}

func prepareGlobalAveragePool(*site) executor {
	return func(t *task) (*ir.Tensor, bool) {
		x, v, ok := t.float(0)
		if !ok || x.Rank() < 3 || len(v) == 0 {
			return nil, false
		}
		shape := slices.Clone(x.Shape())
		for i := range shape[2:] {
			shape[i+2] = 1
		}
		dst, ok := t.alloc(shape)
		if !ok {
			return nil, false
		}
		n := len(v) / len(dst)
		t.pool.For(len(dst), max(1, grain/n), func(_, from, to int) {
			for i := from; i < to; i++ {
				sum := 0.0
				for _, e := range v[i*n:][:n] {
					sum += float64(e)
				}
				dst[i] = float32(sum / float64(n))
			}
		})
		return result(dst, shape)
	}
}
