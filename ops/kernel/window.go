package kernel

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// window is how a kernel slides along one spatial axis.
type window struct {
	in, out       int
	kernel        int
	stride        int
	dilation      int
	before, after int // padding
}

// taps is the range of kernel positions that lie inside the input for output position o.
func (w window) taps(o int) (from, to int) {
	start := o*w.stride - w.before
	if start < 0 {
		from = (-start + w.dilation - 1) / w.dilation
	}
	to = w.kernel
	if last := w.in - 1 - start; last < 0 {
		to = 0
	} else if n := last/w.dilation + 1; n < to {
		to = n
	}
	return min(from, to), to
}

// spatialRank is the number of spatial axes to which convolutions and poolings are brought; fewer are extended in front by
// axes of size 1.
const spatialRank = 3

// identityWindow is an axis of size 1.
var identityWindow = window{in: 1, out: 1, kernel: 1, stride: 1, dilation: 1}

// windows reads the attributes of a convolution or pooling over the given spatial sizes. The result has spatialRank axes.
func (c *Call) windows(spatial, kernel []int64) (w [spatialRank]window, err error) {
	n := len(spatial)
	if n > spatialRank || n == 0 {
		return w, fmt.Errorf("%d spatial axes; only 1 to %d are supported", n, spatialRank)
	}
	list := func(name string, length int, def int64) ([]int64, error) {
		v := c.Attr(name).Ints()
		if len(v) == 0 {
			for range length {
				v = append(v, def)
			}
		}
		if len(v) != length {
			return nil, fmt.Errorf("attribute %s has %d entries where %d are needed", name, len(v), length)
		}
		for _, x := range v {
			if x < def || x > 1<<31 {
				return nil, fmt.Errorf("attribute %s holds %d", name, x)
			}
		}
		return v, nil
	}
	strides, err := list("strides", n, 1)
	if err != nil {
		return w, err
	}
	dilations, err := list("dilations", n, 1)
	if err != nil {
		return w, err
	}
	pads, err := list("pads", 2*n, 0)
	if err != nil {
		return w, err
	}
	for i := range w {
		w[i] = identityWindow
	}
	for i := range n {
		if kernel[i] <= 0 || kernel[i] > 1<<31 {
			return w, fmt.Errorf("kernel of size %d", kernel[i])
		}
		w[spatialRank-n+i] = window{in: int(spatial[i]), kernel: int(kernel[i]), stride: int(strides[i]), dilation: int(dilations[i]),
			before: int(pads[i]), after: int(pads[n+i])}
	}
	return w, nil
}

// slide computes the output sizes and, for auto_pad, the padding.
func (c *Call) slide(w *[spatialRank]window, n int) error {
	auto, ceil := c.str("auto_pad", "NOTSET"), c.int("ceil_mode", 0) != 0
	for i := spatialRank - n; i < spatialRank; i++ {
		a := &w[i]
		extent := (a.kernel-1)*a.dilation + 1
		switch auto {
		case "SAME_UPPER", "SAME_LOWER":
			a.out = (a.in + a.stride - 1) / a.stride
			total := max(0, (a.out-1)*a.stride+extent-a.in)
			a.before, a.after = total/2, total-total/2
			if auto == "SAME_LOWER" {
				a.before, a.after = a.after, a.before
			}
			continue
		case "VALID":
			a.before, a.after = 0, 0
		case "NOTSET", "":
		default:
			return fmt.Errorf("unknown auto_pad %q", auto)
		}
		rest := a.in + a.before + a.after - extent
		if rest < 0 {
			return fmt.Errorf("a kernel that spans %d does not fit an input of %d with padding %d and %d", extent, a.in, a.before, a.after)
		}
		a.out = rest/a.stride + 1
		if ceil && rest%a.stride != 0 {
			a.out++
		}
		if ceil && (a.out-1)*a.stride >= a.in+a.before { // the last window must start inside
			a.out--
		}
	}
	return nil
}

// outputs are the output sizes of the last n axes.
func outputs(w [spatialRank]window, n int) []int64 {
	var s []int64
	for _, a := range w[spatialRank-n:] {
		s = append(s, int64(a.out))
	}
	return s
}

// volume is the product of what size gives for each axis.
func volume(w [spatialRank]window, size func(window) int) int {
	n := 1
	for _, a := range w {
		if s := size(a); s != 0 && n > math.MaxInt/s {
			return math.MaxInt
		} else {
			n *= s
		}
	}
	return n
}

func inSize(a window) int     { return a.in }
func outSize(a window) int    { return a.out }
func kernelSize(a window) int { return a.kernel }

// spatialOperand is operand 0 of a convolution or pooling, [N, C, spatial...].
func (c *Call) spatialOperand() (*ir.Tensor, error) {
	x, err := c.Need(0)
	if err == nil && x.Rank() < 3 {
		err = fmt.Errorf("operand 0 has shape %v; it needs batch, channel and spatial dimensions", x.Shape())
	}
	return x, err
}
