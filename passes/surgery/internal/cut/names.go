// Package cut finds values by name and takes subgraphs out of models.
package cut

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
)

// Names are the values of a main graph by name.
type Names struct {
	values map[string]*ir.Value
	names  []string // in the order of the graph
	inner  map[string]string
}

// Of indexes the main graph of m. Where names are repeated, outputs come first, since they own theirs, then inputs.
func Of(m *ir.Model) *Names {
	n := &Names{values: map[string]*ir.Value{}}
	g := m.Main
	for _, s := range g.Outputs() {
		n.add(s.Name(), s.Value())
	}
	for _, s := range g.Inputs() {
		n.add(s.Name(), s.Value())
	}
	for k := range g.Nodes() {
		for _, v := range k.Results() {
			if v != nil {
				n.add(v.Name(), v)
			}
		}
	}
	for _, v := range g.Consts() {
		n.add(v.Name(), v)
	}
	return n
}

func (n *Names) add(name string, v *ir.Value) {
	if name == "" || n.values[name] != nil {
		return
	}
	n.values[name] = v
	n.names = append(n.names, name)
}

// All lists the names: outputs, inputs, results in the order of the nodes, constants.
func (n *Names) All() []string { return n.names }

// Lookup is the value of that name. The error of one that is not there says what is near it.
func (n *Names) Lookup(m *ir.Model, name string) (*ir.Value, error) {
	if v := n.values[name]; v != nil {
		return v, nil
	}
	if n.inner == nil {
		n.inner = inner(m)
	}
	if place, ok := n.inner[name]; ok {
		return nil, fmt.Errorf("value %q is inside %s; only values of the main graph can be named", name, place)
	}
	return nil, fmt.Errorf("there is no value %q%s", name, spell.Hint(name, n.names))
}

// inner says where values are that are not in the main graph.
func inner(m *ir.Model) map[string]string {
	r := map[string]string{}
	for _, g := range m.Graphs() {
		if g == m.Main {
			continue
		}
		place := "graph " + g.Path()
		if f := g.Function(); f != nil {
			place = "function " + f.ID().String()
		} else if o := g.Owner(); o != nil {
			place = fmt.Sprintf("a subgraph of node %q (%s)", o.Name(), o.Op())
		}
		for _, s := range g.Inputs() {
			r[s.Name()] = place
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil && v.Name() != "" {
					r[v.Name()] = place
				}
			}
		}
	}
	return r
}
