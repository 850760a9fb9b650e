package opset

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// inferred is what is known of m, in the bodies of functions what holds for all calls.
func inferred(m *ir.Model) *infer.Result {
	r := infer.Model(m)
	if len(m.Functions) == 0 {
		return r
	}
	types := map[*ir.Value]*ir.Type{}
	for range depth(m) { // a call in a body is known when the calls of that body are
		found := calls(m, r)
		same := len(found) == len(types)
		for v, t := range found {
			same = same && t.Equal(types[v])
		}
		if same {
			break
		}
		types = found
		r = infer.Assuming(m, types)
	}
	return r
}

// depth bounds how deep calls are nested.
func depth(m *ir.Model) int { return min(len(m.Functions), 8) }

// calls is the types that the operands of all calls of a function have in common.
func calls(m *ir.Model, r *infer.Result) map[*ir.Value]*ir.Type {
	types := map[*ir.Value]*ir.Type{}
	unknown := map[*ir.Value]bool{}
	for n := range m.Nodes() {
		f := m.Function(n.Op())
		if f == nil {
			continue
		}
		for i, in := range f.Graph.Inputs() {
			v := in.Value()
			t := (*ir.Type)(nil)
			if x := n.Operand(i); x != nil {
				t = r.Type(x)
			}
			if old := types[v]; old != nil && t != nil {
				t = common(old, t)
			} else if t != nil {
				t = common(t, t)
			}
			if t == nil {
				unknown[v] = true
				continue
			}
			types[v] = t
		}
	}
	for v := range unknown {
		delete(types, v)
	}
	return types
}

// common is what two types of tensors have in common, nil if that is not even the element type. Names of sizes are those of the caller
// and say nothing in the function.
func common(t, u *ir.Type) *ir.Type {
	if t.Kind != ir.KindTensor || u.Kind != ir.KindTensor || t.Elem != u.Elem || t.Elem == ir.Undefined {
		return nil
	}
	if t.Shape == nil || len(t.Shape) != len(u.Shape) || u.Shape == nil {
		return ir.TensorType(t.Elem, nil)
	}
	s := make(ir.Shape, len(t.Shape))
	for i, d := range t.Shape {
		if s[i] = ir.UnknownDim(); d.IsStatic() && d.Same(u.Shape[i]) {
			s[i] = ir.Static(d.Size)
		}
	}
	return ir.TensorType(t.Elem, s)
}
