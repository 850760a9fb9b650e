// Package irversion is what the notes of onnx.proto's enum Version say of IR versions: which one brought what.
package irversion

import "github.com/onnxopt/onnxopt/ir"

// first holds, by IR version, the first version of the default operator set that was released with it; onnx's
// helper.VERSION_TABLE.
var first = [...]int64{1, 1, 1, 1, 9, 10, 11, 12, 15, 19, 21, 23, 24, 25, 26}

// Opset is the first version of the default operator set that came with an IR version; the first or the last one known for a
// version outside the table.
func Opset(version int64) int64 { return first[min(max(version, 0), int64(len(first)-1))] }

// Of is the IR version that a version of the default operator set was released with.
func Of(opset int64) int64 {
	v := int64(len(first) - 1)
	for v > 3 && first[v] > opset {
		v--
	}
	return v
}

// Elem is the IR version that brought an element type, 0 for those that were always there.
func Elem(d ir.DType) int64 {
	switch d {
	case ir.BFloat16:
		return 4
	case ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ:
		return 9
	case ir.Int4, ir.Uint4:
		return 10
	case ir.Float4E2M1:
		return 11
	case ir.Float8E8M0:
		return 12
	case ir.Int2, ir.Uint2:
		return 13
	case ir.Float6E2M3, ir.Float6E3M2:
		return 14
	}
	return 0
}

// Type is the IR version that a type needs, 0 for one that was always there.
func Type(t *ir.Type) int64 {
	need := int64(0)
	for ; t != nil; t = t.Of {
		if t.Kind == ir.KindOptional || t.Kind == ir.KindSparse {
			need = max(need, 8)
		}
		need = max(need, Elem(t.Elem))
	}
	return need
}

// Function is the IR version that the form of a function needs.
func Function(f *ir.Function) int64 {
	switch {
	case f.Overload != "":
		return 10
	case len(f.Defaults) > 0:
		return 9
	}
	return 8
}
