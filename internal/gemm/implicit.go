package gemm

import (
	"sync/atomic"
	"unsafe"

	"github.com/onnxopt/onnxopt/internal/par"
)

// A convCore multiplies weights with the matrix of all windows of an input, whose rows are read from a padded copy of it. T is
// the type of the results; the copy and the weights hold what the kernel multiplies, which has the same size.
type convCore[T float32 | int32] struct {
	p       ConvParams // with In in elements of the copy
	kernel  *microkernel
	weights []*PackedA[T] // by group
	repeat  int           // how often a row of weights goes through the windows
	bias    []T           // of each group, zero-padded to whole tiles
	biasLen int           // from one group's bias to the next
	last    atomic.Pointer[convPlan]
}

func (c *convCore[T]) setBias(bias []T) {
	m := c.p.Out / c.p.Groups
	c.biasLen = roundUp(m, c.kernel.mr())
	c.bias = make([]T, c.p.Groups*c.biasLen)
	if bias != nil {
		for g := range c.p.Groups {
			copy(c.bias[g*c.biasLen:], bias[g*m:][:m])
		}
	}
}

// scratch returns the elements that run needs.
func (c *convCore[T]) scratch(pl *convPlan, workers int) int {
	copies := 1
	if pl.apart(workers) {
		copies = workers
	}
	return copies*pl.copyLen() + workers*pl.outLen
}

// apart reports whether each of several workers takes chunks of its own, or all work on one chunk.
func (pl *convPlan) apart(workers int) bool { return workers > 1 && len(pl.chunks) >= 2*workers }

// run computes all output channels of one image. Load copies one channel of a chunk.
func (c *convCore[T]) run(pl *convPlan, bias, dst, scratch []T, pool *par.Pool, load func(worker int, ch *convChunk, channel int, copied []T)) {
	workers, size := pool.Workers(), pl.copyLen()
	chunk := func(worker int, ch *convChunk, copied, outs []T, pool *par.Pool) {
		pool.For(c.p.In, moveGrain(c.p.In, pl.channel, pool), func(w, lo, hi int) {
			for i := lo; i < hi; i++ {
				load(worker+w, ch, i, copied[i*pl.channel:][:pl.channel])
			}
		})
		c.multiply(pl, ch, bias, dst, copied, outs, pool)
	}
	if !pl.apart(workers) {
		for i := range pl.chunks {
			chunk(0, &pl.chunks[i], scratch[:size], scratch[size:], pool)
		}
		return
	}
	outs := scratch[workers*size:]
	pool.For(len(pl.chunks), 1, func(w, lo, hi int) {
		for i := lo; i < hi; i++ {
			chunk(w, &pl.chunks[i], scratch[w*size:][:size], outs[w*pl.outLen:], nil)
		}
	})
}

// moveGrain is the grain of a loop that moves n pieces of so many elements each: a few ranges for each worker, none of them so
// small that taking it costs more than moving it.
func moveGrain(n, each int, pool *par.Pool) int {
	const least = 1 << 12
	w := 4 * pool.Workers()
	return max((n+w-1)/w, least/max(each, 1), 1)
}

// multiply computes a chunk's rows of all output channels from the copy; outs is scratch for each worker.
func (c *convCore[T]) multiply(pl *convPlan, ch *convChunk, bias, dst, copied, outs []T, pool *par.Pool) {
	m, k := c.p.Out/c.p.Groups, c.p.In/c.p.Groups
	across := (ch.rows + pl.band - 1) / pl.band
	each := pl.outRows
	if workers := pool.Workers(); workers > 1 { // blocks enough to keep all workers busy to the end
		each = min(each, roundUp((m*across*c.p.Groups+4*workers-1)/(4*workers), c.kernel.mr()))
	}
	down := (m + each - 1) / each
	pool.For(c.p.Groups*across*down, 1, func(worker, lo, hi int) {
		t := &tile{single: m == 1}
		setClamp(t, T(c.p.Lo), T(c.p.Hi))
		for x := lo; x < hi; x++ {
			g, y, i := x/(across*down), x/down%across*pl.band, x%down*each
			rows := min(each, m-i)
			b := convBlock[T]{conv: c, bias: bias[g*c.biasLen:], plan: pl, group: g, y: ch.y + y, height: min(pl.band, ch.rows-y), row: i, rows: rows}
			b.in = copied[g*k*pl.channel+y*pl.wq:]
			b.run(t, dst[(g*m+i)*pl.oh*pl.ow:][:rows*pl.oh*pl.ow], outs[worker*pl.outLen:][:pl.outLen])
		}
	})
}

// A convBlock is some output channels of one group over a band of output rows.
type convBlock[T float32 | int32] struct {
	conv      *convCore[T]
	plan      *convPlan
	group     int
	y, height int
	row, rows int // output channels within the group
	bias      []T // of the group
	in        []T // the copy of the group's input, from the band's first row on
}

// run computes the block into dst, which begins with the block's first channel. Where the copy's rows are wider than the
// result's and the band is computed together, the columns between output rows are computed, too, into buffer, and dropped.
func (b *convBlock[T]) run(t *tile, dst, buffer []T) {
	pl := b.plan
	plane := pl.oh * pl.ow
	if !pl.buffered() {
		b.product(t, dst[b.y*pl.ow:], plane)
		return
	}
	stride := roundUp((b.height-1)*pl.wq+pl.ow, 8)
	b.product(t, buffer, stride)
	for r := range b.rows {
		compact(b.conv.kernel, dst[r*plane+b.y*pl.ow:][:b.height*pl.ow], buffer[r*stride:], b.height, pl.ow, pl.wq)
	}
}

// product computes the block's channels, which are stride apart in out.
func (b *convBlock[T]) product(t *tile, out []T, stride int) {
	pl, kernel, a := b.plan, b.conv.kernel, b.conv.weights[b.group]
	mr, nr := kernel.mr(), kernel.nr()
	runs, cols := b.height, pl.ow
	if pl.together {
		runs, cols = 1, (b.height-1)*pl.wq+pl.ow
	}
	t.aRow, t.aStep, t.cRow = 4, 4*mr, 4*stride
	for p0 := 0; p0 < a.k; p0 += blockK {
		t.k = min(blockK, a.k-p0)
		t.offsets = &pl.offsets[p0]
		t.flags, t.rowBias = 0, nil
		if p0 > 0 {
			t.flags |= flagAccumulate
		}
		last := p0+t.k == a.k
		if last && b.conv.p.Clamp {
			t.flags |= flagClamp
		}
		for i := 0; i < b.rows; i += mr {
			row := b.row + i
			t.a = unsafe.Pointer(&a.data[row*a.k+p0*mr])
			if last {
				t.rowBias = unsafe.Pointer(&b.bias[row])
			}
			for y := range runs {
				for q := 0; q < cols; q += nr {
					t.b = unsafe.Pointer(&b.in[y*pl.wq+q])
					t.c = unsafe.Pointer(&out[i*stride+y*pl.ow+q])
					kernel.run(t, min(mr, b.rows-i), min(nr, cols-q))
				}
			}
		}
	}
}
