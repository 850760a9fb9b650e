package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// naming gives every value the name it is written with. Values keep the names they have; those of the main graph's interface
// come first, and a value whose name is taken, or that has none, gets one that no scope of the model uses.
type naming struct {
	m       *ir.Model
	renamed map[*ir.Value]string               // only where it is not the value's own
	taken   map[*ir.Graph]map[string]*ir.Value // what each name means in a graph, captures included
	used    map[string]bool                    // every name anywhere; made when the first new name is needed
	next    map[string]int                     // per stem of new names
}

func newNaming(m *ir.Model) *naming {
	return &naming{m: m, renamed: map[*ir.Value]string{}, taken: map[*ir.Graph]map[string]*ir.Value{}, next: map[string]int{}}
}

// of is the name of v; "" for an omitted value.
func (w *naming) of(v *ir.Value) string {
	if v == nil {
		return ""
	}
	if s, ok := w.renamed[v]; ok {
		return s
	}
	return v.Name()
}

// outputName is how an output of a graph is written: the name, and the Identity that gives it to the value if one is needed.
type outputName struct {
	name     string
	identity bool
}

// graph names the values of g; enclosing graphs are named already.
func (w *naming) graph(g *ir.Graph) ([]outputName, error) {
	consts := g.Consts()
	s := &scopeNames{naming: w, g: g, taken: make(map[string]*ir.Value, len(consts)+g.NumNodes())}
	w.taken[g] = s.taken
	for _, v := range g.Captures() { // a captured name must not be hidden
		s.taken[w.of(v)] = v
	}
	for _, in := range g.Inputs() {
		if s.claim(in.Value(), in.Name()); s.owns() && w.of(in.Value()) != in.Name() {
			return nil, fmt.Errorf("%s: input %q cannot have its name", g.Path(), in.Name())
		}
	}
	outs, err := s.outputs()
	if err != nil {
		return nil, err
	}
	for _, c := range consts {
		if !s.named(c) {
			s.claim(c, c.Name())
		}
	}
	for n := range g.Nodes() {
		for _, r := range n.Results() {
			if r != nil && !s.named(r) {
				s.claim(r, r.Name())
			}
		}
	}
	return outs, nil
}

// scopeNames names the values of one graph.
type scopeNames struct {
	*naming
	g     *ir.Graph
	taken map[string]*ir.Value
}

// owns reports whether the graph's slots own their names; elsewhere they are positional.
func (s *scopeNames) owns() bool { return s.g.Owner() == nil && !s.g.IsBody() }

// named reports whether v has its final name.
func (s *scopeNames) named(v *ir.Value) bool { return s.taken[s.of(v)] == v }

// claim gives v the name, or a new one if it is empty or taken.
func (s *scopeNames) claim(v *ir.Value, name string) {
	if name == "" || !s.free(v, name) {
		name = s.invent(stem(v))
	}
	s.taken[name] = v
	if name != v.Name() {
		s.renamed[v] = name
	}
}

// free reports whether v can have the name: no other value of the graph has it, and it hides no outer one, except where the
// file does.
func (s *scopeNames) free(v *ir.Value, name string) bool {
	if o := s.taken[name]; o != nil && o != v {
		return false
	}
	for g := s.g.Outer(); g != nil; g = g.Outer() {
		if o := s.naming.taken[g][name]; o != nil && o != v && !(sourceName(o) == name && sourceName(v) == name) {
			return false
		}
	}
	return true
}

// outputs finds which outputs are named by the value itself. A result takes the name of an output unless it has the name of
// another one; so does a constant without a name. Everything else needs an Identity.
func (s *scopeNames) outputs() ([]outputName, error) {
	slots := s.g.Outputs()
	outs := make([]outputName, len(slots))
	for pass := range 3 {
		for i, slot := range slots {
			v := slot.Value()
			if outs[i].name == "" && s.direct(slot, v, pass) {
				outs[i].name = s.of(v)
			}
		}
	}
	for i, slot := range slots {
		if outs[i].name == "" {
			r := new(ir.Value) // stands for the Identity's result
			if e := extraOf[slotExtra](slot.Extra); e != nil && e.identity != nil {
				r.Extra = &valueExtra{name: e.name}
			}
			s.claim(r, slot.Name())
			outs[i] = outputName{s.renamed[r], true}
			delete(s.renamed, r)
		}
		if s.owns() && outs[i].name != slot.Name() {
			return nil, fmt.Errorf("%s: output %q cannot have its name, another value of the interface has it", s.g.Path(), slot.Name())
		}
	}
	return outs, nil
}

// direct reports whether v itself is named by slot, and claims the name. Pass 0 finds the values that have the name already, pass
// 1 gives it to others, pass 2 also where the file had an Identity that is no longer needed.
func (s *scopeNames) direct(slot *ir.Slot, v *ir.Value, pass int) bool {
	e := extraOf[slotExtra](slot.Extra)
	switch local := v.Graph() == s.g; {
	case s.named(v) && s.of(v) == slot.Name():
		return local || e != nil && e.direct
	case !local || s.named(v):
		return false
	case pass == 0 && v.Name() != slot.Name():
		return false
	case pass == 1 && e != nil && e.identity != nil, pass > 0 && v.Node() == nil && v.Name() != "":
		return false
	case s.owns() && !s.free(v, slot.Name()):
		return false
	}
	s.claim(v, slot.Name())
	return true
}

// stem is what a new name for v begins with.
func stem(v *ir.Value) string {
	switch n := v.Node(); {
	case n != nil:
		return n.Op().Type
	case v.IsInput():
		return "input"
	case v.Const() != nil:
		return "const"
	}
	return "output"
}

// invent returns a name that nothing in the model has.
func (w *naming) invent(stem string) string {
	if w.used == nil {
		w.collect()
	}
	for {
		name := fmt.Sprintf("%s_%d", stem, w.next[stem])
		w.next[stem]++
		if !w.used[name] {
			w.used[name] = true
			return name
		}
	}
}

// collect lists every name in the model, also those that the file only mentions.
func (w *naming) collect() {
	w.used = map[string]bool{}
	for _, g := range w.m.Graphs() {
		for _, s := range g.Inputs() {
			w.used[s.Name()] = true
		}
		for _, s := range g.Outputs() {
			w.used[s.Name()] = true
		}
		for _, v := range g.Consts() {
			w.used[v.Name()] = true
		}
		for n := range g.Nodes() {
			for _, r := range n.Results() {
				if r != nil {
					w.used[r.Name()] = true
				}
			}
		}
		if x := extraOf[graphExtra](g.Extra); x != nil {
			for _, u := range x.unbound {
				w.used[u.name] = true
			}
		}
	}
}

// sourceName is the name that v had in its file, "" if it was not read.
func sourceName(v *ir.Value) string {
	if e := extraOf[valueExtra](v.Extra); e != nil {
		return e.name
	}
	n, i := v.Def()
	if n == nil {
		return ""
	}
	x := extraOf[nodeExtra](n.Extra)
	if x == nil {
		return ""
	}
	for f := range wire.Fields(x.field.Body) {
		if f.Num == nodeOutputs && f.IsBytes() {
			if i == 0 {
				return string(f.Body)
			}
			i--
		}
	}
	return ""
}
