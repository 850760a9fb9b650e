package dequantize

import (
	"context"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// held is the number of bytes up to which a result is kept in memory; larger ones are computed when they are read.
const held = 1 << 20

// evaluated is the result of n, all of whose operands are constants.
func evaluated(n *ir.Node, opset int64, t *ir.Type) (*ir.Tensor, error) {
	e := &evaluation{op: n.Op(), opset: opset, attrs: n.Attrs()}
	for _, v := range n.Operands() {
		if v == nil {
			e.in = append(e.in, nil)
			continue
		}
		e.in = append(e.in, v.Const())
	}
	if shape, ok := t.TensorShape().Ints(); ok && t.TensorShape().Known() && t.DType().ByteLen(ir.NumElements(shape)) > held {
		return ir.NewLazyTensor(t.DType(), shape, e), nil
	}
	return e.run()
}

// evaluation is the payload of a result that is computed when it is read.
type evaluation struct {
	op    ir.OpID
	opset int64
	attrs []*ir.Attr
	in    []ir.Datum
}

func (e *evaluation) run() (*ir.Tensor, error) {
	f := kernel.Lookup(e.op, e.opset)
	if f == nil {
		return nil, fmt.Errorf("there is no kernel for %s", e.op)
	}
	attr := func(name string) *ir.Attr {
		for _, a := range e.attrs {
			if a.Name == name {
				return a
			}
		}
		return nil
	}
	c := kernel.NewCall(context.Background(), e.op, e.opset, attr, e.in, 1)
	c.Limit = math.MaxInt64
	r, err := f(c)
	if err != nil {
		return nil, err
	}
	t, ok := r[0].(*ir.Tensor)
	if !ok {
		return nil, fmt.Errorf("%s gives no tensor", e.op)
	}
	return t, nil
}

// Uncached marks the payload as one whose bytes are not kept.
func (*evaluation) Uncached() {}

// Strings is an error: the tensor is of floats.
func (*evaluation) Strings() ([]string, error) { return nil, fmt.Errorf("not a string tensor") }

// Bytes computes the elements.
func (e *evaluation) Bytes() ([]byte, error) {
	t, err := e.run()
	if err != nil {
		return nil, err
	}
	return t.Bytes()
}

// bound is a scalar of a float type.
func bound(d ir.DType, x float32) *ir.Tensor {
	if d == ir.Float16 {
		top := weights.Largest(d)
		return ir.NewTensor(d, []int64{}, ir.AsBytes([]uint16{kernel.Float32ToFloat16(float32(max(min(float64(x), top), -top)))}))
	}
	return ir.ScalarOf(x)
}
