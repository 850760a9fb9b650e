package ir_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// TestBorderThen: what two changes one after the other mean for the model before both.
func TestBorderThen(t *testing.T) {
	perm, back := []ir.PortStep{{Perm: []int64{0, 2, 3, 1}}}, []ir.PortStep{{Perm: []int64{0, 3, 1, 2}}}
	cast := []ir.PortStep{{To: ir.Float32}}
	one := ir.ScalarOf[float32](1)
	var none *ir.Border
	b := &ir.Border{Inputs: []ir.Port{{Name: "x", Of: "y"}}}
	require.Same(t, b, none.Then(b))
	require.Same(t, b, b.Then(nil))
	for _, c := range []struct {
		name        string
		a, b, means ir.Border
	}{
		{"renamed twice",
			ir.Border{Inputs: []ir.Port{{Name: "x", Of: "y"}}}, ir.Border{Inputs: []ir.Port{{Name: "y", Of: "z"}}},
			ir.Border{Inputs: []ir.Port{{Name: "x", Of: "z", Steps: nil}}}},
		{"relaid, then cast: the data are cast first, then transposed",
			ir.Border{Inputs: []ir.Port{{Name: "x", Of: "x", Steps: back}}}, ir.Border{Inputs: []ir.Port{{Name: "x", Of: "x", Steps: cast}}},
			ir.Border{Inputs: []ir.Port{{Name: "x", Of: "x", Steps: append(append([]ir.PortStep{}, cast...), back...)}}}},
		{"outputs: the first steps first",
			ir.Border{Outputs: []ir.Port{{Name: "y", Of: "y", Steps: perm}}}, ir.Border{Outputs: []ir.Port{{Name: "z", Of: "y", Steps: cast}}},
			ir.Border{Outputs: []ir.Port{{Name: "z", Of: "y", Steps: append(append([]ir.PortStep{}, perm...), cast...)}}}},
		{"a tap that is relaid",
			ir.Border{Taps: []ir.Port{{Name: "a", Of: "a"}}}, ir.Border{Inputs: []ir.Port{{Name: "a", Of: "b", Steps: back}}},
			ir.Border{Taps: []ir.Port{{Name: "b", Of: "a", Steps: perm}}}},
		{"a tap that is cast cannot be told",
			ir.Border{Taps: []ir.Port{{Name: "a", Of: "a"}}}, ir.Border{Inputs: []ir.Port{{Name: "a", Of: "b", Steps: cast}}},
			ir.Border{Why: "input b is an inner value of another type in the original"}},
		{"a renamed value that becomes an output, and one that takes its name",
			ir.Border{Values: []ir.Port{{Name: "k", Of: "h"}, {Name: "h", Of: "k"}}}, ir.Border{Outputs: []ir.Port{{Name: "h", Of: "h"}}},
			ir.Border{Values: []ir.Port{{Name: "k", Of: "h"}, {Name: "h", Of: "k"}}, Outputs: []ir.Port{{Name: "h", Of: "k"}}}},
		{"a renamed input that becomes an output",
			ir.Border{Inputs: []ir.Port{{Name: "x", Of: "z"}}}, ir.Border{Outputs: []ir.Port{{Name: "o", Of: "z"}}},
			ir.Border{Inputs: []ir.Port{{Name: "x", Of: "z"}}, Outputs: []ir.Port{{Name: "o", Of: "x"}}}},
		{"an output of the first that feeds the second",
			ir.Border{Outputs: []ir.Port{{Name: "new", Of: "h"}}}, ir.Border{Taps: []ir.Port{{Name: "new", Of: "new"}}, Outputs: []ir.Port{{Name: "y", Of: "y"}}},
			ir.Border{Taps: []ir.Port{{Name: "new", Of: "h"}}, Outputs: []ir.Port{{Name: "y", Of: "y"}}}},
		{"an input that is cast and renamed, and then fixed: the original takes the value cast",
			ir.Border{Inputs: []ir.Port{{Name: "x", Of: "y", Steps: cast}, {Name: "z", Of: "w"}}}, ir.Border{Fixed: []ir.Fixed{{Name: "y", Value: one}}},
			ir.Border{Inputs: []ir.Port{{Name: "z", Of: "w"}}, Fixed: []ir.Fixed{{Name: "x", Value: one, Steps: cast}}}},
		{"an input that is fixed, and another one that takes its name",
			ir.Border{Fixed: []ir.Fixed{{Name: "x", Value: one}}}, ir.Border{Inputs: []ir.Port{{Name: "y", Of: "x"}}},
			ir.Border{Fixed: []ir.Fixed{{Name: "x", Value: one}}, Inputs: []ir.Port{{Name: "y", Of: "x"}}}},
		{"a tap that is fixed cannot be told",
			ir.Border{Taps: []ir.Port{{Name: "a", Of: "a"}}}, ir.Border{Fixed: []ir.Fixed{{Name: "a", Value: one}}},
			ir.Border{Why: "input a is an inner value of the original, and fixed"}},
	} {
		require.Equal(t, &c.means, c.a.Then(&c.b), c.name)
	}
}
