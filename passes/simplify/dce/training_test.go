package dce_test

import (
	"context"
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/simplify/dce"
	"github.com/onnxopt/onnxopt/passes/simplify/dedup"
	"github.com/stretchr/testify/require"
)

// TestTrainedWeightsStay checks that initializers that training updates are neither removed nor merged.
func TestTrainedWeightsStay(t *testing.T) {
	m := ir.NewModel(10, 17)
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, ir.StaticShape(2)))
	m.Main.AddOutput("y", x, nil)
	u := m.Main.NamedConst("u", ir.TensorOf([]float32{1, 2}))
	v := m.Main.NamedConst("v", ir.TensorOf([]float32{1, 2}))
	m.Main.NamedConst("unused", ir.TensorOf([]float32{1, 2}))
	m.Training = []*ir.TrainingInfo{{UpdateBinding: []ir.Binding{{Target: u, Output: "a"}, {Target: v, Output: "b"}}}}
	reg, err := passes.NewRegistry(dce.Pass, dedup.Pass)
	require.NoError(t, err)
	p, err := reg.Parse("dedup-constants,dce")
	require.NoError(t, err)
	_, err = p.Run(context.Background(), m, passes.Config{})
	require.NoError(t, err)
	require.Equal(t, []*ir.Value{u, v}, m.Main.Consts())
}
