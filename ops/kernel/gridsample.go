package kernel

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// gridSampleOp samples X [N, C, spatial...] at the points of grid [N, places..., axes], whose coordinates go from -1 to 1, the
// last axis first.
func gridSampleOp(c *Call) ([]ir.Datum, error) {
	x, err := c.spatialOperand()
	if err != nil {
		return nil, err
	}
	grid, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	s, gs, n := x.Shape(), grid.Shape(), x.Rank()-2
	if len(gs) != len(s) || gs[0] != s[0] || gs[len(gs)-1] != int64(n) {
		return nil, c.badOperand(1, grid)
	}
	v, err := floats(x)
	if err != nil {
		return nil, err
	}
	points, err := floats(grid)
	if err != nil {
		return nil, err
	}
	g := &sampler{mode: c.str("mode", "linear"), padding: c.str("padding_mode", "zeros"), align: c.int("align_corners", 0) != 0}
	if err := g.check(); err != nil {
		return nil, err
	}
	shape := append([]int64{s[0], s[1]}, gs[1:len(gs)-1]...)
	r, err := alloc[float64](c, shape)
	if err != nil || len(r) == 0 || len(v) == 0 {
		t, e := convertFloats(c, x.DType(), shape, r)
		if err == nil {
			err = e
		}
		return one(t, err)
	}
	places, plane := product(shape[2:]), product(s[2:])
	steps := strides(s[2:])
	taps := make([][]tap, n)
	for b := range int(s[0]) {
		for p := range places {
			at := points[(b*places+p)*n:][:n]
			for a := range n {
				if taps[a], err = g.taps(at[n-1-a], int(s[2+a])); err != nil {
					return nil, err
				}
			}
			for ch := range int(s[1]) {
				k := b*int(s[1]) + ch
				r[k*places+p] = weigh(v[k*plane:(k+1)*plane], steps, taps)
			}
			if err := c.tick(int(s[1]) * 64); err != nil {
				return nil, err
			}
		}
	}
	return one(convertFloats(c, x.DType(), shape, r))
}

// weigh sums the elements that the taps of all axes name; taps at -1 stand for zeros.
func weigh(v []float64, steps []int, taps [][]tap) float64 {
	sum := 0.0
	for _, t := range taps[0] {
		switch {
		case t.at < 0:
		case len(taps) == 1:
			sum += float64(t.weight * v[t.at])
		default:
			sum += float64(t.weight * weigh(v[t.at*steps[0]:], steps[1:], taps[1:]))
		}
	}
	return sum
}

// sampler says how GridSample interpolates.
type sampler struct {
	mode, padding string
	align         bool
}

func (g *sampler) check() error {
	switch g.mode {
	case "bilinear":
		g.mode = "linear"
	case "bicubic":
		g.mode = "cubic"
	case "linear", "cubic", "nearest":
	default:
		return fmt.Errorf("unknown mode %q", g.mode)
	}
	switch g.padding {
	case "zeros", "border", "reflection":
		return nil
	}
	return fmt.Errorf("unknown padding_mode %q", g.padding)
}

// taps are the elements of an axis of n that a coordinate between -1 and 1 is made of.
func (g *sampler) taps(coord float64, n int) ([]tap, error) {
	lo, hi := -0.5, float64(n)-0.5
	x := (float64((coord+1)*float64(n)) - 1) / 2
	if g.align {
		lo, hi = 0, float64(n-1)
		x = float64((coord+1)/2) * float64(n-1)
	}
	x = float64(float32(x))
	if g.mode == "nearest" {
		x = math.RoundToEven(x)
	}
	switch {
	case x != x || math.Abs(x) > 1<<40:
		return nil, fmt.Errorf("coordinate %g", coord)
	case x >= lo && x <= hi:
	case g.padding == "border":
		x = max(0, min(x, float64(n-1)))
	case g.padding == "reflection":
		x = reflect(x, lo, hi)
	}
	base := math.Floor(x)
	ratio := x - base
	at := int(base)
	switch g.mode {
	case "nearest":
		return []tap{{g.inside(int(x), n, lo, hi), 1}}, nil
	case "linear":
		return []tap{{g.inside(at, n, lo, hi), 1 - ratio}, {g.inside(at+1, n, lo, hi), ratio}}, nil
	}
	r := make([]tap, 4)
	for i := range r {
		r[i] = tap{g.inside(at-1+i, n, lo, hi), cubic(math.Abs(float64(i-1)-ratio), -0.75)}
	}
	return r, nil
}

// inside is the element that stands for place i, -1 for zero.
func (g *sampler) inside(i, n int, lo, hi float64) int {
	if i >= 0 && i < n {
		return i
	}
	switch g.padding {
	case "zeros":
		return -1
	case "border":
		return max(0, min(i, n-1))
	}
	return max(0, min(int(reflect(float64(i), lo, hi)), n-1))
}

// reflect folds x into [lo, hi].
func reflect(x, lo, hi float64) float64 {
	span := hi - lo
	if span <= 0 {
		return lo
	}
	d := lo - x
	if x > hi {
		d = x - hi
	} else if x >= lo {
		return x
	}
	n := math.Floor(d / span)
	r := d - float64(n*span)
	if (math.Mod(n, 2) == 0) == (x < lo) {
		return lo + r
	}
	return hi - r
}

// affineGridOp makes the grid that GridSample takes from affine maps theta [N, axes, axes+1] and the size [N, C, spatial...].
func affineGridOp(c *Call) ([]ir.Datum, error) {
	t, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	size, _, err := c.intsOperand(1)
	if err != nil {
		return nil, err
	}
	n := len(size) - 2
	if n < 2 || n > 3 || t.Rank() != 3 || t.Shape()[0] != size[0] || t.Shape()[1] != int64(n) || t.Shape()[2] != int64(n+1) {
		return nil, fmt.Errorf("theta of shape %v for size %v", t.Shape(), size)
	}
	theta, err := floats(t)
	if err != nil {
		return nil, err
	}
	shape := append(append([]int64{size[0]}, size[2:]...), int64(n))
	r, err := alloc[float64](c, shape)
	if err != nil {
		return nil, err
	}
	align := c.int("align_corners", 0) != 0
	places := max(1, product(size[2:]))
	steps := strides(size[2:])
	point := make([]float64, n+1)
	for i := 0; i < len(r); i += n {
		b, p := i/n/places, i/n%places
		for a := range n { // the last axis is the first coordinate
			d := float64(size[2+a])
			k := float64(p / steps[a] % int(size[2+a]))
			x := (float64(2*k)+1)/d - 1
			if align && d > 1 {
				x = float64(2*k)/(d-1) - 1
			} else if align {
				x = 0
			}
			point[n-1-a] = x
		}
		point[n] = 1
		for k := range n {
			r[i+k] = dot(theta[(b*n+k)*(n+1):][:n+1], point)
		}
		if err := c.tick(32); err != nil {
			return nil, err
		}
	}
	return one(convertFloats(c, t.DType(), shape, r))
}
