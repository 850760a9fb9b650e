package native

import (
	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Executors compute float16 in float32: operands are widened before and the result is rounded once after, as the kernels do.

// widen is a float32 tensor of the values of a float16 one, in v.
func widen(v []float32, x *ir.Tensor) (*ir.Tensor, error) {
	h, err := ir.Elements[uint16](x)
	if err != nil {
		return nil, err
	}
	for i := gemm.Widen(v, h); i < len(h); i++ {
		v[i] = kernel.Float16ToFloat32(h[i])
	}
	return ir.TensorOf(v, append([]int64{}, x.Shape()...)...), nil
}

// narrow is the float16 tensor of the values of a float32 one, in h, which has room for them.
func narrow(h []uint16, x *ir.Tensor) (*ir.Tensor, error) {
	v, err := ir.Elements[float32](x)
	if err != nil {
		return nil, err
	}
	for from := 0; from < len(v); {
		from += gemm.Narrow(h[from:], v[from:])
		for end := min(from+8, len(v)); from < end; from++ {
			if h[from] = 0x7e00; v[from] == v[from] { // the one NaN of the kernels
				h[from] = kernel.Float32ToFloat16(v[from])
			}
		}
	}
	return ir.NewTensor(ir.Float16, x.Shape(), ir.AsBytes(h)), nil
}

// widenConstants keeps the float16 constants of a step widened; nil where there are none.
func widenConstants(in []operand) []*ir.Tensor {
	var wide []*ir.Tensor
	for i, o := range in {
		if o.tensor == nil || o.tensor.DType() != ir.Float16 || o.tensor.Len() < 0 {
			continue
		}
		if b, err := o.tensor.Bytes(); err != nil || int64(len(b)) != 2*o.tensor.Len() {
			continue
		}
		x, err := widen(make([]float32, o.tensor.Len()), o.tensor)
		if err != nil {
			continue
		}
		if wide == nil {
			wide = make([]*ir.Tensor, len(in))
		}
		wide[i] = x
	}
	return wide
}

// widened is operand i, a float16 tensor, widened for this task.
func (t *task) widened(i int, x *ir.Tensor) (*ir.Tensor, bool) {
	t.half = true
	if t.step.wide != nil && t.step.wide[i] != nil {
		return t.step.wide[i], true
	}
	if t.temporary == nil {
		t.temporary = make([]*ir.Tensor, len(t.in))
	}
	if w := t.temporary[i]; w != nil {
		return w, true
	}
	v, ok := t.alloc(x.Shape())
	if !ok {
		return nil, false
	}
	w, err := widen(v, x)
	if err != nil {
		return nil, false
	}
	t.temporary[i] = w
	return w, true
}

// execute runs the executor of the step and rounds its result to the element type of the operands.
func (t *task) execute() (*ir.Tensor, bool) {
	r, ok := t.step.fast(t)
	if ok && t.half {
		wide := r
		if t.full {
			ok = false // operands of both types: the kernel says what is wrong
		} else {
			r, ok = t.narrowed(wide)
		}
		t.giveBack(wide)
	}
	for _, w := range t.temporary {
		t.giveBack(w)
	}
	if !ok && t.frame.limited != nil {
		delete(t.frame.limited, t.step.out[0]) // the kernel limits nothing
	}
	return r, ok
}

// narrowed is x in float16, in memory that is lent.
func (t *task) narrowed(x *ir.Tensor) (*ir.Tensor, bool) {
	n := x.Len()
	v, ok := t.lend(int(n+1) / 2)
	if !ok {
		return nil, false
	}
	r, err := narrow(viewAs[uint16](v, int(n)), x)
	return r, err == nil
}

// giveBack ends the use of a tensor over memory of this task.
func (t *task) giveBack(x *ir.Tensor) {
	if x == nil {
		return
	}
	if v, err := ir.Elements[float32](x); err == nil {
		t.done(v)
	}
}
