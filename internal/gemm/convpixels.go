package gemm

import (
	"sync"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// Small images fill few vectors: of the 49 pixels of a 7x7 one, 64 are computed. There the product is transposed: rows are
// pixels and columns are output channels. The sums are the same, in the same order.

// pixelWeights are a convolution's weights as right operands, by group, with the bias, padded to whole tiles.
type pixelWeights struct {
	once   sync.Once
	groups []*PackedB[float32]
	bias   []float32
	stride int // from one group's bias to the next
}

func (c *Conv) pixelWeights() *pixelWeights {
	p := &c.pixels
	p.once.Do(func() {
		m, k := c.p.Out/c.p.Groups, len(c.raw)/c.p.Out
		p.stride = roundUp(m, c.kernel.nr())
		p.bias = make([]float32, c.p.Groups*p.stride)
		w := c.given
		w.columns.Do(func() {
			for g := range c.p.Groups {
				w.right = append(w.right, packB(c.kernel, RowMajor(c.raw[g*m*k:][:m*k], m, k).T()))
			}
		})
		p.groups = w.right
		for g := range c.p.Groups {
			copy(p.bias[g*p.stride:][:m], c.bias[g*c.biasLen:])
		}
	})
	return p
}

// byPixels reports whether an image of so many pixels, columns between output rows included, takes fewer multiplications if
// rows are pixels. Other is the cost of a row of output channels otherwise, in multiplications of vectors.
func (c *Conv) byPixels(pixels, other int) bool {
	if pixels == 1 {
		return true
	}
	if pixels > blockN {
		return false
	}
	m, k := c.p.Out/c.p.Groups, len(c.raw)/c.p.Out
	lanes := c.kernel.lanes
	mine := c.kernel.height(pixels)*tileCost(m, k, lanes) + pixels*roundUp(m, lanes)/lanes*perVector
	return mine+mine/32 < c.kernel.height(m)*other
}

// height returns for how many rows tiles compute that hold n of them.
func (m *microkernel) height(n int) int {
	rest := n % m.mr()
	h := n - rest
	if rest > 0 {
		i := len(m.rows) - 1
		for m.rows[i] < rest || m.rows[i] == 1 {
			i--
		}
		h += m.rows[i]
	}
	return h
}

// pointwisePixels reports whether runPointwisePixels is the better for an image of n pixels.
func (c *Conv) pointwisePixels(n int) bool {
	return c.byPixels(n, tileCost(n, len(c.raw)/c.p.Out, c.kernel.lanes))
}

func (c *Conv) pointwisePixelsScratch(n, workers int) int {
	m, k := c.p.Out/c.p.Groups, c.p.In/c.p.Groups
	return c.groupScratch(workers, func(workers int) int { return n*m + scratchLen(c.kernel, n, m, k, workers) })
}

func (c *Conv) runPointwisePixels(dst, src []float32, n int, scratch []float32, pool *par.Pool) {
	m, k := c.p.Out/c.p.Groups, c.p.In/c.p.Groups
	w := c.pixelWeights()
	c.overGroups(scratch, pool, func(g int, scratch []float32, pool *par.Pool) {
		rows, scratch := scratch[:n*m], scratch[n*m:]
		product(c.kernel, RowMajor(rows, n, m), operandA[float32]{view: RowMajor(src[g*k*n:][:k*n], k, n).T()}, operandB[float32]{packed: w.groups[g]},
			Options[float32]{ColBias: w.bias[g*w.stride:][:w.stride], Clamp: c.p.Clamp, Lo: c.p.Lo, Hi: c.p.Hi, Pool: pool, Scratch: scratch})
		out := dst[g*m*n:][:m*n]
		pool.For(m, moveGrain(m, n, pool), func(_, lo, hi int) { Transpose(out[lo*n:], rows[lo:], n, hi-lo, n, m) })
	})
}

// pixels is the number of rows of the product for a plan, columns between output rows included.
func (pl *convPlan) pixels() int { return (pl.oh-1)*pl.wq + pl.ow }

func (c *Conv) pixelsScratch(pl *convPlan, workers int) int {
	return pl.copyLen() + workers*pl.pixels()*c.kernel.nr()
}

func (c *Conv) runPixels(pl *convPlan, dst, src []float32, scratch []float32, pool *par.Pool) {
	m, nr := c.p.Out/c.p.Groups, c.kernel.nr()
	copied, buffers := scratch[:pl.copyLen()], scratch[pl.copyLen():]
	pool.For(c.p.In, moveGrain(c.p.In, pl.channel, pool), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			c.load(pl, &pl.chunks[0], copied[i*pl.channel:][:pl.channel], src[i*pl.h*pl.w:][:pl.h*pl.w])
		}
	})
	w := c.pixelWeights()
	panels, each := (m+nr-1)/nr, pl.pixels()*nr
	pool.For(c.p.Groups*panels, 1, func(worker, lo, hi int) {
		t := &tile{single: pl.pixels() == 1, onA: true}
		setClamp(t, c.p.Lo, c.p.Hi)
		buffer := buffers[worker*each:][:each]
		for x := lo; x < hi; x++ {
			g, first := x/panels, x%panels*nr
			c.pixelPanel(t, pl, w, g, first, copied, buffer)
			for y := range pl.oh {
				out := dst[((g*m+first)*pl.oh+y)*pl.ow:]
				Transpose(out, buffer[y*pl.wq*nr:], pl.ow, min(nr, m-first), pl.oh*pl.ow, nr)
			}
		}
	})
}

// pixelPanel computes a tile's width of output channels, from first on, for all pixels.
func (c *Conv) pixelPanel(t *tile, pl *convPlan, w *pixelWeights, g, first int, copied, buffer []float32) {
	mr, nr := c.kernel.mr(), c.kernel.nr()
	in, b := copied[g*(c.p.In/c.p.Groups)*pl.channel:], w.groups[g]
	pixels := pl.pixels()
	t.aRow, t.bStep, t.cRow = 4, 4*nr, 4*nr
	for p0 := 0; p0 < b.k; p0 += blockK {
		t.k = min(blockK, b.k-p0)
		t.offsets = &pl.offsets[p0]
		t.b = unsafe.Pointer(&b.data[first*b.k+p0*nr])
		t.flags, t.colBias = 0, nil
		if p0 > 0 {
			t.flags |= flagAccumulate
		}
		if p0+t.k == b.k {
			t.colBias = unsafe.Pointer(&w.bias[g*w.stride+first])
			if c.p.Clamp {
				t.flags |= flagClamp
			}
		}
		for i := 0; i < pixels; i += mr {
			t.a, t.c = unsafe.Pointer(&in[i]), unsafe.Pointer(&buffer[i*nr])
			c.kernel.run(t, min(mr, pixels-i), nr)
		}
	}
}
