// Package loops is the pass that simplifies Loop and Scan nodes.
package loops

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
)

// Options are the options of loops.
type Options struct {
	Growth int `opt:"growth" doc:"by how many nodes unrolling a loop may make the model larger, what depends on the number of the round alone not counted"`
}

// Pass replaces loops of a known number of rounds by their rounds, and uses of what a loop carries along unchanged by what it was at first.
var Pass = passes.Define(passes.Info{
	Name: "loops",
	Doc:  "unrolls loops of few rounds, and takes what never changes out of what they carry",
	Long: `A Loop is unrolled if inference knows how many rounds it makes and that its condition never ends it earlier. A runtime starts its
interpreter anew for each round, so that a few nodes more are well spent; what depends on the number of the round alone is folded
afterwards.
A value that a body gives back as it came is a value of the graph around it, which the body may capture. What is then carried for nobody is
removed by dce.`,
	Rules: []passes.RuleDoc{
		{Name: "unroll", Doc: "replaces a Loop by its rounds"},
		{Name: "unchanged", Doc: "replaces what a Loop or Scan carries along unchanged by its first value"},
	},
}, Options{Growth: 16}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for _, g := range m.Graphs() {
		if g.Owner() == nil {
			graph(c, f, g, o)
		}
	}
	return nil
}

// graph simplifies the loops of g and those nested in it, innermost first.
func graph(c *passes.Context, f *facts.Facts, g *ir.Graph, o Options) {
	for n := range g.Nodes() {
		if c.Err() != nil {
			return
		}
		for _, s := range n.Subgraphs() {
			graph(c, f, s, o)
		}
		switch {
		case n.Is("Loop"):
			if body := n.Attr("body").Graph(); body != nil && fits(n, body) && !unroll(c, f, n, body, o) {
				for i := range n.NumOperands() - 2 {
					unchanged(c, n, n.Operand(i+2), body.Inputs()[i+2], i+1, i)
				}
			}
		case n.Is("Scan") && n.Graph().Opset("") >= 9:
			body := n.Attr("body").Graph()
			states := n.NumOperands() - int(n.Int("num_scan_inputs", 0))
			if body == nil || states < 0 || len(body.Inputs()) != n.NumOperands() || len(body.Outputs()) < states {
				continue
			}
			for i := range states {
				unchanged(c, n, n.Operand(i), body.Inputs()[i], i, i)
			}
		}
	}
}

// fits reports whether the numbers of a Loop's operands and results and its body's inputs and outputs agree.
func fits(n *ir.Node, body *ir.Graph) bool {
	return n.NumOperands() >= 2 && len(body.Inputs()) == n.NumOperands() && len(body.Outputs()) >= n.NumOperands()-1 &&
		n.NumResults() <= len(body.Outputs())-1
}

// unchanged replaces what n carries, from its operand first through an input of its body to an output and a result, by first, if the body
// gives it back as it came.
func unchanged(c *passes.Context, n *ir.Node, first *ir.Value, input *ir.Slot, output, result int) {
	in, body := input.Value(), n.Attr("body").Graph()
	if first == nil || body.Outputs()[output].Value() != in {
		return
	}
	back := func(u ir.Use) bool { return u.Node == body.Return() && u.Index == output }
	inside := false
	for u := range in.Uses() {
		inside = inside || !back(u)
	}
	v := n.Result(result)
	outside := v.NumUses() > 0
	if outside {
		if why := glue.Refuse(v, first, 0); why != "" {
			c.Remark(n, "unchanged", why)
			outside = false
		}
	}
	if !inside && !outside {
		return
	}
	c.Rewrite("unchanged", n, nil, func() {
		in.ReplaceUsesIf(first, func(u ir.Use) bool { return !back(u) })
		if outside {
			v.ReplaceUses(first)
		}
	})
}
