package tflite

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerResize finds the setting of the target whose source coordinates are those of the model, by comparing them one by one. Where none has
// them, the nearest elements are gathered axis by axis, in whatever mode.
func lowerResize(e *emitter, n *ir.Node) error {
	in, out := e.shape(n.Operand(0)), e.shape(n.Result(0))
	mode := n.Str("mode", "nearest")
	if mode != "nearest" && mode != "linear" || n.Int("exclude_outside", 0) != 0 || n.Int("antialias", 0) != 0 {
		return fmt.Errorf("mode %s, or antialias", mode)
	}
	scales, err := e.scales(n, in, out)
	if err != nil {
		return err
	}
	picture := len(in) == 4 && in[0] == out[0] && in[1] == out[1]
	for _, s := range [][2]bool{{false, false}, {false, true}, {true, false}} {
		fits := picture
		for i := 2; i < 4 && fits; i++ {
			r := resizing{in: in[i], out: out[i], scale: scales[i], corners: s[0], half: s[1]}
			fits = r.fits(n, mode)
		}
		if !fits {
			continue
		}
		perm := channelsLast(4)
		code, o := opResizeNearest, nearestOptions(s[0], s[1])
		if mode == "linear" {
			code, o = opResizeBilinear, bilinearOptions(s[0], s[1])
		}
		e.result(n, code, perm, o, e.as(n.Operand(0), perm), e.ints(out[2], out[3]))
		return nil
	}
	switch {
	case mode == "nearest":
		return e.gatherNearest(n, in, out, scales)
	case !picture:
		return errors.New("the target resizes the last two of four axes")
	}
	return fmt.Errorf("coordinates %s and rounding %s from %v to %v", n.Str("coordinate_transformation_mode", "half_pixel"), n.Str("nearest_mode", "round_prefer_floor"), in[2:], out[2:])
}

// gatherNearest takes the nearest elements along each axis that changes.
func (e *emitter) gatherNearest(n *ir.Node, in, out []int, scales []float64) error {
	w := e.view(n.Operand(0))
	t := w.t
	for i, a := range w.perm {
		r := resizing{in: in[a], out: out[a], scale: scales[a]}
		if r.in == r.out && r.scale == 1 {
			continue
		}
		idx := make([]int, r.out)
		for x := range idx {
			c, ok := r.ours(n, x)
			if !ok {
				return fmt.Errorf("coordinates %s", n.Str("coordinate_transformation_mode", "half_pixel"))
			}
			idx[x] = int(min(max(nearest(n, c), 0), float64(r.in-1)))
		}
		shape := slices.Clone(t.shape)
		shape[i] = r.out
		t = e.op(opGather, n.Result(0).Name(), t.typ, shape, gatherOptions(i), t, e.ints(idx...))
	}
	e.define(n.Result(0), t, w.perm)
	return nil
}

// scales are those given for each axis, or what the sizes say.
func (e *emitter) scales(n *ir.Node, in, out []int) ([]float64, error) {
	r := make([]float64, len(in))
	for i := range r {
		r[i] = float64(out[i]) / float64(in[i])
	}
	at := 2
	if n.Graph().Opset("") < 11 {
		at = 1
	}
	if p := n.Str("keep_aspect_ratio_policy", "stretch"); p != "stretch" {
		return nil, fmt.Errorf("keep_aspect_ratio_policy %s", p)
	}
	v := n.Operand(at)
	if v == nil {
		return r, nil
	}
	t := e.constant(v)
	if t == nil {
		return nil, errors.New("scales that are no constants")
	}
	f, err := ir.Elements[float32](t)
	if err != nil || len(f) == 0 {
		return r, err
	}
	axes := identity(len(in))
	if l := n.Ints("axes"); l != nil {
		axes = axes[:0]
		for _, a := range l {
			axes = append(axes, int(a+int64(len(in)))%len(in))
		}
	}
	if len(f) != len(axes) {
		return nil, fmt.Errorf("%d scales for %d axes", len(f), len(axes))
	}
	for i, a := range axes {
		r[a] = float64(f[i])
	}
	return r, nil
}

// resizing is one axis.
type resizing struct {
	in, out       int
	scale         float64
	corners, half bool // the target's setting
}

// theirs is the source coordinate of x in the target, unrounded.
func (r *resizing) theirs(x int) float64 {
	s := float64(r.in) / float64(r.out)
	if r.corners && r.out > 1 {
		s = float64(r.in-1) / float64(r.out-1)
	}
	if r.half {
		return (float64(x) + 0.5) * s
	}
	return float64(x) * s
}

// ours is the source coordinate of x in the model; ok is false where the mode is another.
func (r *resizing) ours(n *ir.Node, x int) (c float64, ok bool) {
	def := "half_pixel"
	if n.Graph().Opset("") < 11 {
		def = "asymmetric"
	}
	f := float64(x)
	switch n.Str("coordinate_transformation_mode", def) {
	case "half_pixel":
		return (f+0.5)/r.scale - 0.5, true
	case "pytorch_half_pixel":
		if r.out == 1 {
			return 0, true
		}
		return (f+0.5)/r.scale - 0.5, true
	case "half_pixel_symmetric":
		adjustment := float64(r.out) / (r.scale * float64(r.in))
		center := float64(r.in) / 2
		return center*(1-adjustment) + (f+0.5)/r.scale - 0.5, true
	case "asymmetric":
		return f / r.scale, true
	case "align_corners":
		if r.out == 1 {
			return 0, true
		}
		return f * float64(r.in-1) / (r.scale*float64(r.in) - 1), true // the size is not rounded, as in the standard's reference
	}
	return 0, false
}

func (r *resizing) fits(n *ir.Node, mode string) bool {
	last := float64(r.in - 1)
	for x := range r.out {
		c, ok := r.ours(n, x)
		if !ok {
			return false
		}
		t := r.theirs(x)
		if mode == "linear" {
			if r.half {
				t -= 0.5
			}
			if math.Abs(min(max(c, 0), last)-min(max(t, 0), last)) > 1e-4 {
				return false
			}
			continue
		}
		if r.corners {
			t = math.Floor(t + 0.5)
		}
		if min(max(nearest(n, c), 0), last) != min(max(math.Floor(t+1e-6), 0), last) {
			return false
		}
	}
	return true
}

// nearest rounds as the model says.
func nearest(n *ir.Node, c float64) float64 {
	def := "round_prefer_floor"
	if n.Graph().Opset("") < 11 {
		def = "floor"
	}
	switch n.Str("nearest_mode", def) {
	case "floor":
		return math.Floor(c + 1e-6)
	case "ceil":
		return math.Ceil(c - 1e-6)
	case "round_prefer_ceil":
		return math.Floor(c + 0.5)
	}
	return math.Ceil(c - 0.5)
}
