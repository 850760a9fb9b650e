// Package shapes is the pass that records inferred types in the model.
package shapes

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Options are the options of shapes.
type Options struct {
	Drop    string `opt:"drop" enum:"none|known|all" doc:"forget recorded types instead: known are those that inference finds without them"`
	Outputs bool   `opt:"outputs" doc:"refine the declared types of the graph's outputs, too"`
}

// Pass records the types and shapes that inference finds as value_info, or takes value_info away.
var Pass = passes.Define(passes.Info{
	Name: "shapes",
	Doc:  "records inferred types and shapes as value_info, or takes value_info away",
	Long: `What is recorded of a value gains what inference knows: its element type, its rank, and sizes, as numbers or as expressions over the
dimensions that the inputs name, such as "2*H" or "floor((W + 1)/2)". A record that inference disproves is replaced. Values in
subgraphs count, those in bodies of functions do not, since they differ from call to call. An output has a declared type instead, which
outputs=true refines.
With drop=known the records go that inference finds again without them; drop=all takes all away, also what only the file knows, such as the
results of operators without a schema.`,
	Rules: []passes.RuleDoc{
		{Name: "record", Doc: "adds what inference knows to what is recorded"},
		{Name: "correct", Doc: "replaces a recorded type that inference disproves"},
		{Name: "output", Doc: "refines the declared type of an output"},
		{Name: "drop", Doc: "forgets a recorded type"},
	},
	Example: "shapes{drop=known}",
}, Options{Drop: "none"}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	switch o.Drop {
	case "all":
		forget(c, m, func(*ir.Value) bool { return true })
		return nil
	case "known":
		forget(c, m, redundant(m))
		return nil
	}
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	// All answers are taken before the first edit: a changed type makes the facts void.
	var edits []func()
	for _, g := range m.Graphs() {
		if g.Function() == nil {
			edits = append(edits, record(c, f, g, o)...)
		}
	}
	for _, edit := range edits {
		edit()
	}
	return nil
}

// record lists what is to be written in g.
func record(c *passes.Context, f *facts.Facts, g *ir.Graph, o Options) (edits []func()) {
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v == nil || v.IsOutput() || v.Const() != nil { // what states its type already
				continue
			}
			t := f.Type(v)
			if !complete(t) {
				continue
			}
			rule := "record"
			merged, ok := v.Type().Merge(t)
			switch {
			case !ok:
				rule, merged = "correct", t
			case merged.Equal(v.Type()):
				continue
			}
			edits = append(edits, func() { c.Rewrite(rule, n, nil, func() { v.Declare(merged) }) })
		}
	}
	if !o.Outputs {
		return edits
	}
	for _, s := range g.Outputs() {
		if merged, ok := s.Type().Merge(f.Type(s.Value())); ok && complete(merged) && !merged.Equal(s.Type()) {
			edits = append(edits, func() { c.Rewrite("output", s.Value().Node(), nil, func() { s.SetType(merged) }) })
		}
	}
	return edits
}

// complete reports whether t says enough to be written: value_info has to state an element type.
func complete(t *ir.Type) bool {
	switch {
	case t == nil:
		return false
	case t.Kind == ir.KindSequence || t.Kind == ir.KindOptional:
		return complete(t.Of)
	case t.Kind == ir.KindMap:
		return t.Elem != ir.Undefined && complete(t.Of)
	}
	return (t.Kind == ir.KindTensor || t.Kind == ir.KindSparse) && t.Elem != ir.Undefined
}

// forget takes away the recorded types of results for which gone is true.
func forget(c *passes.Context, m *ir.Model, gone func(*ir.Value) bool) {
	for _, g := range m.Graphs() {
		if g.Function() != nil {
			continue
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil && v.Type() != nil && gone(v) {
					c.Rewrite("drop", n, nil, func() { v.SetType(nil) })
				}
			}
		}
	}
}

// redundant reports whether inference finds all that is recorded of a value in a copy of m in which nothing is recorded of any result.
func redundant(m *ir.Model) func(*ir.Value) bool {
	bare, copies := m.CloneMap()
	for _, g := range bare.Graphs() {
		if g.Function() == nil {
			for n := range g.Nodes() {
				for _, v := range n.Results() {
					if v != nil {
						v.SetType(nil)
					}
				}
			}
		}
	}
	r := infer.Model(bare)
	return func(v *ir.Value) bool {
		t := r.Type(copies[v])
		merged, ok := t.Merge(v.Type())
		return t != nil && ok && merged.Equal(t)
	}
}
