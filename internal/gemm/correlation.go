package gemm

import (
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// A Correlation is a convolution whose kernel is about as large as the picture: few positions, each the sum of many terms. The derivative of
// a convolution by its kernel is one, over the picture with channels in place of the batch. Unlike Conv it arranges the kernels for each run.
// At each position the product of the pictures [N, terms] with the kernels [terms, M] is a sum over channels and lines; tiles
// read the pictures where they are in a padded copy, so that no matrix of what a kernel sees is made.
type Correlation struct {
	p           ConvParams
	batch, h, w int
	oh, ow      int
	lines       int // of a kernel that are multiplied at a time
	rows, pitch int // of the copy of a picture
	parts       int // into which the channels of a group are divided, each with sums of its own
	band, bands int // pictures of a unit of work, and how many such there are
	kernel      *microkernel
	offsets     []int // in bytes, of the terms of a block within the copy
}

// Sizes of a block: terms of a sum, and elements of the copy, which stay in the second-level cache. Then how many units of work there are to be,
// and how many sums in all at most for parts of channels. Divisions follow from sizes alone, so that the result does not depend on the number of workers.
const (
	correlationTerms = 1024
	correlationCopy  = 1 << 16
	correlationUnits = 8
	correlationSums  = 1 << 20
	correlationRows  = 12 // bands are whole tiles of every kernel set
)

// NewCorrelation plans the convolution of a batch of pictures of h by w elements; limits in p are ignored.
func NewCorrelation(p ConvParams, batch, h, w int) *Correlation {
	return newCorrelation(float32Best, p, batch, h, w)
}

func newCorrelation(kernel *microkernel, p ConvParams, batch, h, w int) *Correlation {
	c := &Correlation{p: p, batch: batch, h: h, w: w, kernel: kernel}
	c.oh, c.ow = p.OutputSize(h, w)
	c.pitch = w + p.Pad[1] + p.Pad[3]
	sums := max(p.Groups*c.sums(), 1)
	units := (correlationUnits + p.Groups - 1) / p.Groups
	c.parts = max(1, min(units, p.In/p.Groups, correlationSums/sums))
	bands := (units + c.parts - 1) / c.parts
	c.band = min(roundUp((batch+bands-1)/bands, correlationRows), batch)
	c.bands = (batch + c.band - 1) / c.band
	seen := func(lines int) int { return (lines-1)*p.Dilation[0] + (c.oh-1)*p.Stride[0] + 1 }
	c.lines = min(p.Kernel[0], max(1, correlationTerms/p.Kernel[1]))
	for c.lines > 1 && c.band*seen(c.lines)*c.pitch > correlationCopy {
		c.lines--
	}
	blocks := (p.Kernel[0] + c.lines - 1) / c.lines
	c.lines = (p.Kernel[0] + blocks - 1) / blocks
	c.rows = seen(c.lines)
	c.offsets = make([]int, 0, c.lines*p.Kernel[1])
	for i := range c.lines {
		for j := range p.Kernel[1] {
			c.offsets = append(c.offsets, kernel.elem*(i*p.Dilation[0]*c.pitch+j*p.Dilation[1]))
		}
	}
	return c
}

// sums is the number of sums of a part of a group.
func (c *Correlation) sums() int { return c.batch * c.oh * c.ow * (c.p.Out / c.p.Groups) }

// copyLen is the size of the copy: kernels read their full height.
func (c *Correlation) copyLen() int { return roundUp(c.band, c.kernel.mr()) * c.rows * c.pitch }

// units are pieces of work: pictures of a band and channels of a part of a group.
func (c *Correlation) units() int { return c.p.Groups * c.parts * c.bands }

// Scratch returns how many elements Run needs.
func (c *Correlation) Scratch(workers int) int {
	panels := roundUp(c.p.Out/c.p.Groups, c.kernel.nr()) * len(c.offsets)
	return c.p.Groups*c.parts*c.sums() + min(workers, c.units())*(c.copyLen()+panels)
}

// Run convolves x [batch, In, h, w] with kernels [Out, In/Groups, kh, kw] to dst [batch, Out, oh, ow]. Go on is asked between blocks.
func (c *Correlation) Run(dst, x, kernels, scratch []float32, pool *par.Pool, goOn func() bool) {
	n := c.sums()
	sums, scratch := scratch[:c.p.Groups*c.parts*n], scratch[c.p.Groups*c.parts*n:]
	each := len(scratch) / min(pool.Workers(), c.units())
	in := c.p.In / c.p.Groups
	pool.For(c.units(), 1, func(worker, lo, hi int) {
		s := scratch[worker*each:][:each]
		for u := lo; u < hi; u++ {
			i, from := u/c.bands, u%c.bands*c.band
			g, first, last := i/c.parts, i%c.parts*in/c.parts, (i%c.parts+1)*in/c.parts
			b := correlationBlock{Correlation: c, from: from, to: min(from+c.band, c.batch), copied: s[:c.copyLen()], panels: s[c.copyLen():], sums: sums[i*n:][:n]}
			for channel := first; channel < last; channel++ {
				for line := 0; line < c.p.Kernel[0] && goOn(); line += c.lines {
					b.add(g, channel, line, x, kernels, channel > first || line > 0)
				}
			}
		}
	})
	m, plane := c.p.Out/c.p.Groups, c.oh*c.ow
	pool.For(c.p.Groups*c.batch, 1, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			g, b := i/c.batch, i%c.batch
			sum := sums[g*c.parts*n:][b*plane*m:][:plane*m]
			for part := 1; part < c.parts; part++ {
				Add(sum, sum, sums[(g*c.parts+part)*n:][b*plane*m:][:plane*m])
			}
			Transpose(dst[(b*c.p.Out+g*m)*plane:], sum, plane, m, plane, m)
		}
	})
}

// A correlationBlock is the work on some pictures with what it needs.
type correlationBlock struct {
	*Correlation
	from, to             int       // pictures
	copied, panels, sums []float32 // sums of all pictures [batch, oh·ow, M]
}

// add adds the terms of some lines of a channel of a group to the sums, or begins with them.
func (c *correlationBlock) add(g, channel, line int, x, kernels []float32, more bool) {
	p, nr := &c.p, c.kernel.nr()
	in, m, kw := p.In/p.Groups, p.Out/p.Groups, p.Kernel[1]
	k := min(c.lines, p.Kernel[0]-line) * kw
	c.load(g*in+channel, line, x)
	w := View[float32]{Data: kernels[(g*m*in+channel)*p.Kernel[0]*kw+line*kw:], Rows: k, Cols: m, RowStride: 1, ColStride: in * p.Kernel[0] * kw}
	packBlockB(c.panels, c.kernel, w, 0, k, 0, m)
	plane := c.oh * c.ow
	tiles := (c.to - c.from + c.kernel.mr() - 1) / c.kernel.mr()
	high := min(roundUp((c.to-c.from+tiles-1)/tiles, 4), c.kernel.mr()) // alike, so that none is low
	t := &tile{onA: true, aRow: 4 * c.rows * c.pitch, bStep: 4 * nr, cRow: 4 * plane * m}
	for p0 := 0; p0 < k; p0 += blockK {
		t.k, t.offsets = min(blockK, k-p0), &c.offsets[p0]
		if more || p0 > 0 {
			t.flags = flagAccumulate
		}
		for q := 0; q < m; q += nr {
			t.b = unsafe.Pointer(&c.panels[q*k+p0*nr])
			for o := range plane {
				at := o/c.ow*p.Stride[0]*c.pitch + o%c.ow*p.Stride[1]
				for b := c.from; b < c.to; b += high {
					t.a = unsafe.Pointer(&c.copied[(b-c.from)*c.rows*c.pitch+at])
					t.c = unsafe.Pointer(&c.sums[(b*plane+o)*m+q])
					c.kernel.run(t, min(high, c.to-b), min(nr, m-q))
				}
			}
		}
	}
}

// load copies what kernels see of a channel from one of their lines on, with the padding.
func (c *correlationBlock) load(channel, line int, x []float32) {
	p := &c.p
	for b := c.from; b < c.to; b++ {
		plane := x[(b*p.In+channel)*c.h*c.w:][:c.h*c.w]
		for r := range c.rows {
			row := c.copied[((b-c.from)*c.rows+r)*c.pitch:][:c.pitch]
			i := line*p.Dilation[0] - p.Pad[0] + r
			if i < 0 || i >= c.h {
				clear(row)
				continue
			}
			clear(row[:p.Pad[1]])
			copy(row[p.Pad[1]:], plane[i*c.w:][:c.w])
			clear(row[p.Pad[1]+c.w:])
		}
	}
}
