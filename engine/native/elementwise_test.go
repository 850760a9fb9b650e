package native_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
)

// shape has up to four axes, now and then an empty one, or thousands of elements.
func (r source) shape() []int64 {
	if r.IntN(12) == 0 {
		return []int64{3, 9001}
	}
	s := make([]int64, r.IntN(5))
	for i := range s {
		s[i] = either(r, 1, r.size(1, 7), r.size(1, 20))
		if r.IntN(40) == 0 {
			s[i] = 0
		}
	}
	return s
}

// broadcasts is a shape that broadcasts with s, or nearly.
func (r source) broadcasts(s []int64) []int64 {
	b := append([]int64{}, s[r.IntN(len(s)+1):]...)
	for i := range b {
		if r.IntN(3) == 0 {
			b[i] = 1
		}
	}
	if r.IntN(20) == 0 && len(b) > 0 {
		b[0] += 2
	}
	return b
}

func TestBinary(t *testing.T) {
	many(t, 300, func(r source) single {
		a := r.shape()
		b := r.broadcasts(a)
		if r.IntN(3) == 0 {
			b = a
		}
		if r.IntN(2) == 0 {
			a, b = b, a
		}
		return single{op: either(r, "Add", "Sub", "Mul", "Div"), opset: either(r, int64(7), 14),
			in: []*ir.Tensor{r.tensor(r.IntN(2) == 0, a...), r.tensor(r.IntN(2) == 0, b...)}}
	})
}

func TestSum(t *testing.T) {
	many(t, 60, func(r source) single {
		a := r.shape()
		s := single{op: "Sum", opset: 13}
		for range r.size(1, 4) {
			s.in = append(s.in, r.tensor(r.IntN(2) == 0, a...))
		}
		if r.IntN(4) == 0 {
			s.in[0] = r.tensor(false, r.broadcasts(a)...)
		}
		return s
	})
}

func TestUnary(t *testing.T) {
	many(t, 400, func(r source) single {
		s := single{op: either(r, "Relu", "Sigmoid", "Tanh", "Exp", "Erf", "Sqrt", "Neg", "HardSwish", "HardSigmoid", "LeakyRelu"), opset: 20}
		if r.IntN(2) == 0 && (s.op == "HardSigmoid" || s.op == "LeakyRelu") {
			s.attrs = append(s.attrs, ir.FloatAttr("alpha", 0.3))
		}
		s.in = []*ir.Tensor{r.tensor(r.IntN(2) == 0, r.shape()...)}
		return s
	})
}

func TestClip(t *testing.T) {
	many(t, 100, func(r source) single {
		if r.IntN(4) == 0 {
			return single{op: "Clip", opset: 6, attrs: []*ir.Attr{ir.FloatAttr("min", -1), ir.FloatAttr("max", 2)},
				in: []*ir.Tensor{r.tensor(true, r.shape()...)}}
		}
		s := single{op: "Clip", opset: 13, in: []*ir.Tensor{r.tensor(true, r.shape()...), nil, nil}}
		for i := range 2 {
			if r.IntN(4) > 0 {
				s.in[i+1] = r.tensor(true)
			}
		}
		return s
	})
}

func TestBatchNormalization(t *testing.T) {
	many(t, 60, func(r source) single {
		shape := append([]int64{r.size(1, 3), r.size(1, 6)}, r.shape()...)
		c := shape[1]
		variance := make([]float32, c)
		for i := range variance {
			variance[i] = 0.1 + r.Float32()
		}
		return single{op: "BatchNormalization", opset: 15, attrs: []*ir.Attr{ir.FloatAttr("epsilon", 1e-3)},
			in: []*ir.Tensor{r.tensor(r.IntN(4) == 0, shape...), r.tensor(false, c), r.tensor(false, c), r.tensor(false, c), ir.TensorOf(variance)}}
	})
}

// TestBatchNormalizationTraining looks at each of the results.
func TestBatchNormalizationTraining(t *testing.T) {
	many(t, 60, func(r source) single {
		shape := []int64{r.size(1, 9), r.size(1, 6)}
		for range r.IntN(3) {
			shape = append(shape, r.size(1, 12))
		}
		positive := func() *ir.Tensor {
			v := make([]float32, shape[1])
			for i := range v {
				v[i] = r.Float32() + .1
			}
			return ir.TensorOf(v)
		}
		c := shape[1]
		return single{op: "BatchNormalization", opset: 15, out: r.IntN(3), attrs: []*ir.Attr{ir.IntAttr("training_mode", 1), ir.FloatAttr("momentum", .7), ir.FloatAttr("epsilon", .01)},
			in: []*ir.Tensor{r.tensor(false, shape...), r.tensor(false, c), r.tensor(false, c), r.tensor(false, c), positive()}}
	})
}

func TestSoftmax(t *testing.T) {
	many(t, 80, func(r source) single {
		s := single{op: "Softmax", opset: either(r, int64(11), 13), in: []*ir.Tensor{r.tensor(r.IntN(4) == 0, append(r.shape(), r.size(1, 40))...)}}
		if r.IntN(2) == 0 {
			s.attrs = append(s.attrs, ir.IntAttr("axis", r.size(-2, 2)))
		}
		return s
	})
}

func TestTranspose(t *testing.T) {
	many(t, 100, func(r source) single {
		shape := r.shape()
		s := single{op: "Transpose", opset: 13, in: []*ir.Tensor{r.tensor(true, shape...)}}
		if r.IntN(4) > 0 {
			var perm []int64
			for _, a := range r.Perm(len(shape)) {
				perm = append(perm, int64(a))
			}
			if perm != nil {
				s.attrs = append(s.attrs, ir.IntsAttr("perm", perm))
			}
		}
		return s
	})
}

func TestPooling(t *testing.T) {
	many(t, 200, func(r source) single {
		s := single{op: either(r, "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), opset: 19}
		s.in = []*ir.Tensor{r.tensor(r.IntN(4) == 0, r.size(1, 2), r.size(1, 4), r.size(1, 20), r.size(1, 20))}
		if strings.HasPrefix(s.op, "Global") {
			return s
		}
		list := func(n int, least, most int64) (l []int64) {
			for range n {
				l = append(l, r.size(least, most))
			}
			return l
		}
		s.attrs = []*ir.Attr{ir.IntsAttr("kernel_shape", list(2, 1, 4)), ir.IntAttr("ceil_mode", r.size(0, 1)), ir.IntsAttr("strides", list(2, 1, 3)),
			ir.IntsAttr("dilations", list(2, 1, 2))}
		if auto := either(r, "", "", "VALID", "SAME_UPPER"); auto != "" {
			s.attrs = append(s.attrs, ir.StringAttr("auto_pad", auto))
		} else {
			s.attrs = append(s.attrs, ir.IntsAttr("pads", list(4, 0, 2)))
		}
		if s.op == "AveragePool" {
			s.attrs = append(s.attrs, ir.IntAttr("count_include_pad", r.size(0, 1)))
		}
		return s
	})
}

func TestConcat(t *testing.T) {
	many(t, 60, func(r source) single {
		shape := append(r.shape(), r.size(1, 4))
		axis := r.size(0, int64(len(shape))-1)
		s := single{op: "Concat", opset: 13, attrs: []*ir.Attr{ir.IntAttr("axis", axis-either(r, 0, int64(len(shape))))}}
		for range r.size(1, 4) {
			part := append([]int64{}, shape...)
			part[axis] = r.size(0, 5)
			if r.IntN(30) == 0 {
				part[len(part)-1]++
			}
			s.in = append(s.in, r.tensor(true, part...))
		}
		return s
	})
}

func TestSlice(t *testing.T) {
	many(t, 150, func(r source) single {
		shape := append(r.shape(), r.size(1, 6))
		return slice(r, shape)
	})
}

// slice is a Slice of some axes of a value of the shape.
func slice(r source, shape []int64) single {
	s := single{op: "Slice", opset: 13, in: []*ir.Tensor{r.tensor(true, shape...)}}
	var lists [4][]int64 // starts, ends, axes, steps
	for _, a := range r.Perm(len(shape))[:r.size(1, int64(len(shape)))] {
		d := shape[a]
		lists[0] = append(lists[0], r.size(-d-1, d))
		lists[1] = append(lists[1], either(r, r.size(-d-1, d+1), math.MaxInt64, math.MinInt64))
		lists[2] = append(lists[2], int64(a)-either(r, 0, int64(len(shape))))
		lists[3] = append(lists[3], either[int64](r, 1, 1, 2, 3, -1, -2, math.MinInt64))
	}
	for i, l := range lists[:either(r, 3, 4)] {
		if i == 2 && r.IntN(4) == 0 && len(lists[2]) == len(shape) {
			s.in = append(s.in, nil)
			continue
		}
		s.in = append(s.in, ir.TensorOf(l, int64(len(l))))
	}
	return s
}

func TestPad(t *testing.T) {
	many(t, 100, func(r source) single {
		shape := append(r.shape(), r.size(1, 6))
		s := single{op: "Pad", opset: 13, in: []*ir.Tensor{r.tensor(true, shape...)}}
		pads := make([]int64, 2*len(shape))
		for i := range pads {
			pads[i] = either(r, 0, r.size(0, 3), r.size(0, 3))
			if r.IntN(40) == 0 {
				pads[i] = -1
			}
		}
		s.in = append(s.in, ir.TensorOf(pads))
		if r.IntN(2) == 0 {
			s.in = append(s.in, ir.ScalarOf(r.Float32()))
		}
		if r.IntN(6) == 0 {
			s.attrs = []*ir.Attr{ir.StringAttr("mode", "edge")}
		}
		return s
	})
}

func TestGather(t *testing.T) {
	many(t, 80, func(r source) single {
		shape := append(r.shape(), r.size(1, 9))
		axis := r.size(0, int64(len(shape))-1)
		d := max(shape[axis], 1)
		idx := make([]int64, r.size(1, 7))
		for i := range idx {
			idx[i] = r.size(-d, d-1)
			if r.IntN(60) == 0 {
				idx[i] = d
			}
		}
		s := single{op: "Gather", opset: 13, in: []*ir.Tensor{r.tensor(true, shape...), ir.TensorOf(idx)}}
		if len(idx) == 1 && r.IntN(2) == 0 {
			s.in[1] = ir.ScalarOf(idx[0])
		}
		s.attrs = []*ir.Attr{ir.IntAttr("axis", axis-either(r, 0, int64(len(shape))))}
		return s
	})
}

// TestMovesDivided moves so much that workers divide it.
func TestMovesDivided(t *testing.T) {
	many(t, 60, func(r source) single {
		shape := []int64{r.size(1, 5), r.size(1, 40), r.size(1, 40), r.size(60, 90)}
		r.Shuffle(len(shape), func(i, j int) { shape[i], shape[j] = shape[j], shape[i] })
		switch r.IntN(3) {
		case 0:
			return slice(r, shape)
		case 1:
			axis := r.size(0, 3)
			part := slices.Clone(shape)
			part[axis] = r.size(0, 40)
			return single{op: "Concat", opset: 13, attrs: []*ir.Attr{ir.IntAttr("axis", axis)}, in: []*ir.Tensor{r.tensor(true, shape...), r.tensor(true, part...)}}
		}
		var perm []int64
		for _, a := range r.Perm(4) {
			perm = append(perm, int64(a))
		}
		return single{op: "Transpose", opset: 13, attrs: []*ir.Attr{ir.IntsAttr("perm", perm)}, in: []*ir.Tensor{r.tensor(true, shape...)}}
	})
}

func TestPow(t *testing.T) {
	many(t, 40, func(r source) single {
		return single{op: "Pow", opset: 13, in: []*ir.Tensor{r.tensor(true, r.shape()...), ir.ScalarOf(either(r, float32(2), 2, 3, 0.5))}}
	})
}

func TestReduce(t *testing.T) {
	many(t, 240, func(r source) single {
		shape := append(r.shape(), r.size(1, 40))
		if r.IntN(8) == 0 {
			shape = append(shape, r.size(500, 600))
		}
		s := single{op: either(r, "ReduceMean", "ReduceSum", "ReduceMax"), opset: either(r, int64(12), 18), attrs: []*ir.Attr{ir.IntAttr("keepdims", r.size(0, 1))},
			in: []*ir.Tensor{r.tensor(r.IntN(3) == 0, shape...)}}
		axes := [][]int64{{-1}, {int64(len(shape)) - 1}, {-1, -2}, {-2, -1}, {0}, {}, {-1, -1}, {7}, {1}, {-2}, {0, 1}, {0, 2}, {2, 0}, {0, 2, 3}, {1, -1}}[r.IntN(15)]
		if s.opset == 18 {
			s.in = append(s.in, ir.TensorOf(axes, int64(len(axes))))
		} else {
			s.attrs = append(s.attrs, ir.IntsAttr("axes", axes))
		}
		return s
	})
}

// TestHalf runs executors on float16, which they round once: the bits are the kernel's where one rounding of float32 is.
func TestHalf(t *testing.T) {
	many(t, 60, func(r source) single {
		s := single{op: either(r, "Add", "Mul", "Div", "Relu", "Sqrt", "MaxPool", "Concat", "Transpose", "Clip"), opset: 14}
		shape := []int64{1, r.size(1, 3), r.size(2, 9), r.size(2, 9)}
		for range map[string]int{"Add": 2, "Mul": 2, "Div": 2, "Concat": 2}[s.op] {
			s.in = append(s.in, r.half(shape...))
		}
		switch s.op {
		case "MaxPool":
			s.attrs = []*ir.Attr{ir.IntsAttr("kernel_shape", []int64{2, 2})}
		case "Concat":
			s.attrs = []*ir.Attr{ir.IntAttr("axis", 1)}
		}
		if s.in == nil {
			s.in = []*ir.Tensor{r.half(shape...)}
		}
		return s
	})
}

// half has any bit patterns but those of NaN.
func (r source) half(shape ...int64) *ir.Tensor {
	h := make([]uint16, ir.NumElements(shape))
	for i := range h {
		for h[i] = uint16(r.Uint32()); h[i]&0x7fff > 0x7c00; {
			h[i] = uint16(r.Uint32())
		}
	}
	return ir.NewTensor(ir.Float16, shape, ir.AsBytes(h))
}
