package reduce

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// nodesOf lists all nodes; clones have the same ones in the same order.
func nodesOf(m *ir.Model) []*ir.Node {
	var r []*ir.Node
	for n := range m.Nodes() {
		r = append(r, n)
	}
	return r
}

// unused removes nodes and constants without a use, all at once.
func (r *reducer) unused() {
	r.try(func(m *ir.Model) bool {
		nodes, consts := idle(m)
		if len(nodes)+len(consts) == 0 {
			return false
		}
		clean(m, nil, nil)
		return true
	})
}

func (r *reducer) outputs() {
	smallest(len(r.best.Model.Main.Outputs()), func(chunk []int) bool {
		if len(chunk) >= len(r.best.Model.Main.Outputs()) {
			return false
		}
		return r.try(func(m *ir.Model) bool {
			for _, i := range slices.Backward(chunk) {
				m.Main.RemoveOutput(i)
			}
			return true
		})
	})
}

// nodes replaces the results of nodes by new inputs of the main graph, or by constants.
func (r *reducer) nodes() {
	for _, replace := range []func(*ir.Value, *ir.Type) *ir.Value{asInput, asConst} {
		smallest(len(nodesOf(r.best.Model)), func(chunk []int) bool {
			have := nodesOf(r.best.Model)
			if chunk[0] >= len(have) {
				return false
			}
			before := len(have)
			ok := r.try(func(m *ir.Model) bool {
				types := infer.Model(m)
				list := nodesOf(m)
				done := false
				for _, i := range chunk {
					if i < len(list) && !list[i].Dead() && replaced(list[i], types, replace) {
						done = true
					}
				}
				return done && count(m) > 0
			})
			return ok && len(nodesOf(r.best.Model)) < before
		})
	}
}

// replaced replaces every used result of n.
func replaced(n *ir.Node, types *infer.Result, replace func(*ir.Value, *ir.Type) *ir.Value) bool {
	if !n.Used() {
		n.Graph().Erase(n)
		return true
	}
	if n.Op() == ir.Op("Constant") { // it can be an initializer, but for functions
		v := n.Result(0)
		if v.Const() == nil || n.Graph().Function() != nil {
			return false
		}
		v.ReplaceUses(n.Graph().NamedConst(v.Name(), v.Const()))
		return true
	}
	for _, v := range n.Results() {
		if v.NumUses() == 0 {
			continue
		}
		w := replace(v, types.Type(v))
		if w == nil {
			return false
		}
		v.ReplaceUses(w)
	}
	return true
}

// asInput is a new input of the main graph in place of v.
func asInput(v *ir.Value, t *ir.Type) *ir.Value {
	g := v.Graph()
	if g != g.Model().Main || !t.IsTensor() || t.DType() == ir.Undefined {
		return nil
	}
	shape := slices.Clone(t.TensorShape())
	for i, d := range shape {
		if d.Param != "" && !plain(d.Param) {
			shape[i] = ir.UnknownDim()
		}
	}
	return g.AddInput(fresh(g), ir.TensorType(t.DType(), shape))
}

// plain reports the name of a size that is no expression.
func plain(s string) bool {
	return !slices.ContainsFunc([]rune(s), func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// fresh is a name that no input or output of g has.
func fresh(g *ir.Graph) string {
	taken := map[string]bool{}
	for _, s := range slices.Concat(g.Inputs(), g.Outputs()) {
		taken[s.Name()] = true
	}
	for k := len(g.Inputs()) + 1; ; k++ {
		if name := fmt.Sprint("i", k); !taken[name] {
			return name
		}
	}
}

// maxConst bounds the constants that stand in for results, in bytes.
const maxConst = 1 << 16

// asConst is a constant of zeros in place of v.
func asConst(v *ir.Value, t *ir.Type) *ir.Value {
	shape, ok := t.TensorShape().Ints()
	if !t.IsTensor() || t.TensorShape() == nil || !ok {
		return nil
	}
	n := t.DType().ByteLen(ir.NumElements(shape))
	if n < 0 || n > maxConst {
		return nil
	}
	return v.Graph().Const(ir.NewTensor(t.DType(), shape, make([]byte, n)))
}

// cutBehind makes operands of the node that computes an output the outputs instead of it.
func (r *reducer) cutBehind() {
	for i := 0; i < len(r.best.Model.Main.Outputs()); i++ {
		for again := true; again; {
			again = false
			n := r.best.Model.Main.Outputs()[i].Value().Node()
			for k := 0; n != nil && k < n.NumOperands() && !again; k++ {
				again = r.try(func(m *ir.Model) bool {
					s := m.Main.Outputs()[i]
					v := s.Value().Node().Operand(k)
					if v == nil || v.Graph() != m.Main {
						return false
					}
					t := infer.Model(m).Type(v)
					if t == nil {
						return false
					}
					s.SetValue(v)
					s.SetType(t.WithoutShapes())
					return true
				})
			}
		}
	}
}

// bypass replaces results by an operand of the same type.
func (r *reducer) bypass() {
	for i := len(nodesOf(r.best.Model)) - 1; i >= 0; i-- {
		for k := 0; k < 4; k++ {
			list := nodesOf(r.best.Model)
			if i >= len(list) {
				break
			}
			r.try(func(m *ir.Model) bool {
				n := nodesOf(m)[i]
				v, w := n.Result(0), n.Operand(k)
				types := infer.Model(m)
				if v == nil || w == nil || n.NumResults() > 1 || types.DType(v) != types.DType(w) {
					return false
				}
				v.ReplaceUses(w)
				return true
			})
		}
	}
}

// inlineBranches puts one branch of an If in its place.
func (r *reducer) inlineBranches() {
	for i := 0; i < len(nodesOf(r.best.Model)); i++ {
		if nodesOf(r.best.Model)[i].Op() != ir.Op("If") {
			continue
		}
		for _, name := range []string{"then_branch", "else_branch"} {
			if r.try(func(m *ir.Model) bool {
				n := nodesOf(m)[i]
				a := n.Attr(name)
				if a.Graph() == nil {
					return false
				}
				takePlace(n, a.Graph().CopyInto(n.Graph(), n, nil))
				return true
			}) {
				i--
				break
			}
		}
	}
	r.bodies()
}

// bodies puts a body in the place of a Loop, as if it ran once.
func (r *reducer) bodies() {
	for i := 0; i < len(nodesOf(r.best.Model)); i++ {
		if nodesOf(r.best.Model)[i].Op() != ir.Op("Loop") {
			continue
		}
		r.try(func(m *ir.Model) bool {
			n := nodesOf(m)[i]
			body := n.Attr("body").Graph()
			g := n.Graph()
			in := []*ir.Value{g.Const(ir.ScalarOf[int64](0)), g.Const(ir.NewTensor(ir.Bool, []int64{}, []byte{1}))}
			for k := 2; k < n.NumOperands(); k++ {
				in = append(in, n.Operand(k))
			}
			out := body.CopyInto(g, n, in)
			takePlace(n, out[1:])
			return true
		})
	}
}

func takePlace(n *ir.Node, out []*ir.Value) {
	for k, v := range n.Results() {
		if v != nil && v.NumUses() > 0 {
			v.ReplaceUses(out[k])
		}
	}
	n.Graph().Erase(n)
}

// inlineCalls puts the bodies of functions in the place of their calls.
func (r *reducer) inlineCalls() {
	for i := 0; i < len(nodesOf(r.best.Model)); i++ {
		if r.best.Model.Function(nodesOf(r.best.Model)[i].Op()) == nil {
			continue
		}
		if r.try(func(m *ir.Model) bool {
			n := nodesOf(m)[i]
			f := m.Function(n.Op())
			if len(f.Attrs)+len(f.Defaults) > 0 {
				return false
			}
			takePlace(n, f.Graph.CopyInto(n.Graph(), n, n.Operands()))
			return true
		}) {
			i--
		}
	}
}

// results omits optional results, and drops what an If or Loop computes and nobody uses.
func (r *reducer) results() {
	for i := 0; i < len(nodesOf(r.best.Model)); i++ {
		n := nodesOf(r.best.Model)[i]
		for k := n.NumResults() - 1; k >= 0; k-- {
			if n.NumResults() < 2 || n.Result(k).NumUses() > 0 {
				continue
			}
			r.try(func(m *ir.Model) bool { return dropResult(nodesOf(m)[i], k) })
			if i >= len(nodesOf(r.best.Model)) {
				return
			}
			n = nodesOf(r.best.Model)[i]
		}
	}
}

func dropResult(n *ir.Node, k int) bool {
	if k >= n.NumResults() {
		return false
	}
	if n.Op() != ir.Op("If") {
		if n.Result(k) == nil || len(n.Subgraphs()) > 0 {
			return false
		}
		n.OmitResult(k)
		n.TrimResults()
		return true
	}
	c := n.Graph().NewN(n, n.Op(), n.Operands(), n.NumResults()-1)
	for _, a := range n.Attrs() {
		a.Graph().RemoveOutput(k)
	}
	attrs := slices.Clone(n.Attrs())
	for i, v := range n.Results() {
		if i != k && v != nil {
			at := i
			if i > k {
				at--
			}
			v.ReplaceUses(c.Result(at))
		}
	}
	n.SetAttrs(nil)
	n.Graph().Erase(n)
	c.SetAttrs(attrs)
	return true
}

// inputs takes unused inputs away, and makes those that can be overridden constants.
func (r *reducer) inputs() {
	for i := len(r.best.Model.Main.Inputs()) - 1; i >= 0; i-- {
		if i >= len(r.best.Model.Main.Inputs()) {
			continue
		}
		if r.try(func(m *ir.Model) bool {
			if m.Main.Inputs()[i].Value().NumUses() > 0 {
				return false
			}
			m.Main.RemoveInput(i)
			return true
		}) {
			continue
		}
		r.try(func(m *ir.Model) bool {
			v := m.Main.Inputs()[i].Value()
			t := v.Default()
			if t == nil {
				return false
			}
			v.ReplaceUses(m.Main.NamedConst(v.Name(), t))
			m.Main.RemoveInput(i)
			return true
		})
	}
}

// operands omits optional operands, takes away variadic ones, and makes two of one type one.
func (r *reducer) operands() {
	for i := 0; i < len(nodesOf(r.best.Model)); i++ {
		for k := nodesOf(r.best.Model)[i].NumOperands() - 1; k >= 0; k-- {
			if r.try(func(m *ir.Model) bool { return dropOperand(nodesOf(m)[i], k) }) && i >= len(nodesOf(r.best.Model)) {
				return
			}
			if i >= len(nodesOf(r.best.Model)) {
				return
			}
		}
	}
	r.inputsJoined()
}

func dropOperand(n *ir.Node, k int) bool {
	s := ops.Of(n)
	if s == nil || n.Operand(k) == nil {
		return false
	}
	p := s.Input(k)
	switch {
	case p == nil:
		return false
	case p.Option == schema.Variadic && len(n.Subgraphs()) == 0:
		n.RemoveOperand(k)
	case p.Option == schema.Optional:
		n.SetOperand(k, nil)
		for k := n.NumOperands() - 1; k >= 0 && n.Operand(k) == nil; k-- {
			n.RemoveOperand(k)
		}
	default:
		return false
	}
	return true
}

// inputsJoined makes one of two inputs of the same type.
func (r *reducer) inputsJoined() {
	for i := len(r.best.Model.Main.Inputs()) - 1; i > 0; i-- {
		for k := range i {
			if r.try(func(m *ir.Model) bool {
				a, b := m.Main.Inputs()[k], m.Main.Inputs()[i]
				if !a.Type().Equal(b.Type()) || a.Value().Default() != nil || b.Value().Default() != nil {
					return false
				}
				b.Value().ReplaceUses(a.Value())
				m.Main.RemoveInput(i)
				return true
			}) {
				break
			}
		}
	}
}

// attributes takes attributes away, and makes numbers in them small.
func (r *reducer) attributes() {
	for i := 0; i < len(nodesOf(r.best.Model)); i++ {
		for k := len(nodesOf(r.best.Model)[i].Attrs()) - 1; k >= 0; k-- {
			if r.try(func(m *ir.Model) bool {
				n := nodesOf(m)[i]
				if n.Attrs()[k].Graphs() != nil {
					return false
				}
				n.RemoveAttr(n.Attrs()[k].Name)
				return true
			}) {
				continue
			}
			a := nodesOf(r.best.Model)[i].Attrs()[k]
			for at, x := range a.Ints() {
				for _, small := range []int64{0, 1} {
					if x <= small && x >= 0 {
						continue
					}
					if r.try(func(m *ir.Model) bool {
						n := nodesOf(m)[i]
						ints := slices.Clone(n.Attrs()[k].Ints())
						ints[at] = small
						n.SetAttr(ir.IntsAttr(a.Name, ints))
						return true
					}) {
						break
					}
				}
			}
		}
	}
}
