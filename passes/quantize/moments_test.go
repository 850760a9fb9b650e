package quantize

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
)

// TestPatches: the rows of a layer times its patches are what the operator computes, whatever its padding, stride, dilation and groups.
func TestPatches(t *testing.T) {
	x := make([]float32, 2*4*7*6)
	for i := range x {
		x[i] = float32((i*37)%19) - 9
	}
	w := ""
	for i := range 4 * 2 * 3 * 2 {
		w += fmt.Sprintf("%d,", (i*29)%13-6)
	}
	for _, attrs := range []string{
		"group=2", "group=2, pads=[1,0,2,1]", "group=2, strides=[2,3], pads=[1,1,1,1]", "group=2, dilations=[2,1]",
		`group=2, auto_pad="SAME_UPPER"`, `group=2, auto_pad="SAME_LOWER", strides=[2,2]`, `group=2, auto_pad="VALID"`,
	} {
		m, err := text.Parse([]byte(fmt.Sprintf(`<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4,7,6] x) => (float[a,b,c,d] y) <float[4,2,3,2] w = {%s}> { y = Conv <%s> (x, w) }`, w[:len(w)-1], attrs)))
		require.NoError(t, err)
		s, err := native.New().Load(context.Background(), m, engine.Options{})
		require.NoError(t, err)
		out, err := s.Run(context.Background(), map[string]ir.Datum{"x": ir.TensorOf(x, 2, 4, 7, 6)})
		require.NoError(t, err)
		y := out["y"].(*ir.Tensor)
		want, err := ir.Elements[float32](y)
		require.NoError(t, err)
		n := m.Main.NodeList()[0]
		l, ok, err := layerOf(&unit{node: n, weight: 1, axis: 0, acts: []int{0}})
		require.NoError(t, err)
		require.True(t, ok)
		c := geometryOf(l, []int64{2, 4, 7, 6})
		require.Equal(t, y.Shape(), []int64{2, 4, int64(c.outH), int64(c.outW)}, attrs)
		patch := make([]float32, l.groups*l.k)
		for b := range 2 {
			for oy := range c.outH {
				for ox := range c.outW {
					c.patch(x, b, oy, ox, patch)
					for row, v := range l.outputs(patch, 1) {
						require.InDelta(t, want[((b*4+row)*c.outH+oy)*c.outW+ox], v, 1e-3, "%s at %d,%d,%d", attrs, row, oy, ox)
					}
				}
			}
		}
	}
}
