package strength

import (
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// nonNegative reports whether no element of v is surely below zero, -Inf included; NaN and -0 may be. It looks at most depth nodes back.
func nonNegative(v *ir.Value, depth int) bool {
	if v == nil {
		return false
	}
	if c := v.Const(); c != nil {
		return bounded(c, func(e float64) bool { return e >= 0 })
	}
	n := v.Node()
	if n == nil || depth == 0 {
		return false
	}
	switch op := n.Op(); {
	case op.Domain != "":
		return false
	case op.Type == "Mul" && n.Operand(0) == n.Operand(1):
		return true
	default:
		switch op.Type {
		case "Abs", "Relu", "Exp", "Sigmoid", "Softmax", "ReduceSumSquare", "ReduceL1", "ReduceL2":
			return true
		case "Add", "Mul":
			return nonNegative(n.Operand(0), depth-1) && nonNegative(n.Operand(1), depth-1)
		case "Div": // by -0 it would be -Inf
			c := n.Operand(1).Const()
			return c != nil && bounded(c, func(e float64) bool { return e > 0 }) && nonNegative(n.Operand(0), depth-1)
		case "ReduceMean", "ReduceSum", "Sqrt":
			return nonNegative(n.Operand(0), depth-1)
		}
	}
	return false
}

// bounded reports whether all elements of a small constant are as f wants.
func bounded(c *ir.Tensor, f func(float64) bool) bool {
	if c.Len() > 1<<12 || !weights.Supported(c.DType()) {
		return false
	}
	x, err := weights.Floats(c)
	if err != nil {
		return false
	}
	for _, e := range x {
		if !f(e) {
			return false
		}
	}
	return true
}
