package meaning_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/meaning"
)

func TestKept(t *testing.T) {
	for _, c := range []struct {
		op         string
		have, want int64
		kept       bool
	}{
		{"Relu", 15, 21, true},
		{"Sub", 13, 14, true}, // further integers
		{"Sub", 14, 13, false},
		{"Add", 6, 7, false}, // broadcasting by attribute
		{"Equal", 11, 19, true},
		{"Softmax", 11, 13, false}, // another default of axis, and no flattening
		{"Split", 13, 18, false},   // a further attribute
		{"Pad", 13, 18, false},     // a further operand
		{"ReduceSum", 11, 13, false},
		{"Conv", 11, 22, false}, // only types are added, but that is not believed
		{"Transpose", 1, 13, false},
		{"Transpose", 9, 13, true},
		{"Transpose", 9, 99, false},
		{"Nothing", 9, 13, false},
		{"Upsample", 9, 10, false},
	} {
		require.Equal(t, c.kept, meaning.Kept(ir.Op(c.op), c.have, c.want), "%s from %d to %d", c.op, c.have, c.want)
	}
}
