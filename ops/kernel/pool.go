package kernel

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel/internal/fmath"
)

// pooling is the geometry of a pooling.
type pooling struct {
	axes   [spatialRank]window
	planes int // batch times channels
	shape  []int64
}

func newPooling(c *Call, x *ir.Tensor) (*pooling, error) {
	s := x.Shape()
	kernel := c.Attr("kernel_shape").Ints()
	if len(kernel) != len(s)-2 {
		return nil, fmt.Errorf("kernel_shape %v for an input of shape %v", kernel, s)
	}
	p := &pooling{planes: int(s[0] * s[1])}
	var err error
	if p.axes, err = c.windows(s[2:], kernel); err != nil {
		return nil, err
	}
	if err := c.slide(&p.axes, len(kernel)); err != nil {
		return nil, err
	}
	p.shape = append([]int64{s[0], s[1]}, outputs(p.axes, len(kernel))...)
	return p, nil
}

// globalPooling has one window that covers the input.
func globalPooling(x *ir.Tensor) *pooling {
	s := x.Shape()
	p := &pooling{planes: int(s[0] * s[1]), shape: append([]int64{s[0], s[1]}, ones(len(s)-2)...)}
	n := product(s[2:])
	p.axes = [spatialRank]window{identityWindow, identityWindow, {in: n, out: 1, kernel: n, stride: 1, dilation: 1}}
	return p
}

// each calls visit for the windows of one plane in row-major order: out counts the windows; the elements inside lie at
// base + kz*dz + ky*dy + kx*dx for the tap ranges given.
func (p *pooling) each(visit func(out int, o [spatialRank]int, from, to [spatialRank]int)) {
	var o, from, to [spatialRank]int
	out := 0
	for o[0] = range p.axes[0].out {
		from[0], to[0] = p.axes[0].taps(o[0])
		for o[1] = range p.axes[1].out {
			from[1], to[1] = p.axes[1].taps(o[1])
			for o[2] = range p.axes[2].out {
				from[2], to[2] = p.axes[2].taps(o[2])
				visit(out, o, from, to)
				out++
			}
		}
	}
}

// inside calls f with the offset of each element of a window, in row-major order.
func (p *pooling) inside(o, from, to [spatialRank]int, f func(at int)) {
	z, y, x := p.axes[0], p.axes[1], p.axes[2]
	for kz := from[0]; kz < to[0]; kz++ {
		iz := o[0]*z.stride - z.before + kz*z.dilation
		for ky := from[1]; ky < to[1]; ky++ {
			iy := o[1]*y.stride - y.before + ky*y.dilation
			row := (iz*y.in+iy)*x.in + o[2]*x.stride - x.before
			for kx := from[2]; kx < to[2]; kx++ {
				f(row + kx*x.dilation)
			}
		}
	}
}

// pool reduces each window of each plane with one of the fold functions.
func pool[T ordered](c *Call, p *pooling, v []T, fold func(plane []T, o, from, to [spatialRank]int) T) ([]T, error) {
	r, err := alloc[T](c, p.shape)
	if err != nil || len(r) == 0 {
		return r, err
	}
	in, out := volume(p.axes, inSize), volume(p.axes, outSize)
	cost := min(volume(p.axes, kernelSize), in) + 8
	for i := range p.planes {
		plane, dst := v[i*in:(i+1)*in], r[i*out:(i+1)*out]
		err = nil
		p.each(func(k int, o, from, to [spatialRank]int) {
			if err == nil {
				dst[k] = fold(plane, o, from, to)
				err = c.tick(cost)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// maxPoolOp takes the greatest element of each window; padding does not take part, NaN wins. The second result holds its place
// in the whole input, row-major or, with storage_order=1, with the last two axes swapped.
func maxPoolOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	p, err := newPooling(c, x)
	if err != nil {
		return nil, err
	}
	switch x.DType() {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return maxPoolAs[float32](c, p, x)
	case ir.Float64:
		return maxPoolAs[float64](c, p, x)
	case ir.Int8:
		return maxPoolAs[int8](c, p, x)
	case ir.Uint8:
		return maxPoolAs[uint8](c, p, x)
	}
	return nil, c.badType(x.DType())
}

func globalMaxPoolOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	switch x.DType() {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return maxPoolAs[float32](c, globalPooling(x), x)
	case ir.Float64:
		return maxPoolAs[float64](c, globalPooling(x), x)
	}
	return nil, c.badType(x.DType())
}

func maxPoolAs[T ordered](c *Call, p *pooling, x *ir.Tensor) ([]ir.Datum, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	lowest := lowestOf[T](x.DType())
	var places []int64 // of the greatest elements within their planes, in order of the windows
	if c.wants(1) && len(c.Out) > 1 {
		if places, err = alloc[int64](c, p.shape); err != nil {
			return nil, err
		}
	}
	next := 0
	r, err := pool(c, p, v, func(plane []T, o, from, to [spatialRank]int) T {
		best, place := lowest, -1
		p.inside(o, from, to, func(at int) {
			if v := plane[at]; v > best || place < 0 || v != v && best == best {
				best, place = v, at
			}
		})
		if places != nil {
			places[next] = int64(place)
			next++
		}
		return best
	})
	if err != nil {
		return nil, err
	}
	result := []ir.Datum{pack(x.DType(), p.shape, r)}
	if places != nil {
		p.globalPlaces(places, c.int("storage_order", 0) != 0)
		result = append(result, ir.TensorOf(places, p.shape...))
	}
	return result, nil
}

// globalPlaces turns places within planes into places within the input.
func (p *pooling) globalPlaces(places []int64, columnMajor bool) {
	in, out := volume(p.axes, inSize), volume(p.axes, outSize)
	w, h := int64(p.axes[2].in), int64(p.axes[1].in)
	for i, at := range places {
		if columnMajor && at >= 0 {
			d, y, x := at/(w*h), at/w%h, at%w
			at = d*w*h + x*h + y
		}
		if at >= 0 {
			places[i] = int64(i/out*in) + at
		}
	}
}

// lowestOf is what a maximum over nothing gives: -infinity, or the smallest integer.
func lowestOf[T ordered](d ir.DType) T {
	if d.IsFloat() {
		inf := math.Inf(-1)
		return T(inf)
	}
	return lowestInt[T](d)
}

// averagePoolOp is the mean of each window; padding counts in the denominator if count_include_pad is set.
func averagePoolOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	p, err := newPooling(c, x)
	if err != nil {
		return nil, err
	}
	return averagePool(c, p, x, c.int("count_include_pad", 0) != 0)
}

func globalAveragePoolOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	return averagePool(c, globalPooling(x), x, false)
}

func averagePool(c *Call, p *pooling, x *ir.Tensor, withPad bool) ([]ir.Datum, error) {
	switch x.DType() {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return averagePoolAs[float32](c, p, x, withPad)
	case ir.Float64:
		return averagePoolAs[float64](c, p, x, withPad)
	}
	return nil, c.badType(x.DType())
}

func averagePoolAs[T float](c *Call, p *pooling, x *ir.Tensor, withPad bool) ([]ir.Datum, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	r, err := pool(c, p, v, func(plane []T, o, from, to [spatialRank]int) T {
		sum, n := 0.0, 1
		p.inside(o, from, to, func(at int) { sum += float64(plane[at]) })
		for i, a := range p.axes {
			k := max(0, to[i]-from[i])
			if withPad { // windows may reach beyond the padding with ceil_mode
				k = min(a.kernel, (a.in+a.after-1-(o[i]*a.stride-a.before))/a.dilation+1)
			}
			n *= k
		}
		return T(sum / float64(n))
	})
	if err != nil {
		return nil, err
	}
	return one(pack(x.DType(), p.shape, r), nil)
}

// lpPoolOp is the p-norm of each window.
func lpPoolOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	p, err := newPooling(c, x)
	if err != nil {
		return nil, err
	}
	return lpPool(c, p, x)
}

func globalLpPoolOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	return lpPool(c, globalPooling(x), x)
}

func lpPool(c *Call, p *pooling, x *ir.Tensor) ([]ir.Datum, error) {
	norm := float64(c.int("p", 2))
	if a := c.Attr("p"); a != nil && a.Kind == ir.AttrFloat { // version 1
		norm = float64(a.Float())
	}
	switch x.DType() {
	case ir.Float32, ir.Float16, ir.BFloat16:
		return lpPoolAs[float32](c, p, x, norm)
	case ir.Float64:
		return lpPoolAs[float64](c, p, x, norm)
	}
	return nil, c.badType(x.DType())
}

func lpPoolAs[T float](c *Call, p *pooling, x *ir.Tensor, norm float64) ([]ir.Datum, error) {
	v, err := load[T](x)
	if err != nil {
		return nil, err
	}
	r, err := pool(c, p, v, func(plane []T, o, from, to [spatialRank]int) T {
		sum := 0.0
		p.inside(o, from, to, func(at int) { sum += fmath.Pow(math.Abs(float64(plane[at])), norm) })
		return T(fmath.Pow(sum, 1/norm))
	})
	if err != nil {
		return nil, err
	}
	return one(pack(x.DType(), p.shape, r), nil)
}

// maxUnpoolOp puts the elements of x to the places that MaxPool's second result names; the rest is zero.
func maxUnpoolOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	t, idx, err := c.indexOperand(1)
	if err != nil {
		return nil, err
	}
	kernel := c.Attr("kernel_shape").Ints()
	if t.Len() != x.Len() || len(kernel) != x.Rank()-2 {
		return nil, c.badOperand(1, t)
	}
	axes, err := c.windows(x.Shape()[2:], kernel)
	if err != nil {
		return nil, err
	}
	natural := []int64{x.Shape()[0], x.Shape()[1]}
	for _, a := range axes[spatialRank-len(kernel):] {
		natural = append(natural, int64((a.in-1)*a.stride+a.kernel-a.before-a.after))
	}
	shape, given, err := c.intsOperand(2)
	if err != nil {
		return nil, err
	}
	if !given {
		shape = natural
	}
	if len(shape) != len(natural) || !sane(natural) {
		return nil, fmt.Errorf("output shape %v for an input of shape %v", shape, x.Shape())
	}
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	dst, err := src.make(c, shape)
	if err != nil {
		return nil, err
	}
	step := strides(shape)
	for i, at := range idx {
		// The place is one in the natural result; a larger one keeps the coordinates.
		if at < 0 || at >= ir.NumElements(natural) {
			return nil, fmt.Errorf("place %d is out of range", at)
		}
		to := 0
		for k := len(natural) - 1; k >= 0; k-- {
			j := at % natural[k]
			if j >= shape[k] {
				return nil, fmt.Errorf("place %d is out of range for shape %v", idx[i], shape)
			}
			to += int(j) * step[k]
			at /= natural[k]
		}
		dst.copy(to, src, i, 1)
	}
	return one(dst.tensor(shape), nil)
}
