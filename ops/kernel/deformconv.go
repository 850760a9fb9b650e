package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// deformConvOp is a convolution of images [N, C, H, W] whose taps are moved by offsets [N, groups*kH*kW*2, oH, oW] (row, then
// column) and weighted by an optional mask [N, groups*kH*kW, oH, oW] (Dai et al. 2017, Zhu et al. 2019). Elements between the
// grid are bilinear, outside it zero. It computes in float64.
func deformConvOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	w, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	if x.Rank() != 4 {
		return nil, c.badOperand(0, x)
	}
	g, err := newConv(c, x.Shape(), w.Shape())
	if err != nil {
		return nil, err
	}
	d := &deformation{conv: g, groups: int(c.int("offset_group", 1))}
	if d.groups <= 0 || g.channels%d.groups != 0 {
		return nil, fmt.Errorf("%d offset groups of %d channels", d.groups, g.channels)
	}
	taps := int64(d.groups * volume(g.axes, kernelSize))
	places := []int64{int64(g.batch), 0, g.shape[2], g.shape[3]}
	if d.offset, err = c.sized(2, withAxis(places, 1, 2*taps)); err != nil {
		return nil, err
	}
	if d.mask, err = c.sized(4, withAxis(places, 1, taps)); err != nil {
		return nil, err
	}
	bias, err := c.sized(3, []int64{int64(g.maps)})
	if err != nil {
		return nil, err
	}
	if d.offset == nil {
		return nil, fmt.Errorf("operand 2 is missing")
	}
	if d.x, err = floats(x); err != nil {
		return nil, err
	}
	wv, err := floats(w)
	if err != nil {
		return nil, err
	}
	r, err := d.run(c, wv)
	if err != nil {
		return nil, err
	}
	if bias != nil {
		addBias(r, bias, volume(g.axes, outSize))
	}
	return one(convertFloats(c, x.DType(), g.shape, r))
}

// sized reads operand i, which must have that shape, nil if it is omitted.
func (c *Call) sized(i int, shape []int64) ([]float64, error) {
	t, err := c.Tensor(i)
	if t == nil || err != nil {
		return nil, err
	}
	if !slices.Equal(t.Shape(), shape) {
		return nil, c.badOperand(i, t)
	}
	return c.floats(t)
}

// deformation is a convolution with moved taps.
type deformation struct {
	*conv
	groups          int // of offsets
	x, offset, mask []float64
}

// run multiplies the weights by the patch matrix of each image and group.
func (d *deformation) run(c *Call, w []float64) ([]float64, error) {
	r, err := alloc[float64](c, d.shape)
	if err != nil || len(r) == 0 {
		return r, err
	}
	out, taps := volume(d.axes, outSize), volume(d.axes, kernelSize)
	cg, mg := d.channels/d.conv.groups, d.maps/d.conv.groups
	patch, err := alloc[float64](c, []int64{int64(cg * taps), int64(out)})
	if err != nil {
		return nil, err
	}
	for i := range d.batch * d.conv.groups {
		b, group := i/d.conv.groups, i%d.conv.groups
		for ch := range cg {
			for k := range taps {
				d.sample(patch[(ch*taps+k)*out:][:out], b, group*cg+ch, k)
				if err := c.tick(32 * out); err != nil {
					return nil, err
				}
			}
		}
		if err := gemm(c, r[i*mg*out:(i+1)*mg*out], w[group*mg*cg*taps:][:mg*cg*taps], patch, mg, cg*taps, out); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// sample fills a row of the patch matrix: tap k of a channel of image b for every place.
func (d *deformation) sample(dst []float64, b, channel, k int) {
	y, x := d.axes[1], d.axes[2]
	out, taps, in := y.out*x.out, y.kernel*x.kernel, y.in*x.in
	plane := d.x[(b*d.channels+channel)*in:][:in]
	tap := (b*d.groups+channel/(d.channels/d.groups))*taps + k
	for p := range dst {
		iy := float64(p/x.out*y.stride-y.before+k/x.kernel*y.dilation) + d.offset[2*tap*out+p]
		ix := float64(p%x.out*x.stride-x.before+k%x.kernel*x.dilation) + d.offset[(2*tap+1)*out+p]
		if dst[p] = between(plane, y.in, x.in, iy, ix); d.mask != nil {
			dst[p] *= d.mask[tap*out+p]
		}
	}
}

// between is the bilinear value at a point; elements outside the plane are zero.
func between(plane []float64, h, w int, y, x float64) float64 {
	if !(y > -1 && y < float64(h) && x > -1 && x < float64(w)) {
		return 0
	}
	y0, x0 := math.Floor(y), math.Floor(x)
	ly, lx := y-y0, x-x0
	at := func(i, j int) float64 {
		if i < 0 || i >= h || j < 0 || j >= w {
			return 0
		}
		return plane[i*w+j]
	}
	i, j := int(y0), int(x0)
	top := float64((1-lx)*at(i, j)) + float64(lx*at(i, j+1))
	bottom := float64((1-lx)*at(i+1, j)) + float64(lx*at(i+1, j+1))
	return float64((1-ly)*top) + float64(ly*bottom)
}
