package blockwise

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// matrix is a weight of n outputs, each a sum over k inputs, in whatever order it is stored.
type matrix struct {
	t      *ir.Tensor
	n, k   int
	byRow  bool      // stored [n, k]; otherwise [k, n]
	factor []float32 // of each input, by which its weights are multiplied; nil: none
}

// newMatrix views a constant of two axes, of which inputs is that which is summed.
func newMatrix(t *ir.Tensor, inputs int) *matrix {
	s := t.Shape()
	return &matrix{t: t, n: int(s[1-inputs]), k: int(s[inputs]), byRow: inputs == 1}
}

// view is a matrix with its elements at hand.
type view struct {
	*matrix
	f32 []float32
	f16 []uint16
	get func(uint16) float32
}

func (m *matrix) open() (*view, error) {
	v := &view{matrix: m}
	var err error
	switch m.t.DType() {
	case ir.Float32:
		v.f32, err = ir.Elements[float32](m.t)
	case ir.Float16:
		v.get = kernel.Float16ToFloat32
		v.f16, err = ir.Elements[uint16](m.t)
	case ir.BFloat16:
		v.get = kernel.BFloat16ToFloat32
		v.f16, err = ir.Elements[uint16](m.t)
	default:
		err = fmt.Errorf("weights of type %s", m.t.DType())
	}
	return v, err
}

// read copies inputs [from, from+len(dst)) of output n.
func (v *view) read(n, from int, dst []float32) {
	at, step := n*v.k+from, 1
	if !v.byRow {
		at, step = from*v.n+n, v.n
	}
	if v.get != nil {
		for i := range dst {
			dst[i] = v.get(v.f16[at])
			at += step
		}
	} else if step == 1 {
		copy(dst, v.f32[at:at+len(dst)])
	} else {
		for i := range dst {
			dst[i] = v.f32[at]
			at += step
		}
	}
	if v.factor != nil {
		for i := range dst {
			dst[i] *= v.factor[from+i]
		}
	}
}

// finite reports whether all elements are.
func (v *view) finite() bool {
	for _, x := range v.f32 {
		if x-x != 0 {
			return false
		}
	}
	if v.get != nil {
		for _, h := range v.f16 {
			if x := v.get(h); x-x != 0 {
				return false
			}
		}
	}
	return true
}

// scaleRounding is how scales of the matrix's type are rounded.
func (m *matrix) scaleRounding() func(float32) float32 {
	switch m.t.DType() {
	case ir.Float16:
		return func(x float32) float32 { return kernel.Float16ToFloat32(kernel.Float32ToFloat16(x)) }
	case ir.BFloat16:
		return func(x float32) float32 { return kernel.BFloat16ToFloat32(kernel.Float32ToBFloat16(x)) }
	}
	return func(x float32) float32 { return x }
}
