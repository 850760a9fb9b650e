// Package naming decides what the values of a model are called where it is written, in either notation.
//
// Inside ir a value's name is a hint: it may be empty, and two values may share it. Written, every value of a graph has a
// name of its own, a name found in an inner graph means the innermost definition, and an output slot is nothing but the name
// of the value it returns. Assign settles this without changing the model; Absorb undoes on reading what Assign adds on
// writing. The rules are those of the design's paragraphs "Scopes" and "Identity and slots".
package naming

import (
	"fmt"
	"strconv"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// Names says what each value and each slot of a model is called.
type Names struct {
	values map[*ir.Value]string // where it differs from the hint
	slots  map[*ir.Slot]string  // where it differs from the slot's name
	ids    map[*ir.Graph][]*Identity
}

// Identity is a node that has to be written although ir has none: "Name = Identity(Value)", because output Slot cannot be
// Value itself.
type Identity struct {
	Slot  *ir.Slot
	Name  string
	Value *ir.Value
}

// Value is the name of v; an omitted value (nil) has the empty one.
func (n *Names) Value(v *ir.Value) string {
	if v == nil {
		return ""
	}
	if s, ok := n.values[v]; ok {
		return s
	}
	return v.Name()
}

// Slot is the name of a slot.
func (n *Names) Slot(s *ir.Slot) string {
	if r, ok := n.slots[s]; ok {
		return r
	}
	return s.Name()
}

// Identities lists the Identity nodes to be added to g, in the order of its outputs. A name occurs once, even if several
// outputs share it.
func (n *Names) Identities(g *ir.Graph) []*Identity { return n.ids[g] }

// Assign names every value of m. Inputs and outputs of the main graph have the names of their slots; everything else keeps
// its own name unless it is empty or taken. New names occur nowhere else in the model. The result can be used even if there
// is an error, which says that the main graph's interface cannot be written as it is.
//
// The time is linear in the model's size, counting a capture once for each graph it passes through.
func Assign(m *ir.Model) (*Names, error) {
	a := &assigner{m: m, names: &Names{
		values: map[*ir.Value]string{}, slots: map[*ir.Slot]string{}, ids: map[*ir.Graph][]*Identity{},
	}}
	for _, g := range m.Graphs() {
		a.graph(g)
	}
	return a.names, a.err
}

type assigner struct {
	m     *ir.Model
	names *Names
	used  map[string]int // every name of the model, and how often it was the root of a new one; built when first needed
	err   error
}

// scope is a graph while its values are named.
type scope struct {
	*assigner
	g     *ir.Graph
	taken map[string]*ir.Value
}

func (a *assigner) graph(g *ir.Graph) {
	s := &scope{a, g, map[string]*ir.Value{}}
	for _, v := range g.Captures() {
		s.taken[a.names.Value(v)] = v
	}
	for _, in := range g.Inputs() {
		if g == a.m.Main && s.taken[in.Name()] != nil {
			a.fail("two inputs are called %q", in.Name())
		}
		s.value(in.Value(), in.Name(), "input")
		s.slot(in, a.names.Value(in.Value()))
	}
	direct := s.direct()
	if g == a.m.Main {
		s.claim(direct)
	}
	for _, v := range g.Consts() {
		s.value(v, hint(v, direct), "const")
	}
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				s.value(v, hint(v, direct), n.Op().Type)
			}
		}
	}
	s.outputs(direct)
}

// hint is the value's own name, or that of the output it stands for.
func hint(v *ir.Value, direct map[*ir.Value]*ir.Slot) string {
	if o := direct[v]; o != nil && v.Name() == "" {
		return o.Name()
	}
	return v.Name()
}

// direct maps each value that outputs of g return to the output that it stands for itself: the one of its own name, or the
// first. Inputs and constants that have a name stand for outputs of that name only. Values of other graphs are not listed; a
// file may return one under its own name.
func (s *scope) direct() map[*ir.Value]*ir.Slot {
	r := map[*ir.Value]*ir.Slot{}
	for _, o := range s.g.Outputs() {
		v := o.Value()
		if v == nil || v.Graph() != s.g || v.Node() == nil && v.Name() != "" && v.Name() != o.Name() {
			continue
		}
		if r[v] == nil || o.Name() == v.Name() && r[v].Name() != v.Name() {
			r[v] = o
		}
	}
	return r
}

// claim reserves the names of the main graph's outputs, for the values that stand for them or for Identity nodes.
func (s *scope) claim(direct map[*ir.Value]*ir.Slot) {
	returns := map[string]*ir.Value{}
	for _, o := range s.g.Outputs() {
		v, name := o.Value(), o.Name()
		if v == nil {
			continue
		}
		if w, ok := returns[name]; ok && w != v {
			s.fail("two values are returned as output %q", name)
		}
		returns[name] = v
		switch w, ok := s.taken[name]; {
		case direct[v] != nil && direct[v].Name() == name:
			if ok && w != v {
				s.fail("%q is both an input and another value's output", name)
				continue
			}
			s.bind(v, name)
		case ok && w != nil:
			s.fail("%q is both an input and another value's output", name)
		default:
			s.taken[name] = nil
		}
	}
}

// outputs names the slots of outputs and lists the Identity nodes.
func (s *scope) outputs(direct map[*ir.Value]*ir.Slot) {
	type key struct {
		v    *ir.Value
		name string
	}
	made := map[key]string{}
	for _, o := range s.g.Outputs() {
		v := o.Value()
		if v == nil {
			continue
		}
		d := direct[v]
		if d != nil && d.Name() == o.Name() || v.Graph() != s.g && s.names.Value(v) == o.Name() {
			s.slot(o, s.names.Value(v))
			continue
		}
		k := key{v, o.Name()}
		name, ok := made[k]
		if !ok {
			name = o.Name()
			if _, used := s.taken[name]; name == "" || used && s.g != s.m.Main {
				name = s.fresh(name, "output")
			}
			s.taken[name] = nil
			made[k] = name
			s.names.ids[s.g] = append(s.names.ids[s.g], &Identity{o, name, v})
		}
		s.slot(o, name)
	}
}

// value names v, unless it has a name already, by its hint or, if that is empty or taken, by a new one.
func (s *scope) value(v *ir.Value, hint, root string) {
	if w, ok := s.taken[s.names.Value(v)]; ok && w == v {
		return
	}
	if _, used := s.taken[hint]; used || hint == "" {
		hint = s.fresh(hint, root)
	}
	s.bind(v, hint)
}

func (s *scope) bind(v *ir.Value, name string) {
	s.taken[name] = v
	if name != v.Name() {
		s.names.values[v] = name
	}
}

func (s *scope) slot(o *ir.Slot, name string) {
	if name != o.Name() {
		s.names.slots[o] = name
	}
}

func (a *assigner) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf("the interface cannot be written: "+format, args...)
	}
}

// fresh makes a name that occurs nowhere in the model.
func (a *assigner) fresh(hint, root string) string {
	if a.used == nil {
		a.collect()
	}
	if hint != "" {
		root = hint
	}
	for {
		a.used[root]++
		name := root + "_" + strconv.Itoa(a.used[root])
		if _, ok := a.used[name]; !ok {
			a.used[name] = 0
			return name
		}
	}
}

// collect gathers the names of all values and slots.
func (a *assigner) collect() {
	a.used = map[string]int{}
	for _, g := range a.m.Graphs() {
		for _, slots := range [][]*ir.Slot{g.Inputs(), g.Outputs()} {
			for _, s := range slots {
				a.used[s.Name()] = 0
			}
		}
		if u, ok := g.Extra.(keep.Unbound); ok {
			for _, i := range u.Unbound() {
				a.used[i.Name] = 0
			}
		}
		for _, v := range g.Consts() {
			a.used[v.Name()] = 0
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil {
					a.used[v.Name()] = 0
				}
			}
		}
	}
}
