package constfold_test

import (
	"context"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/simplify/constfold"
	"github.com/stretchr/testify/require"
)

// TestLimits checks that a node that would take too much work or memory is left alone, and says so.
func TestLimits(t *testing.T) {
	square := func(n int64) *ir.Tensor { return ir.NewTensor(ir.Float32, []int64{n, n}, make([]byte, 4*n*n)) }
	for _, k := range []struct {
		name     string
		op       string
		size     int64
		pipeline string
		why      string
	}{
		{"a small product", "MatMul", 16, "constfold", ""},
		{"a large product", "MatMul", 1100, "constfold", "multiplications"},
		{"a large sum", "Add", 1100, "constfold", ""},
		{"larger than allowed", "Add", 1100, "constfold{max-size=1M}", "its operands take"},
	} {
		t.Run(k.name, func(t *testing.T) {
			m := ir.NewModel(10, 17)
			in := []*ir.Value{m.Main.Const(square(k.size)), m.Main.Const(square(k.size))}
			m.Main.AddOutput("y", m.Main.New(nil, ir.Op(k.op), in).Result(0), nil)
			reg, err := passes.NewRegistry(constfold.Pass)
			require.NoError(t, err)
			p, err := reg.Parse(k.pipeline)
			require.NoError(t, err)
			why := ""
			_, err = p.Run(context.Background(), m, passes.Config{Remarks: func(r passes.Remark) { why += r.Why }})
			require.NoError(t, err)
			require.Contains(t, why, k.why)
			require.Equal(t, k.why == "", m.Main.NumNodes() == 0, why)
		})
	}
}
