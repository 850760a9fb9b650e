// Package known gives the elements of values that are known before the model runs: constants, and what inference has found.
package known

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Values answers questions about single values.
type Values struct{ facts *facts.Facts }

// Of returns what is known of the model that the pass works on.
func Of(c *passes.Context) (*Values, error) {
	f, err := facts.Of(c)
	return &Values{f}, err
}

// Type is the type of v, nil if nothing is known.
func (k *Values) Type(v *ir.Value) *ir.Type { return k.facts.Type(v) }

// Shape is the shape of v, nil if its rank is not known.
func (k *Values) Shape(v *ir.Value) ir.Shape { return k.facts.Type(v).TensorShape() }

// Bool is the value of a bool tensor of one element.
func (k *Values) Bool(v *ir.Value) (value, ok bool) {
	t := v.Const()
	if t == nil || t.DType() != ir.Bool || t.Len() != 1 {
		return false, false
	}
	b, err := t.Bytes()
	return err == nil && b[0] != 0, err == nil
}

// Int is the value of an int64 tensor of one element.
func (k *Values) Int(v *ir.Value) (int64, bool) {
	x, ok := k.Ints(v)
	if !ok || len(x) != 1 {
		return 0, false
	}
	return x[0], true
}

// Ints are the elements of an int64 tensor of rank 0 or 1.
func (k *Values) Ints(v *ir.Value) ([]int64, bool) {
	t := v.Const()
	if t == nil || t.DType() != ir.Int64 || t.Rank() > 1 {
		return nil, false
	}
	x, err := ir.Elements[int64](t)
	return x, err == nil
}

// Tensor is v as a constant if it holds integers or bools and inference knows all of them, else nil.
func (k *Values) Tensor(v *ir.Value) *ir.Tensor {
	if d := k.Type(v).DType(); !d.IsInt() && d != ir.Bool {
		return nil
	}
	if f, ok := any(k.facts).(interface {
		Known(*ir.Value) *ir.Tensor
	}); ok {
		return f.Known(v)
	}
	return nil
}
