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

// multiply computes all output channels of one image from the copy; outs is scratch for each worker.
func (c *convCore[T]) multiply(pl *convPlan, bias, dst, copied, outs []T, pool *par.Pool) {
	m, k := c.p.Out/c.p.Groups, c.p.In/c.p.Groups
	down, across := (m+pl.outRows-1)/pl.outRows, (pl.oh+pl.band-1)/pl.band
	pool.For(c.p.Groups*across*down, 1, func(worker, lo, hi int) {
		t := &tile{single: m == 1}
		setClamp(t, T(c.p.Lo), T(c.p.Hi))
		for x := lo; x < hi; x++ {
			g, y, i := x/(across*down), x/down%across*pl.band, x%down*pl.outRows
			rows := min(pl.outRows, m-i)
			b := convBlock[T]{conv: c, bias: bias[g*c.biasLen:], plan: pl, group: g, y: y, height: min(pl.band, pl.oh-y), row: i, rows: rows}
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
// result's, it computes the columns between them, too, into buffer, and drops them.
func (b *convBlock[T]) run(t *tile, dst, buffer []T) {
	pl := b.plan
	cols := (b.height-1)*pl.wq + pl.ow
	plane := pl.oh * pl.ow
	if pl.wq == pl.ow {
		b.product(t, dst[b.y*pl.ow:], plane, cols)
		return
	}
	stride := roundUp(cols, 8)
	b.product(t, buffer, stride, cols)
	for r := range b.rows {
		compact(b.conv.kernel, dst[r*plane+b.y*pl.ow:][:b.height*pl.ow], buffer[r*stride:], b.height, pl.ow, pl.wq)
	}
}

func (b *convBlock[T]) product(t *tile, out []T, stride, cols int) {
	kernel, a := b.conv.kernel, b.conv.weights[b.group]
	mr, nr := kernel.mr(), kernel.nr()
	t.aRow, t.aStep, t.cRow = 4, 4*mr, 4*stride
	for p0 := 0; p0 < a.k; p0 += blockK {
		t.k = min(blockK, a.k-p0)
		t.offsets = &b.plan.offsets[p0]
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
			for q := 0; q < cols; q += nr {
				t.b = unsafe.Pointer(&b.in[q])
				t.c = unsafe.Pointer(&out[i*stride+q])
				kernel.run(t, min(mr, b.rows-i), min(nr, cols-q))
			}
		}
	}
}
