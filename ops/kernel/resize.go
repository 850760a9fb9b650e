package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// resizing is what Resize and Upsample ask for.
type resizing struct {
	mode, nearest, coord string
	cubicA               float32
	excludeOutside       bool
	antialias            bool
	extrapolation        float64
	shape                []int64   // of the result
	scales               []float32 // per axis
	lengths              []float32 // of the result per axis; scales may ask for a fraction of an element
	from, to             []float32 // region of interest per axis, relative
}

// resizeOp resizes by scales or to sizes. Coordinates are computed in float32 as ONNX Runtime does, so that both pick the same
// neighbours; interpolation goes axis by axis in float64.
func resizeOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	r := &resizing{mode: c.str("mode", "nearest"), nearest: "simple", coord: "asymmetric", cubicA: c.float("cubic_coeff_a", -0.75)}
	scales, sizes := 1, -1
	if c.Opset >= 11 {
		r.nearest, r.coord = c.str("nearest_mode", "round_prefer_floor"), c.str("coordinate_transformation_mode", "half_pixel")
		r.excludeOutside, r.antialias = c.int("exclude_outside", 0) != 0, c.int("antialias", 0) != 0
		r.extrapolation = float64(c.float("extrapolation_value", 0))
		scales, sizes = 2, 3
	}
	axes := make([]int, x.Rank())
	for i := range axes {
		axes[i] = i
	}
	if list := c.Attr("axes").Ints(); list != nil {
		if axes, err = axesOf(list, x.Rank()); err != nil {
			return nil, err
		}
	}
	if err := r.readSizes(c, x, axes, scales, sizes); err != nil {
		return nil, err
	}
	if err := r.readRegion(c, axes); err != nil {
		return nil, err
	}
	return one(r.run(c, x))
}

// upsampleOp is the former Resize: scales as attributes height_scale and width_scale (1), scales (7) or an operand (9).
func upsampleOp(c *Call) ([]ir.Datum, error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	r := &resizing{mode: c.str("mode", "nearest"), nearest: "simple", coord: "asymmetric"}
	if r.mode == "bilinear" {
		r.mode = "linear"
	}
	switch {
	case c.Opset >= 9:
		axes := make([]int, x.Rank())
		for i := range axes {
			axes[i] = i
		}
		err = r.readSizes(c, x, axes, 1, -1)
	case c.Opset >= 7:
		err = r.setScales(x, slices.Clone(c.Attr("scales").Floats()))
	default:
		s := []float32{1, 1, c.float("height_scale", 1), c.float("width_scale", 1)}
		err = r.setScales(x, s)
	}
	if err != nil {
		return nil, err
	}
	return one(r.run(c, x))
}

func (r *resizing) setScales(x *ir.Tensor, s []float32) error {
	if len(s) != x.Rank() {
		return fmt.Errorf("%d scales for rank %d", len(s), x.Rank())
	}
	r.scales, r.shape, r.lengths = s, make([]int64, len(s)), make([]float32, len(s))
	for i, f := range s {
		r.lengths[i] = float32(x.Shape()[i]) * f
		d := math.Floor(float64(r.lengths[i]))
		if !(f > 0) || d > 1<<40 {
			return fmt.Errorf("scale %g for a dimension of %d", f, x.Shape()[i])
		}
		r.shape[i] = int64(d)
	}
	return nil
}

// readSizes reads scales or sizes for the given axes; other axes keep their size.
func (r *resizing) readSizes(c *Call, x *ir.Tensor, axes []int, scales, sizes int) error {
	t, err := c.Tensor(scales)
	if err != nil {
		return err
	}
	all := make([]float32, x.Rank())
	for i := range all {
		all[i] = 1
	}
	if t != nil && t.Len() > 0 {
		v, err := floats(t)
		if err != nil {
			return err
		}
		if len(v) != len(axes) {
			return fmt.Errorf("%d scales for %d axes", len(v), len(axes))
		}
		for i, a := range axes {
			all[a] = float32(v[i])
		}
		return r.setScales(x, all)
	}
	if sizes < 0 {
		return errors.New("no scales")
	}
	want, _, err := c.intsOperand(sizes)
	if err != nil {
		return err
	}
	if len(want) != len(axes) {
		return fmt.Errorf("%d sizes for %d axes", len(want), len(axes))
	}
	r.scales, r.shape = all, slices.Clone(x.Shape())
	policy := c.str("keep_aspect_ratio_policy", "stretch")
	common := float32(math.Inf(1))
	if policy == "not_smaller" {
		common = 0
	}
	for i, a := range axes {
		if want[i] < 0 || x.Shape()[a] == 0 && want[i] > 0 {
			return fmt.Errorf("size %d for a dimension of %d", want[i], x.Shape()[a])
		}
		r.shape[a] = want[i]
		if x.Shape()[a] > 0 {
			all[a] = float32(want[i]) / float32(x.Shape()[a])
		}
		if policy == "not_larger" {
			common = min(common, all[a])
		} else {
			common = max(common, all[a])
		}
	}
	if policy != "stretch" {
		for _, a := range axes {
			all[a] = common
			r.shape[a] = int64(math.Floor(float64(float32(common*float32(x.Shape()[a]))) + 0.5))
		}
	}
	return nil
}

// readRegion reads the region of interest that tf_crop_and_resize takes.
func (r *resizing) readRegion(c *Call, axes []int) error {
	if r.coord != "tf_crop_and_resize" {
		return nil
	}
	t, err := c.Need(1)
	if err != nil {
		return err
	}
	v, err := floats(t)
	if err != nil {
		return err
	}
	if len(v) != 2*len(axes) {
		return fmt.Errorf("region of %d numbers for %d axes", len(v), len(axes))
	}
	r.from, r.to = make([]float32, len(r.shape)), make([]float32, len(r.shape))
	for i := range r.to {
		r.to[i] = 1
	}
	for i, a := range axes {
		r.from[a], r.to[a] = float32(v[i]), float32(v[i+len(axes)])
	}
	return nil
}

// origin is the coordinate in the operand, of n elements along the axis, for coordinate x of the result.
func (r *resizing) origin(axis, x int, n int64) (float32, error) {
	xf, scale, in, out := float32(x), r.scales[axis], float32(n), float32(r.shape[axis])
	if r.lengths != nil && r.coord == "align_corners" { // the reference takes the fraction here; ONNX Runtime does not
		out = r.lengths[axis]
	}
	switch r.coord {
	case "asymmetric":
		return xf / scale, nil
	case "half_pixel":
		return (xf+0.5)/scale - 0.5, nil
	case "pytorch_half_pixel":
		if out <= 1 {
			return 0, nil
		}
		return (xf+0.5)/scale - 0.5, nil
	case "half_pixel_symmetric":
		offset := float32(in/2) * (1 - out/float32(scale*in))
		return float32(offset) + (xf+0.5)/scale - 0.5, nil
	case "align_corners":
		if out <= 1 {
			return 0, nil
		}
		return float32(xf*(in-1)) / (out - 1), nil
	case "tf_crop_and_resize":
		from, to := r.from[axis], r.to[axis]
		if out <= 1 {
			return float32(0.5 * float32(float32(from+to)*(in-1))), nil
		}
		return float32(from*(in-1)) + float32(float32(xf*(to-from))*(in-1))/(out-1), nil
	}
	return 0, fmt.Errorf("unknown coordinate_transformation_mode %q", r.coord)
}

// neighbour is the nearest element to x; it may lie outside.
func (r *resizing) neighbour(axis int, x float32) (int, error) {
	f := float64(x)
	switch r.nearest {
	case "simple": // Resize 10 as ONNX Runtime has it
		if r.scales[axis] < 1 {
			return int(math.Ceil(f)), nil
		}
		return int(f), nil
	case "round_prefer_floor":
		return int(math.Ceil(f - 0.5)), nil
	case "round_prefer_ceil":
		return int(math.Floor(f + 0.5)), nil
	case "floor":
		return int(math.Floor(f)), nil
	case "ceil":
		return int(math.Ceil(f)), nil
	}
	return 0, fmt.Errorf("unknown nearest_mode %q", r.nearest)
}

func (r *resizing) run(c *Call, x *ir.Tensor) (*ir.Tensor, error) {
	if !sane(r.shape) {
		return nil, fmt.Errorf("shape %v is too large", r.shape)
	}
	if n := ir.NumElements(r.shape); n == 0 || x.Len() == 0 {
		src, err := open(x)
		if err != nil {
			return nil, err
		}
		dst, err := src.make(c, r.shape)
		if err != nil {
			return nil, err
		}
		return dst.tensor(r.shape), nil
	}
	switch r.mode {
	case "nearest":
		return r.pick(c, x)
	case "linear", "cubic":
		return r.interpolate(c, x)
	}
	return nil, fmt.Errorf("unknown mode %q", r.mode)
}

// pick copies nearest elements; places outside the region get the extrapolation value.
func (r *resizing) pick(c *Call, x *ir.Tensor) (*ir.Tensor, error) {
	src, err := open(x)
	if err != nil {
		return nil, err
	}
	idx := make([][]int, len(r.shape))
	for a, n := range r.shape {
		if err := c.reserve(n, 8); err != nil {
			return nil, err
		}
		in := x.Shape()[a]
		for i := range int(n) {
			o, err := r.origin(a, i, in)
			if err != nil {
				return nil, err
			}
			k, err := r.neighbour(a, o)
			if err != nil {
				return nil, err
			}
			k = max(0, min(k, int(in)-1))
			if r.from != nil && (o < 0 || o > float32(in-1)) {
				k = -1
			}
			idx[a] = append(idx[a], k)
		}
	}
	var fill array
	if r.from != nil {
		t, err := convertFloats(c, x.DType(), []int64{}, []float64{r.extrapolation})
		if err != nil {
			return nil, err
		}
		if fill, err = open(t); err != nil {
			return nil, err
		}
	}
	return gatherAxes(c, src, x.Shape(), idx, fill)
}

// tap is an element and its weight.
type tap struct {
	at     int
	weight float64
}

// interpolate applies the taps of each axis that changes, one axis after the other.
func (r *resizing) interpolate(c *Call, x *ir.Tensor) (*ir.Tensor, error) {
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(x.Shape())
	for a, n := range r.shape {
		if r.scales[a] == 1 && n == shape[a] && r.from == nil {
			continue
		}
		if err := c.reserve(n, 32); err != nil {
			return nil, fmt.Errorf("shape %v: %w", r.shape, err)
		}
		taps := make([][]tap, n)
		for i := range taps {
			if taps[i], err = r.taps(c, a, i, shape[a]); err != nil {
				return nil, err
			}
		}
		to := withAxis(shape, a, n)
		next, err := alloc[float64](c, to)
		if err != nil {
			return nil, err
		}
		outer, inner, in := product(shape[:a]), product(shape[a+1:]), int(shape[a])
		for o := range outer {
			for i, list := range taps {
				dst := next[(o*int(n)+i)*inner:][:inner]
				if list == nil {
					for k := range dst {
						dst[k] = r.extrapolation
					}
				}
				for _, t := range list {
					for k, e := range v[(o*in+t.at)*inner:][:inner] {
						dst[k] += float64(t.weight * e)
					}
				}
				if err := c.tick(len(list)*inner + 8); err != nil {
					return nil, err
				}
			}
		}
		v, shape = next, to
	}
	if r.from != nil {
		r.extrapolate(x.Shape(), v)
	}
	if d := x.DType(); d.IsInt() && d.Bits() <= 32 {
		lo, hi := intRange(d)
		for i, e := range v {
			v[i] = max(lo, min(hi, e))
		}
	}
	return convertFloats(c, x.DType(), r.shape, v)
}

// extrapolate overwrites every place of which one coordinate lies outside: later axes mixed the value with others.
func (r *resizing) extrapolate(in []int64, v []float64) {
	steps := strides(r.shape)
	for a, n := range r.shape {
		for i := range int(n) {
			if o, err := r.origin(a, i, in[a]); err != nil || o >= 0 && o <= float32(in[a]-1) {
				continue
			}
			block := steps[a]
			for at := i * block; at < len(v); at += int(n) * block {
				for k := range block {
					v[at+k] = r.extrapolation
				}
			}
		}
	}
}

// taps are the elements that coordinate x of the result is made of, nil if it lies outside the region of interest. Elements
// beyond the edge count as the edge, or not at all with exclude_outside.
func (r *resizing) taps(c *Call, axis, x int, n int64) ([]tap, error) {
	o, err := r.origin(axis, x, n)
	if err != nil || r.from != nil && (o < 0 || o > float32(n-1)) {
		return nil, err
	}
	if o != o || math.Abs(float64(o)) > 1<<40 {
		return nil, fmt.Errorf("coordinate %g", o)
	}
	base := int(math.Ceil(float64(o))) - 1
	ratio := float64(o) - float64(base) // in (0, 1]
	scale := 1.0
	if r.antialias {
		scale = min(1, float64(r.scales[axis]))
	}
	reach := 1.0 / scale
	f := func(d float64) float64 { return max(0, 1-math.Abs(d)) }
	if r.mode == "cubic" {
		reach, f = 2/scale, func(d float64) float64 { return cubic(math.Abs(d), float64(r.cubicA)) }
	}
	first := int(math.Floor(-reach)) + 1
	last := 1 - first
	if err := c.reserve(int64(last-first+1), 16); err != nil {
		return nil, err
	}
	list, sum := make([]tap, 0, last-first+1), 0.0
	for i := first; i <= last; i++ {
		w := f(float64(scale * (float64(i) - ratio)))
		at := base + i
		if w == 0 || r.excludeOutside && (at < 0 || at >= int(n)) {
			continue
		}
		list = append(list, tap{max(0, min(at, int(n)-1)), w})
		sum += w
	}
	if r.excludeOutside || r.antialias {
		for i := range list {
			list[i].weight /= sum
		}
	}
	return list, nil
}

// cubic is the convolution kernel of Keys (1981) with parameter a, at distance d.
func cubic(d, a float64) float64 {
	switch {
	case d <= 1:
		return float64(float64(float64((a+2)*d)-(a+3))*float64(d*d)) + 1
	case d < 2:
		return float64((float64((float64(a*d)-float64(5*a))*d)+float64(8*a))*d) - float64(4*a)
	}
	return 0
}
