package kernel

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// TestTransposePlanes: matrices that are transposed in strips, of sizes around those of a strip, against the definition.
func TestTransposePlanes(t *testing.T) {
	for _, k := range []struct{ shape, perm []int64 }{
		{[]int64{16, 16}, []int64{1, 0}},
		{[]int64{15, 70}, []int64{1, 0}},
		{[]int64{130, 17}, []int64{1, 0}},
		{[]int64{3, 20, 65}, []int64{0, 2, 1}},
		{[]int64{20, 3, 65}, []int64{2, 1, 0}},
		{[]int64{2, 18, 3, 64}, []int64{2, 0, 3, 1}},
		{[]int64{0, 18, 20}, []int64{0, 2, 1}},
		{[]int64{18, 0, 20}, []int64{0, 2, 1}},
	} {
		t.Run(fmt.Sprint(k.shape, k.perm), func(t *testing.T) {
			rank := len(k.shape)
			total := int64(1)
			for _, d := range k.shape {
				total *= d
			}
			words := make([]string, total)
			bytes := make([]byte, total)
			for i := range words {
				words[i], bytes[i] = strconv.Itoa(i), byte(i*7)
			}
			out := make([]int64, rank)
			for i, p := range k.perm {
				out[i] = k.shape[p]
			}
			wantWords, wantBytes := make([]string, total), make([]byte, total)
			for i := range total {
				at := make([]int64, rank) // in the result
				for a, rest := rank-1, i; a >= 0; a-- {
					at[a], rest = rest%out[a], rest/out[a]
				}
				from := make([]int64, rank)
				for a, p := range k.perm {
					from[p] = at[a]
				}
				j := int64(0)
				for a, d := range k.shape {
					j = j*d + from[a]
				}
				wantWords[i], wantBytes[i] = words[j], bytes[j]
			}
			perm := []*ir.Attr{ir.IntsAttr("perm", k.perm)}
			got := transposed(t, perm, ir.NewStringTensor(k.shape, words))
			require.Equal(t, out, got.Shape())
			s, err := got.Strings()
			require.NoError(t, err)
			require.Equal(t, wantWords, s)
			b, err := transposed(t, perm, ir.NewTensor(ir.Uint8, k.shape, bytes)).Bytes()
			require.NoError(t, err)
			require.Equal(t, wantBytes, b)
		})
	}
}

func transposed(t *testing.T, perm []*ir.Attr, x *ir.Tensor) *ir.Tensor {
	out, err := evaluate("Transpose", 21, perm, x)
	require.NoError(t, err)
	return out[0].(*ir.Tensor)
}
