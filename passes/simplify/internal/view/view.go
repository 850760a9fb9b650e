// Package view makes the shape operands of Reshape and Expand for shapes that may be partly dynamic.
package view

import "github.com/onnxopt/onnxopt/ops/infer"

// Operand makes a constant shape operand that turns a value with dimensions x into one with dimensions z. ok is false where
// that cannot be said by a constant.
type Operand func(x, z []infer.Int) (dims []int64, ok bool)

// Reshape is the shape operand of a Reshape without allowzero. It needs all dimensions of z but one; those that x surely has at
// the same place are copied. A dimension that is zero cannot be said.
func Reshape(x, z []infer.Int) (dims []int64, ok bool) {
	open := 0
	for _, d := range z {
		if _, static := d.Const(); !static {
			open++
		}
	}
	dims = make([]int64, len(z))
	inferred := false
	for i, d := range z {
		size, static := d.Const()
		switch {
		case static && size > 0:
			dims[i] = size
		case static:
			return nil, false
		case open > 1 && i < len(x) && x[i].Same(d):
			dims[i] = 0
		case !inferred:
			dims[i], inferred = -1, true
		default:
			return nil, false
		}
	}
	return dims, true
}

// Expand is the shape operand of an Expand: a one keeps what x has.
func Expand(x, z []infer.Int) (dims []int64, ok bool) {
	if len(x) > len(z) {
		return nil, false
	}
	dims = make([]int64, len(z))
	for i, d := range z {
		j := i - (len(z) - len(x))
		size, static := d.Const()
		switch {
		case static:
			dims[i] = size
		case j >= 0 && x[j].Same(d):
			dims[i] = 1
		default:
			return nil, false
		}
	}
	return dims, true
}
