package c

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// window is the geometry of a convolution or pooling over two spatial axes, height first; one-dimensional ones have height 1.
type window struct {
	kernel, strides, dilations [2]int
	pads                       [4]int // top, left, bottom, right
	in, out                    [2]int
}

// windowOf reads the attributes of n, given the kernel's sizes.
func (b *builder) windowOf(n *ir.Node, kernel []int) (w window, err error) {
	in, out := b.shape(n.Operand(0)), b.shape(n.Result(0))
	if len(in) != 3 && len(in) != 4 || len(kernel) != len(in)-2 {
		return w, fmt.Errorf("%d spatial axes", len(in)-2)
	}
	at := 4 - len(in)
	pair := func(list []int64) (p [2]int) {
		p = [2]int{1, 1}
		for i, v := range list {
			if at+i < 2 {
				p[at+i] = int(v)
			}
		}
		return p
	}
	w.strides, w.dilations = pair(n.Ints("strides")), pair(n.Ints("dilations"))
	w.kernel, w.in, w.out = [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}
	for i, k := range kernel {
		w.kernel[at+i], w.in[at+i], w.out[at+i] = k, in[2+i], out[2+i]
	}
	switch auto := n.Str("auto_pad", "NOTSET"); auto {
	case "VALID":
	case "NOTSET", "":
		if p := n.Ints("pads"); len(p) == 2*len(kernel) {
			for i := range kernel {
				w.pads[at+i], w.pads[2+at+i] = int(p[i]), int(p[len(kernel)+i])
			}
		}
	case "SAME_UPPER", "SAME_LOWER":
		for i := range 2 {
			total := max((w.out[i]-1)*w.strides[i]+(w.kernel[i]-1)*w.dilations[i]+1-w.in[i], 0)
			w.pads[i], w.pads[2+i] = total/2, total-total/2
			if auto == "SAME_LOWER" {
				w.pads[i], w.pads[2+i] = w.pads[2+i], w.pads[i]
			}
		}
	default:
		return w, fmt.Errorf("auto_pad %s", auto)
	}
	return w, nil
}

// halo is what the window reads around the input: at the end only as far as the outputs need it.
func (w *window) halo() [4]int {
	h := w.pads
	for i := range 2 {
		h[2+i] = max((w.out[i]-1)*w.strides[i]+(w.kernel[i]-1)*w.dilations[i]+1-w.in[i]-w.pads[i], 0)
	}
	return h
}
