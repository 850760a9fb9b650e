package constfold

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// exactOnFloats are the operators whose result the standard and IEEE 754 fix to the bit, data movement aside: those that round once
// or not at all.
var exactOnFloats = []string{
	"Add", "Sub", "Mul", "Div", "Sqrt",
	"Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Relu", "Clip", "Min", "Max", "Where",
	"Cast", "CastLike", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN", "IsInf",
	"ReduceMin", "ReduceMax", "ArgMin", "ArgMax", "NonZero", "OneHot", "ConstantOfShape",
}

// exact reports whether every conforming runtime computes the same bits for n.
func (f *folder) exact(n *ir.Node) bool {
	if ops.Has(n, ops.Movement) || ops.Has(n, ops.ShapeOnly) || n.Op().Domain == "" && slices.Contains(exactOnFloats, n.Op().Type) {
		return true
	}
	for _, v := range n.Operands() {
		if v != nil && rounds(v.Const().DType()) {
			return false
		}
	}
	for _, v := range n.Results() {
		if d := f.facts.Type(v).DType(); v != nil && (d == ir.Undefined || rounds(d)) {
			return false
		}
	}
	return true
}

// rounds reports whether arithmetic in d rounds.
func rounds(d ir.DType) bool { return d.IsFloat() || d == ir.Complex64 || d == ir.Complex128 }
