package ir

import (
	"fmt"
	"strings"
)

// VerifyError is a broken invariant.
type VerifyError struct {
	Invariant int    // as numbered in the package documentation
	Place     string // graph and node or value
	Detail    string
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("%s: %s (invariant %d)", e.Place, e.Detail, e.Invariant)
}

// Verify checks the invariants of the package and returns the first broken one as a *VerifyError. It reads no payloads.
func Verify(m *Model) error {
	v := &verifier{m: m, imported: map[*Function]map[string]bool{}, bodies: map[OpID]*Function{}}
	for _, f := range m.Functions {
		v.bodies[f.ID()] = f
	}
	graphs := m.Graphs()
	for _, check := range []func(*Graph) error{
		v.nesting, v.scopes, v.uses, v.definitions, v.acyclic, v.interfaceNames, v.payloads, v.domains,
	} {
		for _, g := range graphs {
			if err := check(g); err != nil {
				return err
			}
		}
	}
	return v.functions()
}

type verifier struct {
	m        *Model
	imported map[*Function]map[string]bool
	bodies   map[OpID]*Function
}

// Path names g for messages: "graph", "function F", and for a subgraph the way to it.
func (g *Graph) Path() string {
	switch {
	case g.fn != nil:
		return "function " + g.fn.ID().String()
	case g.outer == nil || g.owner == nil:
		if g.name == "" {
			return "graph"
		}
		return fmt.Sprintf("graph %q", g.name)
	}
	for _, a := range g.owner.attrs {
		for i, s := range a.Graphs() {
			if s == g && a.Kind == AttrGraphs {
				return fmt.Sprintf("%s[%d] of %s", a.Name, i, g.owner)
			} else if s == g {
				return fmt.Sprintf("%s of %s", a.Name, g.owner)
			}
		}
	}
	return fmt.Sprintf("subgraph of %s", g.owner)
}

// String names n for messages.
func (n *Node) String() string {
	if n.IsReturn() {
		return "outputs of " + n.graph.Path()
	}
	if n.name != "" {
		return fmt.Sprintf("node %q (%s)", n.name, n.op)
	}
	for _, v := range n.out {
		if v != nil && v.name != "" {
			return fmt.Sprintf("node of %q (%s)", v.name, n.op)
		}
	}
	return "node " + n.op.String()
}

func broken(inv int, place fmt.Stringer, format string, a ...any) error {
	return &VerifyError{inv, place.String(), fmt.Sprintf(format, a...)}
}

// String is Path.
func (g *Graph) String() string { return g.Path() }

// each calls f for the living nodes of g and its Return node.
func (g *Graph) each(f func(*Node) error) error {
	for _, n := range g.nodes {
		if !n.dead {
			if err := f(n); err != nil {
				return err
			}
		}
	}
	return f(g.ret)
}

// scopes is invariant 1.
func (v *verifier) scopes(g *Graph) error {
	return g.each(func(n *Node) error {
		for i, o := range n.in {
			if o.v != nil && o.v.graph != g && !o.v.graph.Encloses(g) {
				return broken(1, n, "operand %d, %q, is defined in %s, which does not enclose it", i, o.v.name, o.v.graph)
			}
			if o.v == nil && n.IsReturn() {
				return broken(1, n, "output %d has no value", i)
			}
		}
		return nil
	})
}

// acyclic is invariant 2.
func (v *verifier) acyclic(g *Graph) error {
	if _, ok := g.sorted(); !ok {
		return broken(2, g, "the nodes form a cycle")
	}
	return nil
}

// uses is invariant 3.
func (v *verifier) uses(g *Graph) error {
	err := g.each(func(n *Node) error {
		for i, o := range n.in {
			if o.v != nil && (int(o.at) >= len(o.v.uses) || o.v.uses[o.at] != Use{n, i}) {
				return broken(3, n, "operand %d is not among the uses of %q", i, o.v.name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.eachValue(func(w *Value) error {
		for _, u := range w.uses {
			if u.Node.dead || u.Index >= len(u.Node.in) || u.Node.in[u.Index].v != w {
				return broken(3, u.Node, "%q lists a use that is not there", w.name)
			}
		}
		return nil
	})
}

// eachValue calls f for the values that g defines.
func (g *Graph) eachValue(f func(*Value) error) error {
	for _, s := range g.ins {
		if err := f(s.value); err != nil {
			return err
		}
	}
	for _, c := range g.consts {
		if !c.dead {
			if err := f(c); err != nil {
				return err
			}
		}
	}
	return g.each(func(n *Node) error {
		for _, r := range n.out {
			if r != nil {
				if err := f(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// definitions is invariant 4.
func (v *verifier) definitions(g *Graph) error {
	seen := map[*Value]bool{}
	err := g.eachValue(func(w *Value) error {
		if seen[w] || w.graph != g {
			return broken(4, g, "value %q has two definitions", w.name)
		}
		seen[w] = true
		return nil
	})
	if err != nil {
		return err
	}
	return g.each(func(n *Node) error {
		for i, r := range n.out {
			if r != nil && (r.def != n || int(r.result) != i || r.dead) {
				return broken(4, n, "result %d does not point back", i)
			}
		}
		for i, o := range n.in {
			if o.v != nil && o.v.dead {
				return broken(4, n, "operand %d, %q, was erased", i, o.v.name)
			}
		}
		return nil
	})
}

// interfaceNames is invariant 5.
func (v *verifier) interfaceNames(g *Graph) error {
	if g.outer != nil {
		return nil
	}
	in := map[string]bool{}
	for i, s := range g.ins {
		if s.name == "" || in[s.name] {
			return broken(5, g, "input %d has an empty or repeated name %q", i, s.name)
		}
		in[s.name] = true
	}
	out := map[string]*Value{}
	for i, s := range g.outs {
		w := s.Value()
		if o := out[s.name]; s.name == "" || o != nil && o != w {
			return broken(5, g, "output %d has an empty name, or one that another value has: %q", i, s.name)
		}
		out[s.name] = w
	}
	return nil
}

// payloads is invariant 6 as far as it can be told without reading payloads.
func (v *verifier) payloads(g *Graph) error {
	for _, c := range g.consts {
		if c.dead {
			continue
		}
		t := c.tensor
		if t == nil || !t.dtype.Valid() || t.Len() < 0 {
			return broken(6, g, "initializer %q has no valid type and shape", c.name)
		}
		if b := t.bytes.Load(); b != nil && t.dtype != String {
			if err := t.checkLen(*b); err != nil {
				return broken(6, g, "initializer %q: %v", c.name, err)
			}
		}
	}
	return nil
}

// domains is invariant 7.
func (v *verifier) domains(g *Graph) error {
	f := g.Function()
	known := v.imported[f]
	if known == nil {
		known = map[string]bool{}
		list := v.m.opsets
		if f != nil {
			list = f.opsets
		}
		for _, o := range list {
			known[Domain(o.Domain)] = true
		}
		v.imported[f] = known
	}
	for _, n := range g.nodes {
		if !n.dead && !known[n.op.Domain] && v.bodies[n.op] == nil {
			return broken(7, n, "domain %q is not imported", n.op.Domain)
		}
	}
	return nil
}

// nesting is invariant 8.
func (v *verifier) nesting(g *Graph) error {
	return g.each(func(n *Node) error {
		if n.graph != g {
			return broken(8, n, "the node belongs to another graph")
		}
		for _, s := range n.Subgraphs() {
			if s.owner != n || s.outer != g {
				return broken(8, n, "its subgraph %q belongs to another node", s.name)
			}
		}
		return nil
	})
}

// functions is invariant 9.
func (v *verifier) functions() error {
	seen := map[OpID]bool{}
	for _, f := range v.m.Functions {
		if seen[f.ID()] {
			return broken(9, f.Graph, "two functions have this name")
		}
		seen[f.ID()] = true
	}
	if c := v.m.CallCycle(); c != nil {
		names := make([]string, len(c))
		for i, f := range c {
			names[i] = f.Name
		}
		return broken(9, c[0].Graph, "it calls itself: %s > %s", strings.Join(names, " > "), c[0].Name)
	}
	return nil
}
