package kernel

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// convTransposeOp is the gradient of a convolution with respect to its input: X [N, C, ...], W [C, M/group, ...], an optional
// bias [M].
func convTransposeOp(c *Call) ([]ir.Datum, error) {
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
		return convTransposeAs[float32](c, x, w)
	case ir.Float64:
		return convTransposeAs[float64](c, x, w)
	default:
		return nil, c.badType(d)
	}
}

// newConvTranspose gives the geometry of the convolution whose gradient is meant: its output is x, its input the result, its
// maps are x's channels.
func newConvTranspose(c *Call, xs, ws []int64) (*conv, error) {
	n, groups := len(xs)-2, c.int("group", 1)
	if len(ws) != len(xs) || groups <= 0 || ws[0] != xs[1] || xs[1]%groups != 0 || ws[1] > 1<<40/groups {
		return nil, fmt.Errorf("weights of shape %v for an input of shape %v in %d groups", ws, xs, groups)
	}
	if k := c.Attr("kernel_shape"); k != nil && !slices.Equal(k.Ints(), ws[2:]) {
		return nil, fmt.Errorf("kernel_shape %v with weights of shape %v", k.Ints(), ws)
	}
	g := &conv{batch: int(xs[0]), channels: int(ws[1] * groups), maps: int(xs[1]), groups: int(groups)}
	var err error
	if g.axes, err = c.windows(xs[2:], ws[2:]); err != nil {
		return nil, err
	}
	extra, want := c.Attr("output_padding").Ints(), c.Attr("output_shape").Ints()
	if len(extra) != 0 && len(extra) != n || len(want) > 0 && len(want) < n {
		return nil, fmt.Errorf("output_padding %v and output_shape %v for %d spatial axes", extra, want, n)
	}
	want = want[max(0, len(want)-n):] // early models gave batch and channels as well
	g.shape = []int64{xs[0], ws[1] * groups}
	for i := range n {
		a := &g.axes[spatialRank-n+i]
		a.out, a.in = a.in, 0 // x is the output of the convolution
		add := 0
		if len(extra) > 0 {
			add = int(extra[i])
		}
		full := a.stride*(a.out-1) + add + (a.kernel-1)*a.dilation + 1
		auto := c.str("auto_pad", "NOTSET")
		switch {
		case len(want) > 0:
			a.in = int(want[i])
			a.share(full-a.in, auto == "SAME_UPPER")
		case auto == "SAME_UPPER" || auto == "SAME_LOWER":
			a.in = a.out * a.stride
			a.share(full-a.in, auto == "SAME_UPPER")
		case auto == "VALID": // whatever pads say
			a.before, a.after, a.in = 0, 0, full
		default:
			a.in = full - a.before - a.after
		}
		if a.in < 0 || a.in > 1<<40 || add < 0 {
			return nil, fmt.Errorf("the result has a dimension of %d", a.in)
		}
		g.shape = append(g.shape, int64(a.in))
	}
	return g, nil
}

// share divides padding between both ends; the odd one goes behind if upper is set.
func (w *window) share(total int, upper bool) {
	total = max(total, 0)
	w.before, w.after = total-total/2, total/2
	if upper {
		w.before, w.after = w.after, w.before
	}
}

func convTransposeAs[T float](c *Call, x, w *ir.Tensor) ([]ir.Datum, error) {
	xv, err := load[T](x)
	if err != nil {
		return nil, err
	}
	wv, err := load[T](w)
	if err != nil {
		return nil, err
	}
	g, err := newConvTranspose(c, x.Shape(), w.Shape())
	if err != nil {
		return nil, err
	}
	r, err := deconvolve(c, g, xv, wv)
	if err != nil {
		return nil, err
	}
	b, err := c.Tensor(2)
	if err != nil {
		return nil, err
	}
	if b != nil {
		if b.DType() != x.DType() || !slices.Equal(b.Shape(), []int64{int64(g.channels)}) {
			return nil, c.badOperand(2, b)
		}
		bias, err := load[T](b)
		if err != nil {
			return nil, err
		}
		addBias(r, bias, volume(g.axes, inSize))
	}
	return one(pack(x.DType(), g.shape, r), nil)
}

// deconvolve computes, for each image, group and result channel, the patch matrix [kernel, positions] as a product and adds its
// rows to where the convolution would have read them, in row order.
func deconvolve[T number](c *Call, g *conv, x, w []T) ([]T, error) {
	r, err := alloc[T](c, g.shape)
	if err != nil || len(r) == 0 || len(x) == 0 {
		return r, err
	}
	in, out, taps := volume(g.axes, inSize), volume(g.axes, outSize), volume(g.axes, kernelSize)
	cg, mg := g.channels/g.groups, g.maps/g.groups
	patch, err := alloc[T](c, []int64{int64(taps), int64(out)})
	if err != nil {
		return nil, err
	}
	wt, err := alloc[T](c, []int64{int64(taps), int64(mg)})
	if err != nil {
		return nil, err
	}
	for i := range g.batch * g.groups {
		xs := x[i*mg*out : (i+1)*mg*out]
		for ch := range cg {
			for m := range mg { // w is [maps, cg, taps]
				row := w[((i%g.groups*mg+m)*cg+ch)*taps:]
				for k := range taps {
					wt[k*mg+m] = row[k]
				}
			}
			clear(patch)
			if err := gemm(c, patch, wt, xs, taps, mg, out); err != nil {
				return nil, err
			}
			dst := r[(i*cg+ch)*in:][:in]
			g.patches(func(row, at, from, step, count int) {
				if from < 0 {
					return
				}
				for k, v := range patch[row*out+at:][:count] {
					dst[from+k*step] += v
				}
			}, 1, 0, out)
			if err := c.tick(taps * out); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}
