package precision

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
)

// narrowest is the number of bytes from which a constant of a node that keeps its type is stored in the new one: a Cast takes room,
// too.
const narrowest = 512

// changes reports whether there is anything to convert.
func (p *planner) changes() bool {
	for n := range p.m.Nodes() {
		_, kept := p.kept[n]
		if n.Is("Constant") {
			continue
		}
		for _, v := range n.Results() {
			if p.isFrom(v) && p.home(v) == new {
				return true
			}
		}
		for i, v := range n.Operands() {
			if p.isFrom(v) && (p.demand(n, i) == new || kept && p.stored(n, v) && p.convertible(v.Graph())) {
				return true
			}
		}
	}
	for _, s := range p.m.Main.Inputs() {
		if p.home(s.Value()) == new {
			return true
		}
	}
	return false
}

// stored reports whether constant v is stored in the new type for n, which keeps its type.
func (p *planner) stored(n *ir.Node, v *ir.Value) bool {
	t := v.Const()
	return p.kept[n].narrow && p.to != ir.Float32 && t != nil && t.ByteLen() >= narrowest && p.fit(t) == nil
}

// apply edits the model as planned.
func (p *planner) apply() error {
	var nodes []*ir.Node
	var vals, consts []*ir.Value
	seen := map[*ir.Value]bool{}
	homes := map[*ir.Value]level{}
	add := func(v *ir.Value) {
		if !p.isFrom(v) || seen[v] {
			return
		}
		seen[v] = true
		if v.Const() != nil {
			consts = append(consts, v)
			return
		}
		homes[v] = p.home(v)
		vals = append(vals, v)
	}
	for _, g := range p.m.Graphs() {
		for _, s := range g.Inputs() {
			add(s.Value())
		}
		for _, v := range g.Consts() {
			add(v)
		}
	}
	for n := range p.m.Nodes() {
		nodes = append(nodes, n)
		for _, v := range n.Results() {
			add(v)
		}
	}
	// What each use asks for is read off the plan before anything changes.
	asks := map[ir.Use]level{}
	for v := range seen {
		for u := range v.Uses() {
			asks[u] = p.demand(u.Node, u.Index)
			if _, kept := p.kept[u.Node]; kept && asks[u] == old && v.Const() != nil && p.stored(u.Node, v) && p.convertible(v.Graph()) {
				asks[u] = stored
			}
		}
	}
	for _, v := range consts {
		if err := p.constant(v, asks); err != nil {
			return err
		}
	}
	p.border()
	for _, n := range nodes {
		if _, kept := p.kept[n]; !kept {
			p.attributes(n)
		}
	}
	for _, v := range vals {
		p.value(v, homes[v], asks)
	}
	for _, n := range nodes {
		if n.Is("Cast") && !n.Dead() {
			p.dropCast(n, homes)
		}
	}
	p.slots()
	return nil
}

// stored marks a use by a node that keeps its type of a constant that changes it.
const stored level = new + 1

// constant makes the copies of a constant that its uses need.
func (p *planner) constant(v *ir.Value, asks map[ir.Use]level) error {
	var changed, narrow []ir.Use
	keep := false
	for u := range v.Uses() {
		switch asks[u] {
		case new:
			changed = append(changed, u)
		case stored:
			narrow = append(narrow, u)
		case old:
			keep = true
		}
	}
	if len(changed)+len(narrow) == 0 {
		return nil
	}
	if keep && v.Const().ByteLen() >= narrowest && len(changed) == 0 {
		return nil // it stays anyway
	}
	g, name := v.Graph(), v.Name()
	if keep {
		name += "_" + p.to.String()
	}
	copies := map[bool]*ir.Value{} // by whether what overflows stands for infinity in a sum
	w := func(u ir.Use) (*ir.Value, error) {
		k := p.fit(v.Const()) != nil && u.Node.Is("Add", "Sub", "Where")
		if copies[k] == nil {
			t, err := p.converted(v.Const(), k)
			if err != nil {
				return nil, fmt.Errorf("constant %q: %w", v.Name(), err)
			}
			copies[k] = g.NamedConst(name, t)
		}
		return copies[k], nil
	}
	for _, u := range changed {
		c, err := w(u)
		if err != nil {
			return err
		}
		u.Node.SetOperand(u.Index, c)
	}
	casts := map[*ir.Graph]*ir.Value{}
	for _, u := range narrow {
		c, err := w(u)
		if err != nil {
			return err
		}
		h := u.Node.Graph()
		if casts[h] == nil {
			near := u.Node
			if near.IsReturn() {
				near = nil
			}
			casts[h] = h.New(near, ir.Op("Cast"), []*ir.Value{c}, ir.IntAttr("to", int64(p.facts.DType(v)))).Result(0)
			casts[h].SetType(v.Const().Type())
		}
		u.Node.SetOperand(u.Index, casts[h])
	}
	for u := range v.Uses() { // those that take either
		if asks[u] == any {
			c, err := w(u)
			if err != nil {
				return err
			}
			u.Node.SetOperand(u.Index, c)
		}
	}
	if v.NumUses() == 0 {
		if n := v.Node(); n != nil {
			g.Erase(n)
		} else {
			g.EraseConst(v)
		}
	}
	return nil
}

// converted is t in the new type; numbers out of range, which only uses have that may saturate, become the nearest, or with sum half
// of that.
func (p *planner) converted(t *ir.Tensor, sum bool) (*ir.Tensor, error) {
	r, err := weights.Cast(t, p.to)
	var unfit *weights.Unfit
	if !errors.As(err, &unfit) {
		return r, err
	}
	v, err := weights.Floats(t)
	if err != nil {
		return nil, err
	}
	top := weights.Largest(p.to)
	w := make([]float64, len(v))
	for i, x := range v {
		switch {
		case x-x != 0: // NaN and infinities
			w[i] = x
		case sum && math.Abs(x) > top:
			w[i] = math.Copysign(top/2, x)
		default:
			w[i] = max(min(x, top), -top)
		}
	}
	return weights.Force(p.to, t.Shape(), w)
}

// attributes states the new type in attributes.
func (p *planner) attributes(n *ir.Node) {
	if !p.isFrom(n.Result(0)) {
		return
	}
	switch {
	case n.Is("Cast"):
		n.SetAttr(ir.IntAttr("to", int64(p.to)))
	case n.Is("ConstantOfShape"):
		t := n.Attr("value").Tensor()
		if t == nil {
			t = ir.TensorOf([]float32{0})
		}
		if r, err := p.converted(t, false); err == nil {
			n.SetAttr(ir.TensorAttr("value", r))
		}
	}
}

// value gives a value its new type, and those of its uses that need the other one a Cast.
func (p *planner) value(v *ir.Value, home level, asks map[ir.Use]level) {
	from := p.facts.DType(v)
	if home == new {
		if t := v.Type(); t != nil {
			v.SetType(retyped(t, p.to))
		}
		if d := v.Default(); d != nil {
			if t, err := p.converted(d, false); err == nil {
				v.SetDefault(t)
			}
		}
	}
	var other []ir.Use
	for u := range v.Uses() {
		if d := asks[u]; d >= old && d != home {
			other = append(other, u)
		}
	}
	if len(other) == 0 {
		return
	}
	to := p.to
	if home == new {
		to = from
	}
	w := v
	if bound, over := p.clip[v]; over && home == old {
		w = p.clipped(v, bound)
	}
	cast := v.Graph().New(v.Node(), ir.Op("Cast"), []*ir.Value{w}, ir.IntAttr("to", int64(to))).Result(0)
	if t := p.facts.Type(v); t != nil {
		cast.SetType(retyped(v.Type(), to))
	}
	for _, u := range other {
		u.Node.SetOperand(u.Index, cast)
	}
}

// clipped keeps v, of float32, within bounds.
func (p *planner) clipped(v *ir.Value, bound float32) *ir.Value {
	g := v.Graph()
	var r *ir.Value
	if g.Opset("") < 11 {
		r = g.New(v.Node(), ir.Op("Clip"), []*ir.Value{v}, ir.FloatAttr("min", -bound), ir.FloatAttr("max", bound)).Result(0)
	} else {
		r = g.New(v.Node(), ir.Op("Clip"), []*ir.Value{v, g.Const(ir.ScalarOf(-bound)), g.Const(ir.ScalarOf(bound))}).Result(0)
	}
	r.SetType(v.Type())
	return r
}

// retyped is t with another element type. It is safe on nil.
func retyped(t *ir.Type, d ir.DType) *ir.Type {
	if t == nil {
		return nil
	}
	r := *t
	r.Elem = d
	return &r
}

// dropCast erases a Cast that now casts to the type of its operand, if it was none before.
func (p *planner) dropCast(n *ir.Node, homes map[*ir.Value]level) {
	v, w := n.Operand(0), n.Result(0)
	if v == nil || w == nil {
		return
	}
	to := ir.DType(n.Int("to", 0))
	if p.after(v, homes) != to || p.facts.DType(v) == to && p.facts.DType(w) == to || p.facts.DType(v) == p.facts.DType(w) && p.facts.DType(v) != ir.Undefined {
		return
	}
	w.ReplaceUses(v)
	n.Graph().Erase(n)
}

// after is the element type of v once the model is converted.
func (p *planner) after(v *ir.Value, homes map[*ir.Value]level) ir.DType {
	if t := v.Const(); t != nil {
		return t.DType()
	}
	if homes[v] == new {
		return p.to
	}
	if d := p.facts.DType(v); d != ir.Undefined {
		return d
	}
	return v.Type().DType()
}

// border states how the interface changes.
func (p *planner) border() {
	b := &ir.Border{}
	changed := false
	for _, s := range p.m.Main.Inputs() {
		if p.home(s.Value()) == new {
			b.Inputs = append(b.Inputs, ir.Port{Name: s.Name(), Of: s.Name(), Steps: []ir.PortStep{{To: p.facts.DType(s.Value())}}})
			changed = true
		}
	}
	for _, s := range p.m.Main.Outputs() {
		q := ir.Port{Name: s.Name(), Of: s.Name()}
		if p.isFrom(s.Value()) && p.slotLevel(p.m.Main) == new {
			q.Steps = []ir.PortStep{{To: p.to}}
			changed = true
		}
		b.Outputs = append(b.Outputs, q)
	}
	if changed {
		p.c.Border(b)
	}
}

// slots gives the outputs of graphs the types of what they return.
func (p *planner) slots() {
	for _, g := range p.m.Graphs() {
		if p.slotLevel(g) != new {
			continue
		}
		for _, s := range g.Outputs() {
			if t := s.Type(); t != nil && p.isOld(t.DType()) && t.IsTensor() {
				s.SetType(retyped(t, p.to))
			}
		}
	}
}
