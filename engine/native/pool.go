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

// A reduction combines the elements of each window: fold combines vectors element by element, and finish, if not nil, completes
// rows of results, of which the first is row y.
type reduction struct {
	neutral float32
	fold    func(dst, a, b []float32)
	finish  func(rows []float32, y int)
}

// executor reduces windows; reduce returns the reduction for pictures of a height and width.
func (p *pooling) executor(reduce func(h, w, oh, ow int) reduction) executor {
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
		r := reduce(h, w, oh, ow)
		scratches := make([][]float32, t.pool.Workers())
		t.pool.For(int(s[0]*s[1]), max(1, grain/(h*w)), func(worker, from, to int) {
			if scratches[worker] == nil {
				scratches[worker] = p.newScratch(r, w, oh, ow)
			}
			scratch := scratches[worker]
			for i := from; i < to; i++ {
				if t.frame.run.ctx.Err() != nil {
					return // the step reports it
				}
				p.plane(r, scratch, dst[i*oh*ow:][:oh*ow], v[i*h*w:][:h*w], h, w, oh, ow)
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
	// NaN wins, and a window of padding alone gives -Inf.
	return p.executor(func(_, _, _, _ int) reduction {
		return reduction{neutral: float32(math.Inf(-1)), fold: gemm.Maximum}
	})
}

// paddedWidth is the number of columns, padding included, that the windows of a row of ow cover.
func (p *pooling) paddedWidth(ow int) int {
	return (ow-1)*p.stride[1] + (p.kernel[1]-1)*p.dilation[1] + 1
}

// band is how many rows of results are computed at a time: so many that calls are long, so few that they stay in the cache.
func (p *pooling) band(w, oh, ow int) int { return min(oh, max(1, 4096/max(w, p.paddedWidth(ow)))) }

// newScratch makes three buffers for [pooling.plane], of which the second is full of neutral: its padding stays that.
func (p *pooling) newScratch(r reduction, w, oh, ow int) []float32 {
	each := p.band(w, oh, ow) * max(w, p.paddedWidth(ow))
	scratch := make([]float32, 3*each)
	fill(scratch[each:2*each], r.neutral)
	return scratch
}

// plane reduces the windows of a plane of h rows and w columns, in bands of rows: the rows of the windows are folded into one
// each, and over these the columns are, at every place, of which the stride picks some.
func (p *pooling) plane(r reduction, scratch, dst, src []float32, h, w, oh, ow int) {
	band, wide := p.band(w, oh, ow), p.paddedWidth(ow)
	each := len(scratch) / 3
	lines, folded := scratch[each:][:each], scratch[2*each:]
	pad := min(p.pad[1], wide)
	inner := min(wide-pad, w)
	for y := 0; y < oh; y += band {
		n := min(band, oh-y)
		rows := scratch[:n*w]
		p.foldRows(r, rows, src, y, h, w)
		for i := range n {
			copy(lines[i*wide+pad:][:inner], rows[i*w:])
		}
		all := lines
		if d := p.dilation[1]; p.kernel[1] > 1 {
			all = folded[:(n-1)*wide+(ow-1)*p.stride[1]+1]
			r.fold(all, lines, lines[d:])
			for k := 2; k < p.kernel[1]; k++ {
				r.fold(all, all, lines[k*d:])
			}
		}
		out := dst[y*ow:][:n*ow]
		for i := range n {
			row, from := out[i*ow:][:ow], all[i*wide:]
			if p.stride[1] == 1 {
				copy(row, from)
				continue
			}
			for j := range row {
				row[j] = from[j*p.stride[1]]
			}
		}
		if r.finish != nil {
			r.finish(out, y)
		}
	}
}

// foldRows folds the rows of src in the windows of rows y, y+1, ... of results into the rows of dst, each w wide.
func (p *pooling) foldRows(r reduction, dst, src []float32, y, h, w int) {
	n := len(dst) / w
	if p.stride[0] > 1 {
		for i := range n {
			start, from, to := p.span(y+i, h, 0)
			row := func(k int) []float32 { return src[(start+k*p.dilation[0])*w:][:w] }
			out := dst[i*w:][:w]
			switch {
			case from >= to:
				fill(out, r.neutral)
			case from+1 == to:
				copy(out, row(from))
			default:
				r.fold(out, row(from), row(from+1))
			}
			for k := from + 2; k < to; k++ {
				r.fold(out, out, row(k))
			}
		}
		return
	}
	// Row k of the window of result row y+i is row shift(k)+i of src. One that is inside for all of them comes first.
	shift := func(k int) int { return y - p.pad[0] + k*p.dilation[0] }
	done := min(p.kernel[0]-1, max(0, (p.pad[0]-y+p.dilation[0]-1)/p.dilation[0]))
	if first := shift(done); first >= 0 && first+n <= h {
		copy(dst, src[first*w:])
	} else {
		fill(dst, r.neutral)
		done = -1
	}
	for k := range p.kernel[0] {
		first := shift(k)
		if from, to := max(0, -first), min(n, h-first); from < to && k != done {
			out := dst[from*w : to*w]
			r.fold(out, out, src[(first+from)*w:])
		}
	}
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

func prepareAveragePool(s *site) executor {
	p, ok := newPooling(s)
	if !ok {
		return nil
	}
	withPad := s.Int("count_include_pad", 0) != 0
	return p.executor(func(h, w, oh, ow int) reduction {
		counts := p.counts(h, w, oh, ow, withPad)
		return reduction{fold: gemm.Add, finish: func(rows []float32, y int) { gemm.Div(rows, rows, counts[y*ow:]) }}
	})
}

// counts are how many elements the window of each result has, padding among them or not.
func (p *pooling) counts(h, w, oh, ow int, withPad bool) []float32 {
	counts, columns := make([]float32, oh*ow), make([]int, ow)
	for x := range columns {
		_, x0, x1 := p.span(x, w, 1)
		columns[x] = max(0, x1-x0)
	}
	for y := range oh {
		_, y0, y1 := p.span(y, h, 0)
		for x, n := range columns {
			if withPad {
				counts[y*ow+x] = float32(p.kernel[0] * p.kernel[1])
			} else {
				counts[y*ow+x] = float32(n * max(0, y1-y0))
			}
		}
	}
	return counts
}

// prepareGlobalPool folds all spatial axes.
func prepareGlobalPool(f folding) prepare {
	return func(*site) executor {
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
			t.reduce(f, dst, v, len(v)/len(dst), 1)
			return result(dst, shape)
		}
	}
}
