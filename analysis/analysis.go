// Package analysis holds what the analyses in its directories share: where they learn types and sizes, and arithmetic that
// does not overflow.
package analysis

import (
	"math"
	"math/bits"

	"github.com/onnxopt/onnxopt/ir"
)

// Options say what is known of values. The zero value knows what the model records.
type Options struct {
	// Types tells the type of a value, nil if nothing is known. Shape inference supplies it; nil: what is recorded.
	Types func(*ir.Value) *ir.Type
	// Sizes are the sizes of symbolic dimensions.
	Sizes map[string]int64
}

// Type is what is known of v's type. It is safe on a nil value.
func (o Options) Type(v *ir.Value) *ir.Type {
	switch {
	case v == nil:
		return nil
	case v.Const() != nil:
		return v.Const().Type()
	case o.Types != nil:
		return o.Types(v)
	}
	return v.Type()
}

// Size is the size of a dimension, false if it is not known.
func (o Options) Size(d ir.Dim) (int64, bool) {
	if n, ok := o.Sizes[d.Param]; ok && d.Param != "" {
		return n, true
	}
	return d.Size, d.IsStatic()
}

// Bytes is the number of bytes of a tensor of type t, false if that is not known or t is no tensor of numbers.
func (o Options) Bytes(t *ir.Type) (int64, bool) {
	h := t.TensorShape()
	if h == nil || t.DType().Bits() == 0 {
		return 0, false
	}
	n := int64(1)
	for _, d := range h {
		k, ok := o.Size(d)
		if !ok {
			return 0, false
		}
		n = Mul(n, k)
	}
	b := t.DType().ByteLen(n)
	if b < 0 {
		return math.MaxInt64, true
	}
	return b, true
}

// Mul is a·b for numbers that are not negative, the largest int64 where that overflows.
func Mul(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}

// Add is a+b for numbers that are not negative, the largest int64 where that overflows.
func Add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
