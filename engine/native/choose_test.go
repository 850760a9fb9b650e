package native_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

// bools is a condition of the shape.
func (r source) bools(shape ...int64) *ir.Tensor {
	b := make([]byte, ir.NumElements(shape))
	for i := range b {
		b[i] = byte(r.IntN(2))
	}
	return ir.NewTensor(ir.Bool, shape, b)
}

func TestWhere(t *testing.T) {
	many(t, 80, func(r source) single {
		shape := r.shape()
		operand := func() *ir.Tensor {
			switch r.IntN(4) {
			case 0:
				return r.tensor(true)
			case 1:
				return r.tensor(true, r.broadcasts(shape)...)
			}
			return r.tensor(true, shape...)
		}
		return single{op: "Where", opset: 16, in: []*ir.Tensor{r.bools(shape...), operand(), operand()}}
	})
}

// TestCompare has the truth values of the kernels in all forms.
func TestCompare(t *testing.T) {
	r := newSource()
	for range 80 {
		shape := r.shape()
		s := single{op: either(r, "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), opset: 16, in: []*ir.Tensor{r.tensor(true, shape...), r.tensor(true, shape...)}}
		switch r.IntN(3) {
		case 0:
			s.in[1] = r.tensor(true)
		case 1:
			s.in[1] = r.tensor(true, r.broadcasts(shape)...)
		}
		want, err := s.evaluate(t, native.Portable(), form{})
		require.NoError(t, err)
		for _, f := range []form{{}, {constants: true}, {computed: true}, {threads: 3}} {
			got, err := s.evaluate(t, native.New(), f)
			require.NoError(t, err)
			require.Equal(t, want.Shape(), got.Shape())
			require.Equal(t, bytesOf(t, want), bytesOf(t, got), "%v", s)
		}
	}
}

// TestConvLargeKernel has kernels about as large as the picture, and batches.
func TestConvLargeKernel(t *testing.T) {
	many(t, 30, func(r source) single {
		group := either(r, int64(1), 1, 2, 3)
		in, out := r.size(1, 3), r.size(1, 4)
		h, w := r.size(4, 12), r.size(4, 20)
		d := either(r, []int64{1, 1}, []int64{2, 2}, []int64{1, 3})
		kh, kw := max((h-r.size(0, 2))/d[0], 1), max((w-r.size(0, 2))/d[1], 1)
		s := single{op: "Conv", opset: 17, in: []*ir.Tensor{r.tensor(r.IntN(8) == 0, r.size(2, 9), in*group, h, w), r.tensor(false, out*group, in, kh, kw)}}
		s.attrs = []*ir.Attr{ir.IntAttr("group", group), ir.IntsAttr("dilations", d), ir.IntsAttr("strides", []int64{r.size(1, 2), r.size(1, 2)}),
			ir.IntsAttr("pads", []int64{r.size(0, 2), r.size(0, 2), r.size(0, 2), r.size(0, 2)})}
		return s
	})
}
