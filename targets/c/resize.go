package c

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// lowerResize resizes the last two of four axes by tables of source rows and columns.
func lowerResize(b *builder, n *ir.Node) error {
	in, out := b.shape(n.Operand(0)), b.shape(n.Result(0))
	mode := n.Str("mode", "nearest")
	if len(in) != 4 || in[0] != out[0] || in[1] != out[1] || !byteOrFloat(b.typ(n.Result(0))) || mode != "nearest" && b.typ(n.Result(0)) != float {
		return errors.New("the target resizes the last two of four axes, of floats or, if nearest, of bytes")
	}
	if mode != "nearest" && mode != "linear" || n.Int("exclude_outside", 0) != 0 || n.Int("antialias", 0) != 0 {
		return fmt.Errorf("mode %s, or antialias", mode)
	}
	scales := [2]float64{float64(out[2]) / float64(in[2]), float64(out[3]) / float64(in[3])}
	if v := n.Operand(2); v != nil && b.constant(v) != nil && b.constant(v).Len() == 4 {
		f, err := b.floats(v)
		if err != nil {
			return err
		}
		scales = [2]float64{float64(f[2]), float64(f[3])}
	}
	var at [2][]int32
	var share [2][]float32
	for a := range 2 {
		for i := range out[2+a] {
			c, ok := coordinate(n, i, in[2+a], out[2+a], scales[a])
			if !ok {
				return fmt.Errorf("coordinates %s", n.Str("coordinate_transformation_mode", "half_pixel"))
			}
			last := float64(in[2+a] - 1)
			if mode == "nearest" {
				at[a] = append(at[a], int32(min(max(nearest(n, c), 0), last)))
				continue
			}
			c = min(max(c, 0), last)
			low := min(math.Floor(c), max(last-1, 0))
			at[a] = append(at[a], int32(low))
			share[a] = append(share[a], float32(c-low))
		}
	}
	x := b.blocked(n.Operand(0))
	y := b.result(n, true)
	ints := func(s []int32) *tensor { return b.literal("index", int32s, []int{len(s)}, ir.AsBytes(s)) }
	list := []*tensor{x, ints(at[0]), ints(at[1])}
	if mode == "linear" {
		list = append(list, b.floatLiteral("share", share[0]), b.floatLiteral("share", share[1]))
	}
	b.add(list, []*tensor{y}, func(f *text, _ int) {
		xs, ys := x.strides(), y.strides()
		down, right := xs[2], xs[3]
		if in[2] == 1 {
			down = 0
		}
		if in[3] == 1 {
			right = 0
		}
		f.loop("n", in[0])
		f.loop("c", blocksOf(in[1]))
		f.loop("i", out[2])
		f.line("const %s *p = a0 + %d + n * %d + c * %d + a1[i] * %d;", x.buf.typ.name, x.start(), xs[0], xs[1], xs[2])
		f.line("%s *q = y0 + %d + n * %d + c * %d + i * %d;", y.buf.typ.name, y.start(), ys[0], ys[1], ys[2])
		f.loop("j", out[3])
		f.line("const %s *r = p + a2[j] * %d;", x.buf.typ.name, xs[3])
		if mode == "linear" {
			f.line("const float g = a3[i], h = a4[j];")
			f.line("for (int l = 0; l < 8; l++) {")
			f.line("const float t = r[l] + h * (r[l + %d] - r[l]);", right)
			f.line("const float u = r[l + %d] + h * (r[l + %d] - r[l + %d]);", down, down+right, down)
			f.line("q[j * 8 + l] = t + g * (u - t);")
			f.end()
		} else {
			f.line("for (int l = 0; l < 8; l++) q[j * 8 + l] = r[l];")
		}
		f.end()
		f.end()
		f.end()
		f.end()
	})
	return nil
}

// coordinate is the place in the input of element i of the output.
func coordinate(n *ir.Node, i, in, out int, scale float64) (float64, bool) {
	f := float64(i)
	switch n.Str("coordinate_transformation_mode", "half_pixel") {
	case "half_pixel":
		return (f+0.5)/scale - 0.5, true
	case "pytorch_half_pixel":
		if out == 1 {
			return 0, true
		}
		return (f+0.5)/scale - 0.5, true
	case "asymmetric":
		return f / scale, true
	case "align_corners":
		if out == 1 {
			return 0, true
		}
		return f * float64(in-1) / float64(out-1), true
	}
	return 0, false
}

// nearest rounds as the model says.
func nearest(n *ir.Node, c float64) float64 {
	switch n.Str("nearest_mode", "round_prefer_floor") {
	case "floor":
		return math.Floor(c + 1e-6)
	case "ceil":
		return math.Ceil(c - 1e-6)
	case "round_prefer_ceil":
		return math.Floor(c + 0.5)
	}
	return math.Ceil(c - 0.5)
}
