package omit

import (
	"github.com/onnxopt/onnxopt/ir"
)

const (
	// maxRead bounds the bytes of constants that are looked at.
	maxRead = 1 << 20
	// maxDepth bounds the chain of nodes that is followed to a constant.
	maxDepth = 8
)

// zero reports whether every element of v is surely zero, with all bits zero: -0 is none.
func zero(v *ir.Value) bool {
	for range maxDepth {
		if t := v.Const(); t != nil {
			return zeros(t)
		}
		n := v.Node()
		switch {
		case n == nil:
			return false
		case n.Is("ConstantOfShape"):
			a := n.Attr("value")
			return a == nil || a.Tensor() != nil && zeros(a.Tensor())
		case n.Is("Expand", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Tile", "Slice", "Identity", "Flatten"):
			if v = n.Operand(0); v == nil {
				return false
			}
		default:
			return false
		}
	}
	return false
}

// zeros reports whether a constant of moderate size has nothing but zero bits.
func zeros(t *ir.Tensor) bool {
	if n := t.ByteLen(); n < 0 || n > maxRead {
		return false
	}
	b, err := t.Bytes()
	if err != nil {
		return false
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// unit reports whether v is a constant of integers that are all one.
func unit(v *ir.Value) bool {
	t := v.Const()
	if t == nil || t.Len() > maxRead/8 {
		return false
	}
	switch t.DType() {
	case ir.Int64:
		return ones[int64](t)
	case ir.Int32:
		return ones[int32](t)
	}
	return false
}

func ones[T int32 | int64](t *ir.Tensor) bool {
	v, err := ir.Elements[T](t)
	if err != nil {
		return false
	}
	for _, x := range v {
		if x != 1 {
			return false
		}
	}
	return true
}
