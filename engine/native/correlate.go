package native

import (
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// A convolution whose kernel is about as large as the picture has few positions, and sums of many terms: the derivative of a
// convolution by its kernel is one, over the picture with channels in place of the batch. Its result is the product of the
// pictures as the kernels see them [N·oh·ow, C·kh·kw], all pictures of the batch below each other, with the kernels [C·kh·kw, M], so that a
// kernel is read once for them all; what they see is copied by stretches of about correlateDepth terms, which stay in the cache.

const correlateDepth = 256

// correlates reports whether the sizes are of this kind. Limits of a node that follows are left to it.
func correlates(p gemm.ConvParams, f fitted) bool {
	oh, ow := p.OutputSize(f.height, f.width)
	kernel := p.Kernel[0] * p.Kernel[1]
	return kernel >= 16 && oh*ow <= kernel && f.shape[0] > 1
}

// correlation is one such evaluation.
type correlation struct {
	p       gemm.ConvParams
	f       fitted
	oh, ow  int
	x, w, y []float32
}

// block is how many pictures are multiplied at a time. It depends on sizes alone, so that the sums do not depend on threads.
func (c *correlation) block(batch int) int {
	blocks := 2
	if batch*c.oh*c.ow >= 288 {
		blocks = max(4, batch*c.oh*c.ow/288)
	}
	return max(1, (batch+blocks-1)/blocks)
}

// correlate evaluates it; false where memory is short.
func (t *task) correlate(p gemm.ConvParams, f fitted, x, w []float32) (*ir.Tensor, bool) {
	c := &correlation{p: p, f: f, x: x, w: w}
	c.oh, c.ow = p.OutputSize(f.height, f.width)
	batch := int(f.shape[0])
	size := c.block(batch)
	blocks := (batch + size - 1) / size
	lines := max(1, correlateDepth/p.Kernel[1])
	m, cols, depth := p.Out/p.Groups, size*c.oh*c.ow, min(lines, p.Kernel[0])*p.Kernel[1]
	product := gemm.Scratch[float32](cols, m, depth, 1)
	each := cols*depth + m*cols + product
	workers := min(t.pool.Workers(), blocks*p.Groups)
	dst, ok := t.alloc(f.shape)
	if !ok {
		return nil, false
	}
	scratch, ok := t.scratch(each * workers)
	if !ok {
		t.done(dst)
		return nil, false
	}
	c.y = dst
	t.pool.For(blocks*p.Groups, 1, func(worker, lo, hi int) {
		s := scratch[worker*each:][:each]
		for i := lo; i < hi && t.frame.run.ctx.Err() == nil; i++ {
			from := i / p.Groups * size
			c.run(i%p.Groups, from, min(from+size, batch), lines, s[:cols*depth], s[cols*depth:][:m*cols], s[cols*depth+m*cols:])
		}
	})
	t.done(scratch)
	return result(dst, f.shape)
}

// run is a group of the pictures from..to. Seen holds a row of terms for each position, sum a row of kernels for each: positions are more, and
// fill the tiles of the product.
func (c *correlation) run(group, from, to, lines int, seen, sum, scratch []float32) {
	p := &c.p
	in, m, kh, kw := p.In/p.Groups, p.Out/p.Groups, p.Kernel[0], p.Kernel[1]
	cols := (to - from) * c.oh * c.ow
	for channel := range in {
		for line := 0; line < kh; line += lines {
			n := min(lines, kh-line) * kw
			for b := from; b < to; b++ {
				plane := c.x[(b*p.In+group*in+channel)*c.f.height*c.f.width:][:c.f.height*c.f.width]
				for o := range c.oh * c.ow {
					c.see(seen[((b-from)*c.oh*c.ow+o)*n:][:n], plane, o/c.ow, o%c.ow, line)
				}
			}
			k := gemm.View[float32]{Data: c.w[group*m*in*kh*kw+(channel*kh+line)*kw:], Rows: m, Cols: n, RowStride: in * kh * kw, ColStride: 1}
			gemm.Gemm(gemm.RowMajor(sum, cols, m), gemm.RowMajor(seen, cols, n), k.T(),
				gemm.Options[float32]{Accumulate: channel > 0 || line > 0, Scratch: scratch})
		}
	}
	plane := c.oh * c.ow
	for b := from; b < to; b++ {
		gemm.Transpose(c.y[(b*p.Out+group*m)*plane:], sum[(b-from)*plane*m:], plane, m, plane, m)
	}
}

// see copies what the kernel at (oi, oj) sees of a plane, from a line of the kernel on.
func (c *correlation) see(dst, plane []float32, oi, oj, line int) {
	p, kw := &c.p, c.p.Kernel[1]
	left := oj*p.Stride[1] - p.Pad[1]
	for ; len(dst) > 0; dst, line = dst[kw:], line+1 {
		row := dst[:kw]
		i := oi*p.Stride[0] - p.Pad[0] + line*p.Dilation[0]
		if i < 0 || i >= c.f.height {
			clear(row)
			continue
		}
		src, d := plane[i*c.f.width:][:c.f.width], p.Dilation[1]
		from := 0
		for from < kw && left+from*d < 0 {
			from++
		}
		to := min(kw, (c.f.width-left+d-1)/d)
		clear(row[:from])
		clear(row[max(from, to):])
		if d == 1 {
			if from < to {
				copy(row[from:to], src[left+from:])
			}
			continue
		}
		for j := from; j < to; j++ {
			row[j] = src[left+j*d]
		}
	}
}
