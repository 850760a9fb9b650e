// Package naming decides what the values of a model are called where it is written, in either notation.
//
// Inside ir a value's name is a hint: it may be empty, and two values may share it. Written, every value of a graph has a
// name of its own, a name found in an inner graph means the innermost definition, and an output slot is nothing but the name
// of the value it returns. Assign settles this without changing the model; Absorb undoes on reading what Assign adds on
// writing. The rules are those of the design's paragraphs "Scopes" and "Identity and slots". What only the file knows, such as
// that it hides a name, reaches Assign through the interfaces of package keep.
package naming

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
)

// Names says what each value and each slot of a model is called.
type Names struct {
	values map[*ir.Value]string               // where it differs from the hint
	slots  map[*ir.Slot]string                // where it differs from the slot's name
	taken  map[*ir.Graph]map[string]*ir.Value // what each name means in a graph; nil for the result of an Identity
	ids    map[*ir.Graph][]*Identity

	sources map[*ir.Graph]map[string]*ir.Value // by name in the file; made when first asked for
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

// Named is the value that has the name in g: one of g, or one that g captures. ok is false if the name is free there; the value is
// nil if it is that of an Identity.
func (n *Names) Named(g *ir.Graph, name string) (v *ir.Value, ok bool) {
	v, ok = n.taken[g][name]
	return v, ok
}

// Owned reports whether a value of g itself has the name, so that what a file says of it is said of that value. A name that g only
// captures may have an entry of its own in g.
func (n *Names) Owned(g *ir.Graph, name string) bool {
	v := n.taken[g][name]
	return v != nil && v.Graph() == g
}

// Assign names every value of m. Inputs and outputs of top-level graphs have the names of their slots; everything else keeps
// its own name unless it is empty, taken, or would hide a name of an enclosing graph that the file does not hide, which
// checkers refuse. New names occur nowhere else in the model. The result can be used even if there is an error, which says that
// the interface cannot be written as it is.
//
// The time is linear in the model's size, counting a capture once for each graph it passes through.
func Assign(m *ir.Model) (*Names, error) {
	a := &assigner{m: m, names: &Names{
		values: map[*ir.Value]string{}, slots: map[*ir.Slot]string{},
		taken: map[*ir.Graph]map[string]*ir.Value{}, ids: map[*ir.Graph][]*Identity{},
		sources: map[*ir.Graph]map[string]*ir.Value{},
	}}
	for _, g := range m.Graphs() { // enclosing graphs come first
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
	g       *ir.Graph
	taken   map[string]*ir.Value // Names.taken of g
	returns map[string]*ir.Value // what outputs return whose names claim has reserved
}

// owns reports whether the slots of g own their names. Those of subgraphs and functions are positional: those of functions keep
// their names where they can, because people read them.
func owns(g *ir.Graph) bool { return g.Owner() == nil && !g.IsBody() }

func (a *assigner) graph(g *ir.Graph) {
	consts := g.Consts()
	s := &scope{a, g, make(map[string]*ir.Value, len(consts)+g.NumNodes()), map[string]*ir.Value{}}
	a.names.taken[g] = s.taken
	for _, v := range g.Captures() {
		s.taken[a.names.Value(v)] = v
	}
	for _, in := range g.Inputs() {
		if owns(g) && s.taken[in.Name()] != nil {
			s.fail("two inputs are called %q", in.Name())
		}
		s.value(in.Value(), in.Name())
		s.slot(in, a.names.Value(in.Value()))
	}
	direct := s.direct()
	if owns(g) || g.IsBody() {
		s.claim(direct)
	}
	for _, v := range consts {
		s.value(v, hint(v, direct))
	}
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				s.value(v, hint(v, direct))
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
// first. Inputs and constants that have a name stand for outputs of that name only. Values of other graphs are not listed.
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

// claim reserves the names of outputs, for the values that stand for them or for Identity nodes.
func (s *scope) claim(direct map[*ir.Value]*ir.Slot) {
	for _, o := range s.g.Outputs() {
		v, name := o.Value(), o.Name()
		if v == nil {
			continue
		}
		if w, ok := s.returns[name]; ok && w != v {
			s.fail("two values are returned as output %q", name)
			continue
		}
		s.returns[name] = v
		switch w, ok := s.taken[name]; {
		case direct[v] != nil && direct[v].Name() == name:
			if ok && w != v {
				s.fail("%q is both an input and another value's output", name)
				continue
			}
			s.bind(v, name)
		case ok && w == v && s.returnsOuter(o):
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
		if d := direct[v]; d != nil && d.Name() == o.Name() || s.returnsOuter(o) && s.names.Value(v) == o.Name() {
			s.slot(o, s.names.Value(v))
			continue
		}
		k := key{v, o.Name()}
		name, ok := made[k]
		if !ok {
			name = o.Name()
			if reserved := s.returns[name] == v && s.taken[name] == nil; !reserved && !s.free(name) {
				name = s.fresh(cmp.Or(name, "output"))
			}
			s.taken[name] = nil
			made[k] = name
			s.names.ids[s.g] = append(s.names.ids[s.g], identity(o, name))
		}
		s.slot(o, name)
	}
}

// returnsOuter reports whether the file may name a value of an enclosing graph itself as output o: where it did when it was read, and in
// the graphs of training, whose outputs keep their names.
func (s *scope) returnsOuter(o *ir.Slot) bool {
	if o.Value().Graph() == s.g {
		return false
	}
	k, ok := o.Extra.(keep.Outer)
	return owns(s.g) || ok && k.Outer()
}

// value names v, unless it has a name already, by its hint or, if that is empty or not free, by a new one.
func (s *scope) value(v *ir.Value, hint string) {
	if w, ok := s.taken[s.names.Value(v)]; ok && w == v {
		return
	}
	switch n, i := v.Def(); {
	case s.free(hint):
	case hint != "":
		hint = s.fresh(hint)
	case n != nil && n.Name() != "": // what exporters call it
		hint = n.Name() + "_output_" + strconv.Itoa(i)
		if !s.unused(hint) {
			hint = s.fresh(hint)
		}
	default:
		hint = s.fresh(kind(v))
	}
	s.bind(v, hint)
}

// free reports whether a value of s.g can have the name: nothing in the graph has it, and it hides no name of an enclosing
// graph, except where the file does.
func (s *scope) free(name string) bool {
	if _, used := s.taken[name]; used || name == "" {
		return false
	}
	for g := s.g.Outer(); g != nil; g = g.Outer() {
		if _, hides := s.names.taken[g][name]; hides {
			x, ok := s.g.Extra.(keep.Shadowing)
			return ok && x.Shadows(name)
		}
	}
	return true
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

// fail records that a name that the interface owns cannot be given.
func (s *scope) fail(format string, args ...any) {
	if s.err == nil && owns(s.g) {
		s.err = fmt.Errorf("the interface cannot be written: "+format, args...)
	}
}

// kind says what v is: the root of new names.
func kind(v *ir.Value) string {
	switch {
	case v.Node() != nil:
		return v.Node().Op().Type
	case v.IsInput():
		return "input"
	}
	return "const"
}

// unused reports whether a name occurs nowhere in the model, and takes it if so.
func (a *assigner) unused(name string) bool {
	if a.used == nil {
		a.collect()
	}
	if _, ok := a.used[name]; ok {
		return false
	}
	a.used[name] = 0
	return true
}

// fresh makes a name that occurs nowhere in the model: the root and a number.
func (a *assigner) fresh(root string) string {
	for {
		name := root + "_" + strconv.Itoa(a.next(root))
		if a.unused(name) {
			return name
		}
	}
}

// next counts the names that were made of a root.
func (a *assigner) next(root string) int {
	if a.used == nil {
		a.collect()
	}
	a.used[root]++
	return a.used[root]
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
