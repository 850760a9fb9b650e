// Package rename is the pass that renames inputs, outputs, values and nodes.
package rename

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/cut"
)

// Options of the pass.
type Options struct {
	Names map[string]string `opt:"*" doc:"old=new: an input or output, else another value of the main graph, else a node"`
}

// Pass renames.
var Pass = passes.Define(passes.Info{
	Name: "rename",
	Doc:  "renames inputs, outputs, inner values and nodes",
	Long: `All names change at once, so that two can be exchanged: rename{a=b b=a}. A name of the interface that is taken by another
slot is an error; an inner value that has it gets another one. Names with characters other than letters, digits and
. _ - * stand in quotes: rename{"input:0"=x}.`,
	Rules: []passes.RuleDoc{
		{Name: "interface", Doc: "renames an input or output"},
		{Name: "value", Doc: "renames another value of the main graph"},
		{Name: "node", Doc: "renames nodes"},
	},
	Example: "rename{x=input y=scores}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	r := &renamer{c: c, m: m, values: cut.Of(m), slots: map[*ir.Slot]string{}, results: map[*ir.Value]string{}, nodes: map[*ir.Node]string{}}
	for _, old := range slices.Sorted(maps.Keys(o.Names)) {
		if err := r.plan(old, o.Names[old]); err != nil {
			return err
		}
	}
	if err := r.distinct(); err != nil {
		return err
	}
	r.apply()
	return nil
}

// renamer collects what is to be renamed before anything is.
type renamer struct {
	c       *passes.Context
	m       *ir.Model
	values  *cut.Names
	slots   map[*ir.Slot]string
	results map[*ir.Value]string
	nodes   map[*ir.Node]string
}

// plan finds what old names.
func (r *renamer) plan(old, name string) error {
	if name == "" {
		return fmt.Errorf("%q cannot be renamed to nothing", old)
	}
	found := false
	for _, s := range r.interfaceSlots() {
		if s.Name() == old {
			r.slots[s], found = name, true
		}
	}
	if found {
		return nil
	}
	if v, err := r.values.Lookup(r.m, old); err == nil {
		r.results[v] = name
		return nil
	}
	var names []string
	for n := range r.m.Nodes() {
		if n.Name() == old && old != "" {
			r.nodes[n], found = name, true
		} else if n.Name() != "" {
			names = append(names, n.Name())
		}
	}
	if !found {
		return fmt.Errorf("there is no input, output, value or node %q%s", old, spell.Hint(old, append(names, r.values.All()...)))
	}
	return nil
}

func (r *renamer) interfaceSlots() []*ir.Slot {
	return slices.Concat(r.m.Main.Inputs(), r.m.Main.Outputs())
}

// distinct reports two inputs, or an output and something else, that would have one name.
func (r *renamer) distinct() error {
	taken := map[string]*ir.Value{}
	for _, s := range r.interfaceSlots() {
		name, renamed := r.slots[s]
		if !renamed {
			name = s.Name()
		}
		if v := taken[name]; v != nil && v != s.Value() {
			return fmt.Errorf("two different values of the interface would be called %q", name)
		}
		taken[name] = s.Value()
	}
	for v, name := range r.results {
		if taken[name] != nil {
			return fmt.Errorf("value %q cannot be called %q, which is the name of an input or output", v.Name(), name)
		}
		taken[name] = v
	}
	return nil
}

func (r *renamer) apply() {
	border := &ir.Border{Outputs: []ir.Port{}}
	changed := false
	for _, s := range r.m.Main.Inputs() {
		if name, ok := r.slots[s]; ok && name != s.Name() {
			border.Inputs = append(border.Inputs, ir.Port{Name: s.Name(), Of: name})
			changed = true
		}
	}
	for _, s := range r.m.Main.Outputs() {
		p := ir.Port{Name: s.Name(), Of: s.Name()}
		if name, ok := r.slots[s]; ok && name != s.Name() {
			p.Name, changed = name, true
		}
		border.Outputs = append(border.Outputs, p)
	}
	if changed {
		r.c.Rewrite("interface", nil, nil, func() {
			r.c.Border(border)
			for s, name := range r.slots {
				s.SetName(name)
			}
		})
	}
	for _, v := range inOrder(r.m, r.results) {
		if name := r.results[v]; name != v.Name() {
			r.c.Rewrite("value", v.Node(), nil, func() {
				r.c.Border(&ir.Border{Values: []ir.Port{{Name: name, Of: v.Name()}}})
				v.SetName(name)
			})
		}
	}
	for n := range r.m.Nodes() {
		if name, ok := r.nodes[n]; ok && name != n.Name() {
			r.c.Rewrite("node", n, nil, func() {
				r.c.Border(&ir.Border{})
				n.SetName(name)
			})
		}
	}
}

// inOrder lists the values in the order of the graph, so that rewrites are numbered alike each time.
func inOrder(m *ir.Model, values map[*ir.Value]string) []*ir.Value {
	var r []*ir.Value
	add := func(v *ir.Value) {
		if _, ok := values[v]; ok {
			r = append(r, v)
		}
	}
	for _, v := range m.Main.Consts() {
		add(v)
	}
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			add(v)
		}
	}
	return r
}
