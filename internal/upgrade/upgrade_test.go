package upgrade_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/internal/upgrade"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// TestRaise raises the opset of one node, and holds the result to the numbers of the original, or expects the reason why not.
func TestRaise(t *testing.T) {
	for _, c := range []struct {
		from, to int64
		node     string
		refused  string // part of the reason
	}{
		{7, 17, `y = Relu (x)`, ""},
		{11, 17, `y = Add (x, x)`, ""},
		{11, 23, `y = ReduceMean <axes = [1], keepdims = 0> (x)`, ""},
		{11, 23, `y = ReduceMax (x)`, ""},
		{11, 17, `y = ReduceSum <axes = [-1]> (x)`, ""},
		{11, 17, `y = Unsqueeze <axes = [0,2]> (x)`, ""},
		{11, 23, `y, w = Split <axis = 2> (x)`, ""},
		{11, 23, `y, w = Split <axis = 2, split = [1,3]> (x)`, ""},
		{11, 17, `y = Softmax <axis = 2> (x)`, ""},
		{11, 17, `y = LogSoftmax <axis = -1> (x)`, ""},
		{11, 17, `y = Softmax (x)`, "version 13 has another meaning"},
		{11, 17, `y = Softmax <axis = 1> (x)`, "version 13 has another meaning"},
		{9, 17, `y = Clip <min = 0.0> (x)`, "attribute"},
		{9, 17, `y = Upsample <mode = "nearest"> (x, s)`, "withdrew it"},
		{11, 17, `y = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn"> (x, s, s)`, "does not have tf_half_pixel_for_nn"},
		{9, 10, `y = Dropout (x)`, ""},
		{11, 17, `y = Dropout (x)`, "attribute ratio is another in version 12"},
		{12, 17, `y = Erf (x)`, ""},
		{12, 17, `y = NoSuchOperator (x)`, "has no operator"},
	} {
		t.Run(fmt.Sprintf("%d-%d %s", c.from, c.to, c.node), func(t *testing.T) {
			m, err := text.ParseGraph([]byte("main (float[2,3,4] x) => (y) <float[3] s = {1,1,2}> { "+c.node+" }"), ir.Opset{Version: c.from})
			require.NoError(t, err)
			r := infer.Model(m)
			err = upgrade.Check(m, c.to, r.Type)
			if c.refused != "" {
				require.ErrorContains(t, err, c.refused)
				return
			}
			require.NoError(t, err)
			up := m.Clone()
			types := infer.Model(up)
			known := map[*ir.Value]*ir.Type{}
			for n := range up.Nodes() {
				for _, v := range n.Operands() {
					known[v] = types.Type(v)
				}
			}
			upgrade.Raise(up, c.to, func(v *ir.Value) *ir.Type { return known[v] })
			require.Equal(t, c.to, up.Opset(""))
			require.NoError(t, ir.Verify(up))
			require.NoError(t, ops.Verify(up))
			v, err := compare.Models(context.Background(), native.New(), m, up, nil, compare.Options{
				Tolerance: func(string) compare.Tolerance { return compare.Tolerance{Exact: true} }})
			require.NoError(t, err)
			require.Equal(t, compare.Verified, v.State, v)
		})
	}
}
