package gemm

import "unsafe"

// A convPlan is what a convolution derives from the input's size.
//
// The input is copied with padding, and split by stride: of each channel, the rows and columns whose index has the same
// remainder by the stride form a plane of hq by wq, so that for every kernel position the inputs of consecutive outputs are
// consecutive in one plane, whatever the stride. Output (y, x) is column y*wq+x of the product.
type convPlan struct {
	h, w, oh, ow int
	p            *ConvParams
	hq, wq       int
	ys, xs       []int // remainders that occur, which number the planes
	channel      int   // elements of a channel's planes
	slack        int   // elements that kernels may read past the last plane
	offsets      []int // bytes from an output's first input, by channel of a group and kernel position
	band         int   // output rows of a block
	outRows      int   // output channels of a block
	outLen       int   // elements of a block's buffer
}

// plan returns the plan for a size; the last one is kept.
func (c *convCore[T]) plan(h, w int) *convPlan {
	if pl := c.last.Load(); pl != nil && pl.h == h && pl.w == w {
		return pl
	}
	pl := c.newPlan(h, w)
	c.last.Store(pl)
	return pl
}

func (c *convCore[T]) newPlan(h, w int) *convPlan {
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
	pl.ys, pl.xs = ys, xs
	pl.hq, pl.wq = pl.oh+yf[len(yf)-1], pl.ow+xf[len(xf)-1]
	plane := pl.hq * pl.wq
	pl.channel = len(ys) * len(xs) * plane
	nr := c.kernel.nr()
	pl.slack = 2 * nr
	k := p.In / p.Groups
	pl.offsets = make([]int, 0, k*p.Kernel[0]*p.Kernel[1])
	for ch := range k {
		for ky := range p.Kernel[0] {
			for kx := range p.Kernel[1] {
				o := ch*pl.channel + (yn[ky]*len(xs)+xn[kx])*plane + yf[ky]*pl.wq + xf[kx]
				pl.offsets = append(pl.offsets, o*int(unsafe.Sizeof(float32(0))))
			}
		}
	}
	once := len(pl.offsets)
	for range c.repeat - 1 {
		pl.offsets = append(pl.offsets, pl.offsets[:once]...)
	}
	pl.chooseBlock(p.Out/p.Groups, c.kernel.mr(), nr)
	return pl
}

// chooseBlock picks the band of output rows that wastes the fewest columns in tiles, among those of about blockN columns, and
// as many channels as keep a block of weights and one of results in the second-level cache.
func (pl *convPlan) chooseBlock(m, mr, nr int) {
	most := min(pl.oh, max(1, (blockN+blockN/4)/pl.wq))
	least := max(1, min(most, blockN/2/pl.wq))
	best := -1
	for band := least; band <= most; band++ {
		tiles := func(rows int) int {
			if rows == 0 {
				return 0
			}
			return roundUp((rows-1)*pl.wq+pl.ow, nr/2)
		}
		cost := pl.oh/band*tiles(band) + tiles(pl.oh%band)
		if best < 0 || cost <= best {
			best, pl.band = cost, band
		}
	}
	pl.outRows = min(roundUp(m, mr), roundUp(192, mr))
	pl.outLen = 0
	if pl.wq != pl.ow {
		pl.outLen = pl.outRows*roundUp(pl.band*pl.wq, 8) + 8
	}
}

// whole reports whether a channel's planes are the channel as it is.
func (pl *convPlan) whole() bool {
	return pl.hq == pl.h && pl.wq == pl.w && pl.p.Stride == [2]int{1, 1} && pl.p.Pad == [4]int{}
}

// split copies one channel into its planes, whose padding is set already.
func split[T float32 | int32](pl *convPlan, kernel *microkernel, dst, src []T) {
	sy, sx := pl.p.Stride[0], pl.p.Stride[1]
	for _, ry := range pl.ys {
		y0, y1 := inside(pl.hq, pl.h, ry-pl.p.Pad[0], sy)
		for _, rx := range pl.xs {
			plane := dst[:pl.hq*pl.wq]
			dst = dst[len(plane):]
			x0, x1 := inside(pl.wq, pl.w, rx-pl.p.Pad[1], sx)
			if y0 == y1 || x0 == x1 {
				continue
			}
			first := (y0*sy+ry-pl.p.Pad[0])*pl.w + x0*sx + rx - pl.p.Pad[1]
			splitPlane(kernel, plane[y0*pl.wq+x0:], src[first:], y1-y0, x1-x0, pl.wq, sy*pl.w, sx)
		}
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
