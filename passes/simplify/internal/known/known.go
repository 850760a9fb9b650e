// Package known reads elements that are the same in every run: those of constants, and what inference has found.
package known

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Bool is the value of a bool tensor of one element.
func Bool(f *facts.Facts, v *ir.Value) (value, ok bool) {
	t := small(f, v)
	if t == nil || t.DType() != ir.Bool || t.Len() != 1 {
		return false, false
	}
	b, err := t.Bytes()
	return err == nil && b[0] != 0, err == nil
}

// Int is the value of an int64 tensor of one element.
func Int(f *facts.Facts, v *ir.Value) (int64, bool) {
	t := small(f, v)
	if t == nil || t.DType() != ir.Int64 || t.Len() != 1 {
		return 0, false
	}
	x, err := ir.Elements[int64](t)
	if err != nil {
		return 0, false
	}
	return x[0], true
}

// Integers is v as a constant if it holds integers or bools that are known although v is none, else nil.
func Integers(f *facts.Facts, v *ir.Value) *ir.Tensor {
	if d := f.DType(v); v.Const() != nil || !d.IsInt() && d != ir.Bool {
		return nil
	}
	return small(f, v)
}

func small(f *facts.Facts, v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	return f.Known(v)
}
