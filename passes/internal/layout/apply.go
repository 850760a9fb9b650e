package layout

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Apply changes the graph.
func (r *Layout) Apply() error {
	g := r.g
	for _, s := range g.Inputs() {
		if p := r.Inputs[s.Value()]; p != nil {
			r.flipped[s.Value()] = s.Value()
		}
	}
	uses := r.uses()
	for i, s := range g.Outputs() {
		if p := r.Outputs[i]; p != nil {
			s.SetType(permuted(s.Type(), p))
		}
	}
	for _, n := range r.order {
		if m := r.moved[n]; m != nil {
			if err := r.move(n, m); err != nil {
				return err
			}
		}
	}
	for _, u := range uses {
		r.redirect(u.v, u.use)
	}
	for _, s := range g.Inputs() {
		if p := r.Inputs[s.Value()]; p != nil {
			s.SetType(permuted(s.Type(), p))
		}
	}
	var old []*ir.Value
	for _, n := range slices.Backward(r.order) {
		if r.moved[n] != nil || r.idle[n] && !n.Used() {
			for _, v := range n.Operands() {
				if v.Const() != nil && v.IsInitializer() {
					old = append(old, v)
				}
			}
			g.Erase(n)
		}
	}
	for _, v := range old { // what stood in the old order
		if v.Graph() == g && v.NumUses() == 0 && !v.Dead() {
			g.EraseConst(v)
		}
	}
	return nil
}

// Border says how the interface of the main graph changes.
func (r *Layout) Border() *ir.Border {
	b := &ir.Border{}
	for _, s := range r.g.Inputs() {
		if p := r.Inputs[s.Value()]; p != nil {
			b.Inputs = append(b.Inputs, ir.Port{Name: s.Name(), Of: s.Name(), Steps: []ir.PortStep{{Perm: ir.InversePerm(p)}}})
		}
	}
	if len(r.Outputs) > 0 {
		for i, s := range r.g.Outputs() {
			p := ir.Port{Name: s.Name(), Of: s.Name()}
			if q := r.Outputs[i]; q != nil {
				p.Steps = []ir.PortStep{{Perm: q}}
			}
			b.Outputs = append(b.Outputs, p)
		}
	}
	return b
}

// use is a use outside the moved nodes of a value that changes, or that takes the value changed.
type use struct {
	v   *ir.Value
	use ir.Use
}

// uses lists them before anything is edited. Transposes that may go are noted.
func (r *Layout) uses() []use {
	var list []use
	r.idle, r.source = map[*ir.Node]bool{}, map[*ir.Node]*ir.Value{}
	look := func(v *ir.Value) {
		if v == nil {
			return
		}
		for u := range v.Uses() {
			if r.moved[u.Node] == nil && (r.produced(v) != nil || r.taken(u) != nil) || r.produced(v) == nil && v.Node() != nil && r.moved[v.Node()] != nil && r.moved[u.Node] == nil {
				list = append(list, use{v, u})
			}
		}
	}
	for _, s := range r.g.Inputs() {
		look(s.Value())
	}
	for _, v := range r.g.Consts() {
		look(v)
	}
	for _, n := range r.order {
		if n.Is("Transpose") {
			r.idle[n], r.source[n] = n.Used(), n.Operand(0)
		}
		for _, v := range n.Results() {
			look(v)
		}
	}
	return list
}

// move makes the node that computes what n does on flipped values.
func (r *Layout) move(n *ir.Node, m *move) error {
	g := n.Graph()
	in := make([]*ir.Value, n.NumOperands())
	for i, v := range n.Operands() {
		var err error
		switch role := m.roles[i]; {
		case role == flips && v.Const() == nil:
			in[i] = r.flip(v, m.perm)
		case role != stays:
			in[i], err = r.constant(v, m.perm)
		default:
			in[i] = r.asItWas(v)
		}
		if err != nil {
			return err
		}
	}
	for i, list := range m.ints {
		for len(in) <= i {
			in = append(in, nil)
		}
		in[i] = g.Const(integers(list, r.facts.DType(n.Operand(1)))) // all index operands of an operator have one type
	}
	k := g.NewN(n, n.Op(), in, n.NumResults(), slices.Clone(n.Attrs())...)
	for _, a := range m.attrs {
		k.SetAttr(a)
	}
	k.SetName(n.Name())
	k.SetMeta(n.Meta())
	for i, v := range n.Results() {
		if v == nil {
			k.OmitResult(i)
			continue
		}
		w := k.Result(i)
		if m.result == nil {
			w.SetName(v.Name())
			w.SetType(v.Type())
			r.straight[v] = w
			continue
		}
		w.SetType(permuted(v.Type(), m.result))
		r.flipped[v] = w
	}
	return nil
}

// integers is a tensor of type d, int32 or int64.
func integers(list []int64, d ir.DType) *ir.Tensor {
	if d != ir.Int32 {
		return ir.TensorOf(list)
	}
	narrow := make([]int32, len(list))
	for i, x := range list {
		narrow[i] = int32(x)
	}
	return ir.TensorOf(narrow)
}

// flip is v in the order p.
func (r *Layout) flip(v *ir.Value, p []int64) *ir.Value {
	made := r.produced(v)
	switch {
	case made != nil && slices.Equal(made, p):
		return r.flipped[v]
	case made != nil:
		return r.transpose(r.flipped[v], compose(ir.InversePerm(made), p), permuted(v.Type(), p))
	}
	t := permuted(v.Type(), p)
	if v.Const() != nil {
		if w, err := r.constant(v, p); err == nil { // else it is left to the Transpose
			return w
		}
	}
	if q := r.transposed(v.Node(), len(p)); q != nil { // two in a row are one
		src := r.source[v.Node()]
		if made := r.produced(src); made != nil {
			return r.transpose(r.flipped[src], compose(compose(ir.InversePerm(made), q), p), t)
		}
		return r.transpose(r.asItWas(src), compose(q, p), t)
	}
	return r.transpose(r.asItWas(v), p, t)
}

// asItWas is v in its old order, or what stands for it.
func (r *Layout) asItWas(v *ir.Value) *ir.Value {
	if v == nil {
		return nil
	}
	if w := r.straight[v]; w != nil {
		return w
	}
	p := r.produced(v)
	if p == nil {
		return v
	}
	w := r.transpose(r.flipped[v], ir.InversePerm(p), v.Type())
	r.straight[v] = w
	return w
}

// transpose makes a Transpose, or takes one that was made, or none where it would move nothing.
func (r *Layout) transpose(v *ir.Value, p []int64, t *ir.Type) *ir.Value {
	if slices.IsSorted(p) {
		return v
	}
	key := fmt.Sprint(p)
	if r.made == nil {
		r.made = map[*ir.Value]map[string]*ir.Value{}
	}
	if r.made[v] == nil {
		r.made[v] = map[string]*ir.Value{}
	}
	if w := r.made[v][key]; w != nil {
		return w
	}
	near := v.Node()
	if v.Graph() != r.g { // captured
		near = nil
	}
	n := r.g.New(near, ir.Op("Transpose"), []*ir.Value{v}, ir.IntsAttr("perm", p))
	n.Result(0).SetType(t)
	r.made[v][key] = n.Result(0)
	return n.Result(0)
}

// redirect gives a use outside the moved nodes what it takes.
func (r *Layout) redirect(v *ir.Value, u ir.Use) {
	if u.Node.Dead() {
		return
	}
	made := r.produced(v)
	p := r.taken(u)
	switch q := r.transposed(u.Node, len(made)); {
	case p != nil:
		u.Node.SetOperand(u.Index, r.flip(v, p))
	case made != nil && q != nil: // Transpose(v, q) of what is flipped already
		old := u.Node.Result(0)
		w := r.transpose(r.flipped[v], compose(ir.InversePerm(made), q), old.Type())
		old.ReplaceUses(w)
		r.straight[old] = w
		r.idle[u.Node] = true
	default:
		u.Node.SetOperand(u.Index, r.asItWas(v))
	}
}

// constant is the tensor of v, of a rank that may be lower, in the order p.
func (r *Layout) constant(v *ir.Value, p []int64) (*ir.Value, error) {
	if r.consts == nil {
		r.consts = map[*ir.Value]map[string]*ir.Value{}
	}
	key := fmt.Sprint(p)
	if w := r.consts[v][key]; w != nil {
		return w, nil
	}
	t := v.Const()
	shape := make([]int64, 0, len(p))
	for range len(p) - t.Rank() {
		shape = append(shape, 1)
	}
	t = t.Reshape(append(shape, t.Shape()...))
	op := ir.Op("Transpose")
	attr := ir.IntsAttr("perm", p)
	call := kernel.NewCall(r.ctx, op, 13, func(name string) *ir.Attr {
		if name == "perm" {
			return attr
		}
		return nil
	}, []ir.Datum{t}, 1)
	out, err := kernel.Lookup(op, 13)(call)
	if err != nil {
		return nil, err
	}
	if r.consts[v] == nil {
		r.consts[v] = map[string]*ir.Value{}
	}
	r.consts[v][key] = r.g.Const(out[0].(*ir.Tensor))
	return r.consts[v][key], nil
}
