package compare

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Like is a float32 tensor as float16 if the other is that: runtimes without float16 compute models of it in 32 bits. Others are as they are.
func Like(got, want ir.Datum) ir.Datum {
	g, ok := got.(*ir.Tensor)
	w, okW := want.(*ir.Tensor)
	if !ok || !okW || w.DType() != ir.Float16 || g.DType() != ir.Float32 {
		return got
	}
	f, err := ir.Elements[float32](g)
	if err != nil {
		return got
	}
	h := make([]uint16, len(f))
	for i, x := range f {
		h[i] = kernel.Float32ToFloat16(x)
	}
	return ir.NewTensor(ir.Float16, g.Shape(), ir.AsBytes(h))
}
