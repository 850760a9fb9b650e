package opset

import (
	"github.com/onnxopt/onnxopt/internal/irversion"
	"github.com/onnxopt/onnxopt/ir"
)

// lowerIR lowers ir_version to the one that was released with the operator set, since a runtime that knows no newer set knows no newer
// IR either. It stays at what a type or a function in the model needs. Metadata of nodes is newer than some versions it is lowered to, but
// has no meaning, and a reader that does not know it skips it.
func lowerIR(m *ir.Model, to int64) {
	v := max(irversion.Of(to), irNeed(m))
	if v < m.IRVersion {
		m.IRVersion = v
	}
}

// irNeed is the IR version that the contents of m need.
func irNeed(m *ir.Model) int64 {
	need := int64(0)
	want := func(t *ir.Type) { need = max(need, irversion.Type(t)) }
	for _, f := range m.Functions {
		need = max(need, irversion.Function(f))
	}
	if len(m.Training) > 0 {
		need = max(need, 7)
	}
	for _, g := range m.Graphs() {
		for _, s := range g.Inputs() {
			want(s.Type())
		}
		for _, s := range g.Outputs() {
			want(s.Type())
		}
		for _, v := range g.Consts() {
			want(v.Type())
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					want(v.Type())
				}
			}
			for _, a := range n.Attrs() {
				want(a.Type())
				if t := a.Tensor(); t != nil {
					want(t.Type())
				}
			}
		}
	}
	return need
}
