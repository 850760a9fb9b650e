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

// spells reports whether n writes numbers other than integers as text. The standard permits several spellings of one number, and
// runtimes differ: 1e+10 is 10000000000.0 elsewhere, and true is 1 or True.
func spells(n *ir.Node) bool {
	x := n.Operand(0)
	if x == nil || x.Const() == nil || x.Const().DType().IsInt() || x.Const().DType() == ir.String {
		return false
	}
	switch {
	case n.Is("Cast"):
		a := n.Attr("to")
		return a != nil && ir.DType(a.Int()) == ir.String
	case n.Is("CastLike"):
		return n.Operand(1) != nil && n.Operand(1).Type().DType() == ir.String
	}
	return false
}

// rounds reports whether arithmetic in d rounds.
func rounds(d ir.DType) bool { return d.IsFloat() || d == ir.Complex64 || d == ir.Complex128 }
