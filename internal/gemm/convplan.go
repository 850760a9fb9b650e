package gemm

import (
	"math"
	"unsafe"
)

// A convPlan is what a convolution derives from the input's size.
//
// The input is copied with padding, and split by stride: of each channel, the rows and columns whose index has the same
// remainder by the stride form a plane of hq rows, wq apart, so that for every kernel position the inputs of consecutive outputs
// are consecutive in one plane, whatever the stride. Output (y, x) is column y*wq+x of the product. The padding after one row is
// also that before the next.
//
// A large copy is made and used in parts, each for a chunk of output rows.
type convPlan struct {
	h, w, oh, ow int
	workers      int
	p            *ConvParams
	hq, wq       int
	chunkRows    int // output rows of a chunk
	chunks       []convChunk
	plane        int   // elements of a plane
	channel      int   // elements of a channel's planes
	slack        int   // elements that kernels may read past the last plane
	offsets      []int // bytes from an output's first input, by channel of a group and kernel position
	band         int   // output rows of a block, which divide a chunk
	together     bool  // as one run of columns
	outRows      int   // output channels of a block
	cost         int   // of an output channel of a chunk, in multiplications of vectors
	byPixels     bool  // rows of the product are pixels
	outLen       int   // elements of a block's buffer
}

// A convChunk is the part of the copy from which rows y to y+rows of the result are computed. It needs rows from to to of the
// input.
type convChunk struct {
	y, rows  int
	from, to int
	planes   []convPlane
}

// A convPlane is one plane of every channel: rows y0 to y1 and columns x0 to x1 are the input's, from the element first of the
// chunk's on, with the stride between them, and the rest is padding.
type convPlane struct {
	y0, y1, x0, x1 int
	first          int
}

// A copy of more than copyBytes is made in chunks of chunkBytes, which stay in the second-level cache beside what else the product
// uses. Smaller ones are as fast from the third level as the weights, which every chunk reads again.
const (
	copyBytes  = 2 << 20
	chunkBytes = 512 << 10
)

// plan returns the plan for a size and a number of workers; the last one is kept.
func (c *convCore[T]) plan(h, w, workers int) *convPlan { return c.planWith(h, w, workers, nil) }

// planWith is plan with something to complete a new one.
func (c *convCore[T]) planWith(h, w, workers int, complete func(*convPlan)) *convPlan {
	if pl := c.last.Load(); pl != nil && pl.h == h && pl.w == w && pl.workers == workers {
		return pl
	}
	pl := c.newPlan(h, w, math.MaxInt)
	if complete != nil {
		complete(pl)
	}
	if rows := c.apartRows(pl, workers); rows > 0 {
		pl = c.newPlan(h, w, rows)
	}
	pl.workers = workers
	c.last.Store(pl)
	return pl
}

// apartRows returns how many output rows a chunk should have so that each of several workers copies what it multiplies itself,
// which none of the others needs then; zero if that would have them copy too much twice, or read too many weights.
func (c *convCore[T]) apartRows(pl *convPlan, workers int) int {
	const mostWeights = 256 << 10 // bytes: they stay in the second-level cache
	p := &c.p
	k := p.In / p.Groups
	if workers == 1 || pl.byPixels || k == 1 || pl.apart(workers) || 4*p.Out*k*p.Kernel[0]*p.Kernel[1]*c.repeat > mostWeights {
		return 0
	}
	rows := (pl.oh + 2*workers - 1) / (2 * workers)
	if shared := (p.Kernel[0] - 1) * p.Dilation[0] / p.Stride[0]; rows < 3*shared || rows*(2*workers-1) >= pl.oh || rows*pl.wq < 2*c.kernel.nr() {
		return 0
	}
	return rows
}

// newPlan makes a plan in which a chunk has at most so many output rows.
func (c *convCore[T]) newPlan(h, w, rows int) *convPlan {
	p := &c.p
	pl := &convPlan{h: h, w: w, p: p}
	pl.oh, pl.ow = p.OutputSize(h, w)
	// along returns, for each kernel position in one dimension, its plane's number and its first input there.
	along := func(i int) (remainders, number, first []int) {
		seen := map[int]int{}
		for q := range p.Kernel[i] {
			o := q * p.Dilation[i]
			r := o % p.Stride[i]
			if _, ok := seen[r]; !ok {
				seen[r] = len(remainders)
				remainders = append(remainders, r)
			}
			number = append(number, seen[r])
			first = append(first, o/p.Stride[i])
		}
		return
	}
	ys, yn, yf := along(0)
	xs, xn, xf := along(1)
	below := yf[len(yf)-1]        // rows of a plane that the last output row adds
	wide := pl.ow + xf[len(xf)-1] // columns of a plane that a row of outputs reads
	pl.wq = pl.ow
	for _, rx := range xs {
		x0, x1 := inside(wide, w, rx-p.Pad[1], p.Stride[1])
		pl.wq = max(pl.wq, x1-x0+max(x0, wide-x1))
	}
	nr := c.kernel.nr()
	k := p.In / p.Groups
	pl.chunkRows = min(pl.oh, rows)
	pl.chooseBlock(p.Out/p.Groups, k*p.Kernel[0]*p.Kernel[1]*c.repeat, c.kernel.mr(), nr)
	row := p.In * len(ys) * len(xs) * pl.wq * int(unsafe.Sizeof(float32(0)))
	// Depthwise convolutions copy one channel at a time.
	if most := max(2*below, chunkBytes/row-below, pl.band); k > 1 && (pl.chunkRows+below)*row > copyBytes && most < pl.chunkRows {
		pl.chunkRows = most / pl.band * pl.band
	}
	pl.hq = pl.chunkRows + below
	pl.plane = (pl.hq-1)*pl.wq + wide
	pl.channel = len(ys) * len(xs) * pl.plane
	pl.slack = 2 * nr
	for y := 0; y < pl.oh; y += pl.chunkRows {
		ch := convChunk{y: y, rows: min(pl.chunkRows, pl.oh-y)}
		top := y*p.Stride[0] - p.Pad[0]
		ch.from = min(h, max(0, top))
		ch.to = max(ch.from, min(h, top+(ch.rows-1)*p.Stride[0]+(p.Kernel[0]-1)*p.Dilation[0]+1))
		for _, ry := range ys {
			for _, rx := range xs {
				var q convPlane
				q.y0, q.y1 = inside(ch.rows+below, ch.to, top+ry, p.Stride[0])
				q.x0, q.x1 = inside(wide, w, rx-p.Pad[1], p.Stride[1])
				if q.y0 == q.y1 || q.x0 == q.x1 {
					q = convPlane{}
				} else {
					q.first = (top+ry+q.y0*p.Stride[0]-ch.from)*w + q.x0*p.Stride[1] + rx - p.Pad[1]
				}
				ch.planes = append(ch.planes, q)
			}
		}
		pl.chunks = append(pl.chunks, ch)
	}
	pl.offsets = make([]int, 0, k*p.Kernel[0]*p.Kernel[1])
	for ch := range k {
		for ky := range p.Kernel[0] {
			for kx := range p.Kernel[1] {
				o := ch*pl.channel + (yn[ky]*len(xs)+xn[kx])*pl.plane + yf[ky]*pl.wq + xf[kx]
				pl.offsets = append(pl.offsets, o*int(unsafe.Sizeof(float32(0))))
			}
		}
	}
	once := len(pl.offsets)
	for range c.repeat - 1 {
		pl.offsets = append(pl.offsets, pl.offsets[:once]...)
	}
	return pl
}

// copyLen returns the elements of a chunk's copy.
func (pl *convPlan) copyLen() int { return pl.p.In*pl.channel + pl.slack }

// Costs beside the multiplications, in multiplications of vectors.
const (
	perTile   = 2  // for each vector of a tile
	perVector = 6  // for a vector that is moved
	perBand   = 24 // beside reading the weights
	perWeight = 8  // share of a multiplication
)

// tileCost is the cost of a row of n columns, which are sums of k products. A tile of one vector takes three quarters of one of
// two.
func tileCost(n, k, lanes int) int {
	v := roundUp(n, lanes) / lanes
	return (2*v + v%2) * (k + perTile) / 2
}

// chooseBlock picks the band of output rows, of about blockN columns, that costs least, and as many channels as keep a block of
// weights and one of results in the second-level cache. A band is either one run of columns, of which those between two output
// rows are dropped afterwards, or a run for each output row. Costs are in multiplications of vectors: columns wasted in tiles
// count, and so does dropping.
func (pl *convPlan) chooseBlock(m, k, mr, nr int) {
	lanes := nr / 2
	cost := func(rows int, together bool) int {
		c := k/perWeight + perBand
		switch {
		case rows == 0:
			return 0
		case !together:
			return c + rows*tileCost(pl.ow, k, lanes)
		case pl.wq == pl.ow:
			return c + tileCost(rows*pl.ow, k, lanes)
		}
		return c + tileCost((rows-1)*pl.wq+pl.ow, k, lanes) + rows*roundUp(pl.ow, lanes)/lanes*perVector
	}
	most := min(pl.chunkRows, max(1, (blockN+blockN/4)/pl.wq))
	pl.cost = -1
	for band := max(1, min(most, blockN/2/pl.wq)); band <= most; band++ {
		for _, together := range []bool{false, true} {
			if c := pl.chunkRows/band*cost(band, together) + cost(pl.chunkRows%band, together); pl.cost < 0 || c <= pl.cost {
				pl.cost, pl.band, pl.together = c, band, together
			}
		}
	}
	pl.outRows = min(roundUp(m, mr), roundUp(192, mr))
	pl.outLen = 0
	if pl.buffered() {
		pl.outLen = pl.outRows*roundUp(pl.band*pl.wq, 8) + 8
	}
}

// buffered reports whether a band is computed with columns between output rows, to be dropped.
func (pl *convPlan) buffered() bool { return pl.together && pl.wq != pl.ow }

// whole reports whether a channel's planes are consecutive rows of the channel.
func (pl *convPlan) whole() bool {
	return pl.wq == pl.w && pl.p.Stride == [2]int{1, 1} && pl.p.Pad == [4]int{}
}

// split copies the chunk's rows of one channel into its planes, whose padding is set already.
func split[T float32 | int32](pl *convPlan, ch *convChunk, kernel *microkernel, dst, src []T) {
	sy, sx := pl.p.Stride[0], pl.p.Stride[1]
	for i := range ch.planes {
		if q := &ch.planes[i]; q.y0 < q.y1 {
			splitPlane(kernel, dst[i*pl.plane+q.y0*pl.wq+q.x0:], src[q.first:], q.y1-q.y0, q.x1-q.x0, pl.wq, sy*pl.w, sx)
		}
	}
}

// pad sets the padding of one channel's planes.
func pad[T float32 | int32](pl *convPlan, ch *convChunk, dst []T, v T) {
	for i := range ch.planes {
		q, plane := &ch.planes[i], dst[i*pl.plane:][:pl.plane]
		if q.y0 == q.y1 {
			setAll(plane, v)
			continue
		}
		setAll(plane[:q.y0*pl.wq+q.x0], v)
		if between := pl.wq - (q.x1 - q.x0); between > 0 { // from the end of a row to the beginning of the next
			for y := q.y0; y < q.y1-1; y++ {
				setAll(plane[y*pl.wq+q.x1:][:between], v)
			}
		}
		setAll(plane[(q.y1-1)*pl.wq+q.x1:], v)
	}
}

func setAll[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

// inside returns the range of i in [0, n) for which first+i*step is in [0, size).
func inside(n, size, first, step int) (lo, hi int) {
	if first < 0 {
		lo = min(n, (-first+step-1)/step)
	}
	hi = lo
	if size > first {
		hi = max(lo, min(n, (size-first-1)/step+1))
	}
	return lo, hi
}

// splitPlain sets rows of width elements, dstStride apart, to every step-th element of rows of src, srcStride apart.
func splitPlain[T any](dst, src []T, rows, width, dstStride, srcStride, step int) {
	for y := range rows {
		d, s := dst[y*dstStride:][:width], src[y*srcStride:]
		if step == 1 {
			copy(d, s)
			continue
		}
		for x := range d {
			d[x] = s[x*step]
		}
	}
}
