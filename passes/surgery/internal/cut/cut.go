package cut

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// Cut is the part of a main graph between values.
type Cut struct {
	m       *ir.Model
	inputs  []port // nil: the model's own, as far as they are needed
	outputs []port
	needed  map[*ir.Node]bool
}

// port is a value that becomes an input or output.
type port struct {
	name  string
	value *ir.Value
	typ   *ir.Type
	meta  *ir.Meta
}

// Types says what is known of the type of a value.
type Types func(*ir.Value) *ir.Type

// Plan finds what lies between inputs and outputs, given by the names of values of the main graph. No inputs stands for the model's
// own as far as the outputs need them, no outputs for the model's own. It changes nothing. Unknown names, types that are not
// known, and inputs that are missing are errors.
func Plan(m *ir.Model, types Types, inputs, outputs []string) (*Cut, error) {
	c := &Cut{m: m, needed: map[*ir.Node]bool{}}
	names := Of(m)
	var err error
	if c.outputs, err = c.ports(names, types, "output", outputs); err != nil {
		return nil, err
	}
	if c.inputs, err = c.ports(names, types, "input", inputs); err != nil {
		return nil, err
	}
	if len(outputs) == 0 {
		for _, s := range m.Main.Outputs() {
			c.outputs = append(c.outputs, port{s.Name(), s.Value(), s.Type(), s.Meta})
		}
	}
	return c, c.walk()
}

// Port is a value that is to become an input or output of that name.
type Port struct {
	Name  string
	Value *ir.Value
}

// Between is Plan for values instead of names. Both lists are taken as they are, empty ones too.
func Between(m *ir.Model, types Types, inputs, outputs []Port) (*Cut, error) {
	c := &Cut{m: m, needed: map[*ir.Node]bool{}, inputs: []port{}}
	for _, p := range inputs {
		q := port{p.Name, p.Value, types(p.Value), p.Value.Meta}
		if !Complete(q.typ) {
			return nil, fmt.Errorf("the type of value %q is not known, so that it cannot be an input", p.Name)
		}
		c.inputs = append(c.inputs, q)
	}
	for _, p := range outputs {
		q := port{p.Name, p.Value, types(p.Value), p.Value.Meta}
		for _, s := range m.Main.Outputs() {
			if s.Name() == p.Name && s.Type() != nil {
				q.typ, q.meta = s.Type(), s.Meta
			}
		}
		if !Complete(q.typ) {
			return nil, fmt.Errorf("the type of value %q is not known, so that it cannot be an output", p.Name)
		}
		c.outputs = append(c.outputs, q)
	}
	return c, c.walk()
}

func (c *Cut) ports(names *Names, types Types, what string, list []string) ([]port, error) {
	var r []port
	for i, name := range list {
		v, err := names.Lookup(c.m, name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(list[:i], name) {
			return nil, fmt.Errorf("%s %q is named twice", what, name)
		}
		p := port{name: name, value: v, typ: types(v), meta: v.Meta}
		if what == "output" {
			for _, s := range c.m.Main.Outputs() {
				if s.Name() == name && s.Type() != nil {
					p.typ, p.meta = s.Type(), s.Meta
				}
			}
		} else if j := slices.IndexFunc(r, func(q port) bool { return q.value == v }); j >= 0 {
			return nil, fmt.Errorf("inputs %q and %q are one value", r[j].name, name)
		}
		if !Complete(p.typ) {
			return nil, fmt.Errorf("the type of value %q is not known, so that it cannot be an %s", name, what)
		}
		r = append(r, p)
	}
	return r, nil
}

// Complete reports whether t may be declared at an interface: kinds and element types are known throughout.
func Complete(t *ir.Type) bool {
	switch {
	case t == nil || t.Kind == ir.KindNone:
		return false
	case t.Kind == ir.KindTensor || t.Kind == ir.KindSparse:
		return t.Elem != ir.Undefined
	case t.Kind == ir.KindSequence || t.Kind == ir.KindOptional:
		return Complete(t.Of)
	case t.Kind == ir.KindMap:
		return t.Elem != ir.Undefined && Complete(t.Of)
	}
	return true
}

// walk finds the nodes between.
func (c *Cut) walk() error {
	stop := map[*ir.Value]bool{}
	for _, p := range c.inputs {
		stop[p.value] = true
	}
	seen := map[*ir.Value]bool{}
	for _, p := range c.outputs {
		todo := []*ir.Value{p.value}
		for len(todo) > 0 {
			v := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if v == nil || seen[v] || stop[v] {
				continue
			}
			seen[v] = true
			if v.IsInput() && v.Default() == nil && c.inputs != nil {
				return fmt.Errorf("output %q also depends on input %q, which is not among the inputs", p.name, v.Name())
			}
			if n := v.Node(); n != nil && !c.needed[n] {
				c.needed[n] = true
				todo = append(todo, Reads(n)...)
			}
		}
	}
	return nil
}

// Reads lists the values that n takes, as operands or through its subgraphs.
func Reads(n *ir.Node) []*ir.Value {
	r := n.Operands()
	for _, s := range n.Subgraphs() {
		r = append(r, s.Captures()...)
	}
	return r
}

// IsOutput reports whether an output of the main graph is v itself.
func IsOutput(m *ir.Model, v *ir.Value) bool {
	for u := range v.Uses() {
		if u.Node == m.Main.Return() {
			return true
		}
	}
	return false
}

// Border says how the interface of the part relates to the model's.
func (c *Cut) Border() *ir.Border {
	b := &ir.Border{Outputs: []ir.Port{}}
	for _, p := range c.inputs {
		if !p.value.IsInput() || p.value.Name() != p.name {
			b.Taps = append(b.Taps, ir.Port{Name: p.name, Of: p.name})
		}
	}
	for _, p := range c.outputs {
		b.Outputs = append(b.Outputs, ir.Port{Name: p.name, Of: p.name})
	}
	return b
}

// Same reports whether the part is the whole model, with the same interface.
func (c *Cut) Same() bool {
	g := c.m.Main
	ins, outs := g.Inputs(), g.Outputs()
	return len(c.needed) == g.NumNodes() &&
		(c.inputs == nil || slices.EqualFunc(c.inputs, ins, func(p port, s *ir.Slot) bool { return p.value == s.Value() && p.name == s.Name() })) &&
		(c.inputs != nil || !slices.ContainsFunc(ins, func(s *ir.Slot) bool { return !c.keeps(s.Value()) })) &&
		slices.EqualFunc(c.outputs, outs, func(p port, s *ir.Slot) bool { return p.value == s.Value() && p.name == s.Name() })
}

// keeps reports whether an input of the model stays although it is not asked for.
func (c *Cut) keeps(v *ir.Value) bool {
	for u := range v.Uses() {
		if u.Node == c.m.Main.Return() && slices.ContainsFunc(c.outputs, func(p port) bool { return p.value == v }) || c.needed[outermost(c.m.Main, u.Node)] {
			return true
		}
	}
	return false
}

// outermost is the node of g that n is, or is nested in; nil if there is none.
func outermost(g *ir.Graph, n *ir.Node) *ir.Node {
	for h := n.Graph(); h != g; h = n.Graph() {
		if n = h.Owner(); n == nil {
			return nil
		}
	}
	return n
}

// Apply leaves nothing but the part in the model. Training information goes, too.
func (c *Cut) Apply() {
	g := c.m.Main
	DropTraining(c.m)
	for i := len(g.Outputs()) - 1; i >= 0; i-- {
		g.RemoveOutput(i)
	}
	for _, p := range c.outputs {
		g.AddOutput(p.name, p.value, p.typ).Meta = p.meta
	}
	old := slices.Clone(g.Inputs())
	for _, p := range c.inputs {
		v := g.AddInput(p.name, p.typ)
		v.Meta = p.meta
		if p.value.IsInput() {
			v.Extra = p.value.Extra
			v.SetDefault(p.value.Default())
			i := slices.IndexFunc(old, func(s *ir.Slot) bool { return s.Value() == p.value })
			g.Inputs()[len(g.Inputs())-1].Meta = old[i].Meta
		}
		p.value.ReplaceUses(v)
	}
	c.sweep(old)
}

// sweep removes what is not needed any more.
func (c *Cut) sweep(old []*ir.Slot) {
	g := c.m.Main
	for n := range g.Backward() {
		if !c.needed[n] {
			g.Erase(n)
		}
	}
	for i := len(old) - 1; i >= 0; i-- {
		if old[i].Value().NumUses() == 0 {
			g.RemoveInput(i)
		}
	}
	for _, v := range g.Consts() {
		if v.NumUses() == 0 {
			g.EraseConst(v)
		}
	}
	for _, f := range Uncalled(c.m) {
		c.m.RemoveFunction(f)
	}
}

// Uncalled lists the functions that neither the main graph nor a training graph calls, directly or through others.
func Uncalled(m *ir.Model) []*ir.Function {
	called := map[*ir.Function]bool{}
	var walk func(g *ir.Graph)
	walk = func(g *ir.Graph) {
		for n := range g.Nodes() {
			if f := m.Function(n.Op()); f != nil && !called[f] {
				called[f] = true
				walk(f.Graph)
			}
			for _, s := range n.Subgraphs() {
				walk(s)
			}
		}
	}
	walk(m.Main)
	for _, t := range m.Training {
		for _, g := range []*ir.Graph{t.Initialization, t.Algorithm} {
			if g != nil {
				walk(g)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(m.Functions), func(f *ir.Function) bool { return called[f] })
}

// DropTraining removes the training information of m with everything it uses.
func DropTraining(m *ir.Model) {
	for _, t := range m.Training {
		for _, g := range []*ir.Graph{t.Initialization, t.Algorithm} {
			if g == nil {
				continue
			}
			for i := len(g.Outputs()) - 1; i >= 0; i-- {
				g.RemoveOutput(i)
			}
			for n := range g.Backward() {
				g.Erase(n)
			}
		}
	}
	m.Training = nil
}
