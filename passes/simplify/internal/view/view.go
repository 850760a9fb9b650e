// Package view makes the shape operands of Reshape and Expand for shapes that may be partly dynamic.
package view

import "github.com/onnxopt/onnxopt/ir"

// Reshape is a constant shape operand, in the meaning without allowzero, with which Reshape makes shape z of a value of shape x. It
// needs the rank of z and all of its dimensions but one; dimensions that x surely has at the same place are copied. ok is
// false where that is not enough, or where a dimension is zero, which the operand cannot say.
func Reshape(x, z ir.Shape) (dims []int64, ok bool) {
	if z == nil {
		return nil, false
	}
	open := 0
	for _, d := range z {
		if !d.IsStatic() {
			open++
		}
	}
	dims = make([]int64, len(z))
	inferred := false
	for i, d := range z {
		switch {
		case d.IsStatic() && d.Size > 0:
			dims[i] = d.Size
		case d.IsStatic():
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

// Expand is a constant shape operand with which Expand makes shape z of a value of shape x: a one keeps what x has. ok is false
// where a dimension of z is neither known nor that of x.
func Expand(x, z ir.Shape) (dims []int64, ok bool) {
	if x == nil || z == nil || len(x) > len(z) {
		return nil, false
	}
	dims = make([]int64, len(z))
	for i, d := range z {
		j := i - (len(z) - len(x))
		switch {
		case d.IsStatic():
			dims[i] = d.Size
		case j >= 0 && x[j].Same(d):
			dims[i] = 1
		default:
			return nil, false
		}
	}
	return dims, true
}
