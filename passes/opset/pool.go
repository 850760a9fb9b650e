package opset

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// ones reports whether a list of dilations says nothing.
func allOnes(v []int64) bool {
	for _, x := range v {
		if x != 1 {
			return false
		}
	}
	return true
}

// ceilModeDown: version 22 leaves out windows that would begin in the padding at the end; before, the standard's shape inference counts
// them. Where that is known to make a difference, the padding is chosen so that no size is rounded.
func ceilModeDown(s *site) {
	if s.int("ceil_mode") == 0 || s.str("auto_pad") != "NOTSET" {
		return
	}
	kernel := s.ints("kernel_shape")
	d, k := s.shape(s.in(0)), len(kernel)
	if len(d) != k+2 {
		return
	}
	strides, dilations, pads := filled(s.ints("strides"), k, 1), filled(s.ints("dilations"), k, 1), slices.Clone(filled(s.ints("pads"), 2*k, 0))
	differs, static := false, true
	for i := range k {
		if !d[2+i].IsStatic() || strides[i] < 1 {
			static = false
			continue
		}
		size, span := d[2+i].Size+pads[i], dilations[i]*(kernel[i]-1)+1
		out := (size+pads[k+i]-span+strides[i]-1)/strides[i] + 1
		need := max(pads[k+i], (out-1)*strides[i]+span-size)
		if (out-1)*strides[i] >= size {
			differs = true
			need = max(0, (out-2)*strides[i]+span-size)
		}
		pads[k+i] = need
	}
	switch {
	case !differs:
	case !static:
		s.refuse("ceil_mode means another size before opset 22, and not all sizes are known")
	case s.int("count_include_pad") != 0:
		s.refuse("ceil_mode means another size before opset 22")
	default:
		s.n.SetAttr(ir.IntsAttr("pads", pads))
		s.n.RemoveAttr("ceil_mode")
	}
}

// averagePoolDown spells dilations out as a convolution with ones.
func averagePoolDown(s *site) {
	if allOnes(s.ints("dilations")) {
		s.n.RemoveAttr("dilations")
		return
	}
	if s.int("ceil_mode") != 0 {
		s.refuse("dilations came with opset 19, and with ceil_mode are not spelled out")
		return
	}
	s.tolerant()
	x := s.in(0)
	sum, back := s.windowSum(x)
	if s.why != "" {
		return
	}
	var y *ir.Value
	if s.int("count_include_pad") != 0 {
		n := 1.0
		for _, k := range s.ints("kernel_shape") {
			n *= float64(k)
		}
		y = s.op("Div", sum, s.number(s.dtype(x), n))
	} else {
		count, _ := s.windowSum(s.op("Expand", s.number(s.dtype(x), 1), s.shapeOf(x)))
		y = s.op("Div", sum, count)
	}
	s.replace(back(y))
}

// lpPoolDown spells dilations out as a convolution with ones.
func lpPoolDown(s *site) {
	if s.int("ceil_mode") != 0 {
		s.refuse("ceil_mode came with opset 18")
		return
	}
	if allOnes(s.ints("dilations")) {
		s.n.RemoveAttr("dilations")
		return
	}
	s.tolerant()
	x := s.in(0)
	d := s.needDType(x)
	if s.why != "" {
		return
	}
	p := float64(s.int("p"))
	sum, back := s.windowSum(s.op("Pow", s.op("Abs", x), s.number(d, p)))
	if s.why == "" {
		s.replace(back(s.op("Pow", sum, s.number(d, 1/p))))
	}
}

// windowSum sums each channel over the windows of n; back gives its result the form [N, C, ...] again.
func (s *site) windowSum(x *ir.Value) (sum *ir.Value, back func(*ir.Value) *ir.Value) {
	d := s.needDType(x)
	r := int64(s.needRank(x))
	kernel := s.ints("kernel_shape")
	if s.why != "" {
		return x, nil
	}
	inner := s.slice(s.shapeOf(x), 0, 2, r, 1)
	flat := s.keepEmpty(x, s.concat(0, s.op("Mul", s.dim(x, 0), s.dim(x, 1)), s.vec(1), inner))
	w := s.op("Expand", s.number(d, 1), s.vec(append([]int64{1, 1}, kernel...)...))
	list := attrs(ir.IntsAttr("kernel_shape", kernel))
	for _, name := range []string{"auto_pad", "pads", "strides", "dilations"} {
		if a := s.n.Attr(name); a != nil {
			list = append(list, a)
		}
	}
	return s.opa("Conv", list, flat, w), func(y *ir.Value) *ir.Value {
		return s.keepEmpty(y, s.concat(0, s.dim(x, 0), s.dim(x, 1), s.slice(s.shapeOf(y), 0, 2, r, 1)))
	}
}

// roiAlignUp states how version 10 maps coordinates.
func roiAlignUp(s *site) {
	s.n.SetAttr(ir.StringAttr("coordinate_transformation_mode", "output_half_pixel"))
}

func roiAlignDown(s *site) {
	if s.str("coordinate_transformation_mode") != "output_half_pixel" {
		s.refuse("coordinate_transformation_mode=half_pixel came with opset 16")
		return
	}
	s.n.RemoveAttr("coordinate_transformation_mode")
}

// col2ImDown puts each column to its place by a transposed convolution with kernels of a single one.
func col2ImDown(s *site) {
	x := s.in(0)
	image, ok := s.known(s.in(1))
	block, known := s.known(s.in(2))
	d, shape := s.needDType(x), s.shape(x)
	if !ok || !known || len(image) != len(block) || len(shape) != 3 || !shape[1].IsStatic() {
		s.refuse("the shape of its image, block or channels is not known")
	}
	if s.why != "" {
		return
	}
	k, size := len(block), int64(1)
	strides, dilations, pads := filled(s.ints("strides"), k, 1), filled(s.ints("dilations"), k, 1), filled(s.ints("pads"), 2*k, 0)
	places, extra := make([]int64, k), make([]int64, k)
	for i := range k {
		size *= block[i]
		span := image[i] + pads[i] + pads[k+i] - (dilations[i]*(block[i]-1) + 1)
		if span < 0 || strides[i] < 1 {
			s.refuse("its block does not fit into the image")
			return
		}
		places[i], extra[i] = span/strides[i]+1, span%strides[i]
	}
	channels := shape[1].Size / max(size, 1)
	if channels < 1 || channels*size != shape[1].Size {
		s.refuse("its channels are not a multiple of the block")
		return
	}
	one := make([]float32, channels*size*size)
	for c := range channels {
		for j := range size {
			one[(c*size+j)*size+j] = 1
		}
	}
	if d.IsFloat() && d != ir.Float32 || !d.IsFloat() {
		s.tolerant()
	}
	w := s.constant(ir.TensorOf(one, append([]int64{channels * size, 1}, block...)...))
	y := s.reshape(s.cast(x, ir.Float32), s.vec(append([]int64{0, channels * size}, places...)...))
	// What the strides leave over at the end belongs to the image, without a column.
	y = s.opa("ConvTranspose", attrs(ir.IntAttr("group", channels), ir.IntsAttr("strides", strides), ir.IntsAttr("dilations", dilations),
		ir.IntsAttr("pads", pads), ir.IntsAttr("output_padding", extra), ir.IntsAttr("kernel_shape", block)), y, w)
	s.tolerant()
	s.replace(s.cast(y, d))
}

// filled is a list of integers, or n times the default.
func filled(v []int64, n int, def int64) []int64 {
	if len(v) == n {
		return v
	}
	r := make([]int64, n)
	for i := range r {
		r[i] = def
	}
	return r
}
