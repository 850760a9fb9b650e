package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// patchElems bounds the block of the patch matrix that a convolution builds at a time, in elements.
const patchElems = 1 << 16

// convOp is the convolution of X [N, C, ...] with W [M, C/group, ...] plus an optional bias [M].
func convOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	w, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if w.DType() != x.DType() {
		return nil, c.badOperand(1, w)
	}
	switch d := x.DType(); d {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return convAs[float32](c, x, w)
	case ir.Float64:
		return convAs[float64](c, x, w)
	default:
		return nil, c.badType(d)
	}
}

func convAs[T float](c *Call, x, w *ir.Tensor) ([]ir.Datum, error) {
	xv, err := load[T](x)
	if err != nil {
		return nil, err
	}
	wv, err := load[T](w)
	if err != nil {
		return nil, err
	}
	g, err := newConv(c, x.Shape(), w.Shape())
	if err != nil {
		return nil, err
	}
	r, err := convolve(c, g, xv, wv)
	if err != nil {
		return nil, err
	}
	b, err := c.Tensor(2)
	if err != nil {
		return nil, err
	}
	if b != nil {
		if b.DType() != x.DType() || !slices.Equal(b.Shape(), []int64{int64(g.maps)}) {
			return nil, c.badOperand(2, b)
		}
		bias, err := load[T](b)
		if err != nil {
			return nil, err
		}
		addBias(r, bias, volume(g.axes, outSize))
	}
	return one(pack(x.DType(), g.shape, r), nil)
}

// addBias adds bias, one number a channel, to r [N, len(bias), plane].
func addBias[T number](r, bias []T, plane int) {
	for i := 0; plane > 0 && i < len(r); i += plane {
		b := bias[i/plane%len(bias)]
		for j := range r[i : i+plane] {
			r[i+j] += b
		}
	}
}

// conv is the geometry of a convolution.
type conv struct {
	batch, channels, maps, groups int
	axes                          [spatialRank]window
	shape                         []int64 // of the result
}

// newConv checks shapes and attributes against each other.
func newConv(c *Call, xs, ws []int64) (*conv, error) {
	n := len(xs) - 2
	if len(ws) != len(xs) {
		return nil, fmt.Errorf("weights of shape %v for an input of shape %v", ws, xs)
	}
	if k := c.Attr("kernel_shape"); k != nil && !slices.Equal(k.Ints(), ws[2:]) {
		return nil, fmt.Errorf("kernel_shape %v with weights of shape %v", k.Ints(), ws)
	}
	groups := c.int("group", 1)
	if groups <= 0 || ws[0]%groups != 0 || xs[1]%groups != 0 || ws[1] != xs[1]/groups {
		return nil, fmt.Errorf("weights of shape %v for an input of shape %v in %d groups", ws, xs, groups)
	}
	g := &conv{batch: int(xs[0]), channels: int(xs[1]), maps: int(ws[0]), groups: int(groups)}
	var err error
	if g.axes, err = c.windows(xs[2:], ws[2:]); err != nil {
		return nil, err
	}
	if err := c.slide(&g.axes, n); err != nil {
		return nil, err
	}
	g.shape = append([]int64{xs[0], ws[0]}, outputs(g.axes, n)...)
	return g, nil
}

// pointwise reports whether the patch matrix is the input itself.
func (g *conv) pointwise() bool {
	for _, a := range g.axes {
		if a.kernel != 1 || a.stride != 1 || a.before != 0 || a.after != 0 {
			return false
		}
	}
	return true
}

// convolve multiplies, for each image and group, the weights [maps, K] by the patch matrix [K, positions], K counting channel,
// then kernel position. Sums run in order of K, as gemm says. The patch matrix is built for a block of positions at a time.
func convolve[T number](c *Call, g *conv, x, w []T) ([]T, error) {
	r, err := alloc[T](c, g.shape)
	if err != nil || len(r) == 0 {
		return r, err
	}
	in, out := volume(g.axes, inSize), volume(g.axes, outSize)
	cg, mg := g.channels/g.groups, g.maps/g.groups
	depth := cg * volume(g.axes, kernelSize)
	block := min(out, max(64, patchElems/max(depth, 1)))
	patch, err := alloc[T](c, []int64{int64(depth), int64(block)})
	if err != nil {
		return nil, err
	}
	tile, err := alloc[T](c, []int64{int64(mg), int64(block)})
	if err != nil {
		return nil, err
	}
	for i := range g.batch * g.groups {
		xs := x[i*cg*in : (i+1)*cg*in]
		ws := w[i%g.groups*mg*depth:][:mg*depth]
		rs := r[i*mg*out : (i+1)*mg*out]
		if g.pointwise() {
			if err := gemm(c, rs, ws, xs, mg, depth, out); err != nil {
				return nil, err
			}
			continue
		}
		for p := 0; p < out; p += block {
			n := min(block, out-p)
			g.patches(func(row, at, from, step, count int) {
				dst := patch[row*n+at:][:count]
				switch {
				case from < 0:
					clear(dst)
				case step == 1:
					copy(dst, xs[from:])
				default:
					for k := range dst {
						dst[k] = xs[from+k*step]
					}
				}
			}, cg, p, n)
			t := tile[:mg*n]
			clear(t)
			if err := gemm(c, t, ws, patch[:depth*n], mg, depth, n); err != nil {
				return nil, err
			}
			for m := range mg {
				copy(rs[m*out+p:], t[m*n:(m+1)*n])
			}
			if err := c.tick(depth * n); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// patches describes the patch matrix for n output positions from p on as runs: put is told to fill count elements of a row
// from column at on with the input elements at from, from+step, ..., or with zeros where from is negative.
func (g *conv) patches(put func(row, at, from, step, count int), channels, p, n int) {
	z, y, x := g.axes[0], g.axes[1], g.axes[2]
	row := 0
	for ch := range channels {
		for kz := range z.kernel {
			for ky := range y.kernel {
				for kx := range x.kernel {
					for at := 0; at < n; {
						o := p + at
						count := min(n-at, x.out-o%x.out)
						iz := o/(x.out*y.out)*z.stride - z.before + kz*z.dilation
						iy := o/x.out%y.out*y.stride - y.before + ky*y.dilation
						if iz < 0 || iz >= z.in || iy < 0 || iy >= y.in {
							put(row, at, -1, 0, count)
						} else {
							x.line(put, row, at, ((ch*z.in+iz)*y.in+iy)*x.in, o%x.out, kx, count)
						}
						at += count
					}
					row++
				}
			}
		}
	}
}

// line fills count columns for output positions from o on along the innermost axis, whose input starts at base.
func (w window) line(put func(row, at, from, step, count int), row, at, base, o, k, count int) {
	first := o*w.stride - w.before + k*w.dilation // input position of the first column
	lead := 0
	if first < 0 {
		lead = min(count, (-first+w.stride-1)/w.stride)
	}
	valid := 0
	if i := first + lead*w.stride; i < w.in {
		valid = min(count-lead, (w.in-1-i)/w.stride+1)
	}
	if lead > 0 {
		put(row, at, -1, 0, lead)
	}
	if valid > 0 {
		put(row, at+lead, base+first+lead*w.stride, w.stride, valid)
	}
	if rest := count - lead - valid; rest > 0 {
		put(row, at+lead+valid, -1, 0, rest)
	}
}
