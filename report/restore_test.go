package report

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnxopt/onnxopt/ir"
)

// TestRestoreOrigin: what KeepOrigin wrote comes back as origins; other nodes lose theirs, which are places of another file.
func TestRestoreOrigin(t *testing.T) {
	m := ir.NewModel(8, 17)
	x := m.Main.AddInput("x", ir.TensorType(ir.Float32, nil))
	a := m.Main.New(nil, ir.Op("Relu"), []*ir.Value{x})
	b := m.Main.New(nil, ir.Op("Abs"), []*ir.Value{a.Result(0)})
	first := ir.SourceOrigin(&ir.Source{Pos: 3, Name: "first", Op: ir.Op("Relu")})
	second := ir.SourceOrigin(&ir.Source{Pos: 7, Name: "second", Op: ir.Op("Relu")})
	a.SetOrigin(ir.DerivedOrigin("simplify/relu", first, second))
	b.SetOrigin(first)
	KeepOrigin(m)
	a.SetOrigin(nil) // as if the file was read again
	RestoreOrigin(m)
	var positions []int
	for _, s := range a.Origin().Sources() {
		positions = append(positions, s.Pos)
	}
	require.Equal(t, []int{3, 7}, positions)
	require.Equal(t, []string{"simplify/relu"}, a.Origin().Rules())
	require.Nil(t, b.Origin())
}
