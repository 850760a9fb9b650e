// Package view makes the constant shape operands with which Reshape and Expand turn a value with dimensions x into one with dimensions
// z, which may be partly dynamic. Results named ok are false where that cannot be said by a constant.
package view

import "github.com/onnxopt/onnxopt/ops/infer"

// Reshape is the shape operand of a Reshape without allowzero. It needs all dimensions of z but one; those that x surely has at
// the same place are copied. A dimension that is zero cannot be said; and where one is left to be found, the others must not be zero
// at run time, because nothing can then be found.
func Reshape(x, z []infer.Int) (dims []int64, ok bool) {
	return ReshapeUnless(x, z, func(infer.Int) bool { return false })
}

// ReshapeUnless is Reshape for a value that is not computed at all, because that fails, where a dimension is zero of which fails is
// true.
func ReshapeUnless(x, z []infer.Int, fails func(d infer.Int) bool) (dims []int64, ok bool) {
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
	for i, d := range z {
		if inferred && dims[i] == 0 && !d.Positive() && !fails(d) {
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
