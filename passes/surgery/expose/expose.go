// Package expose is the pass that makes inner values outputs.
package expose

import (
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/cut"
)

// Options of the pass.
type Options struct {
	Values []string `opt:"values" doc:"names or globs of results of nodes of the main graph; * also matches /"`
}

// Pass adds outputs.
var Pass = passes.Define(passes.Info{
	Name: "expose",
	Doc:  "makes inner values of the main graph further outputs",
	Long: `Values keep their names and become outputs behind those that are there, in the order of their nodes. A glob takes
results of nodes whose type inference knows; a value that is named itself has to be there and known. With only= the
pass takes results of certain nodes: expose{values=* only=Conv}.`,
	Example: "expose{values=*}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	names := cut.Of(m)
	asked := map[*ir.Value]bool{}
	var globs []string
	for _, s := range o.Values {
		if strings.ContainsAny(s, "*?") {
			globs = append(globs, s)
			continue
		}
		v, err := names.Lookup(m, s)
		switch {
		case err != nil:
			return err
		case v.Node() == nil:
			return fmt.Errorf("value %q is no result of a node", s)
		case !cut.Complete(f.Type(v)):
			return fmt.Errorf("the type of value %q is not known, so that it cannot be an output", s)
		}
		asked[v] = true
	}
	found := make([]bool, len(globs))
	var values []*ir.Value
	for n := range m.Main.Nodes() {
		for _, v := range n.Results() {
			if v != nil && (asked[v] || matches(globs, found, v.Name())) {
				values = append(values, v)
			}
		}
	}
	for i, ok := range found {
		if !ok {
			return fmt.Errorf("no value matches %q", globs[i])
		}
	}
	taken := map[string]bool{}
	for _, s := range m.Main.Outputs() {
		taken[s.Name()] = true
	}
	for _, v := range values {
		t := f.Type(v)
		switch {
		case cut.IsOutput(m, v) || v.Name() == "" || taken[v.Name()]:
		case !cut.Complete(t):
			c.Remark(v.Node(), "expose", "the type of its result is not known")
		default:
			taken[v.Name()] = true
			c.Rewrite("expose", v.Node(), nil, func() { expose(c, m, v, t) })
		}
	}
	return nil
}

func matches(globs []string, found []bool, name string) bool {
	any := false
	for i, g := range globs {
		if passes.Glob(g, name) {
			any, found[i] = true, true
		}
	}
	return any
}

func expose(c *passes.Context, m *ir.Model, v *ir.Value, t *ir.Type) {
	c.Border(&ir.Border{Added: []ir.Port{{Name: v.Name(), Of: v.Name()}}})
	m.Main.AddOutput(v.Name(), v, t)
}
