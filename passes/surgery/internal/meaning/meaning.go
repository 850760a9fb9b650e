// Package meaning says whether an operator means the same in two operator sets.
package meaning

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// Kept reports whether a node of op that is valid in operator set have means the same in operator set want: either they have one version
// of the operator, or want is newer and only takes further types. The latter is believed of elementwise operators and those that move
// data, whose parameters and attributes are the same, from opset 7 on, in which broadcasting got its rules; versions of others change
// more than their signatures show.
func Kept(op ir.OpID, have, want int64) bool {
	if newest := schema.Newest(op.Domain); have > newest || want > newest {
		return false
	}
	a, b := schema.Lookup(op, have), schema.Lookup(op, want)
	switch {
	case a == nil || b == nil:
		return false
	case a == b:
		return true
	}
	const plain = schema.Unary | schema.Broadcast | schema.Movement
	return have >= 7 && have < want && a.Traits()&plain != 0 && b.Traits()&plain != 0 && !b.Deprecated() &&
		slices.Equal(a.Attrs(), b.Attrs()) && slices.EqualFunc(a.Inputs(), b.Inputs(), alike) && slices.EqualFunc(a.Outputs(), b.Outputs(), alike)
}

// alike compares parameters without their types.
func alike(p, q schema.Param) bool {
	return p.Option == q.Option && p.Mixed == q.Mixed && p.MinArity == q.MinArity
}
