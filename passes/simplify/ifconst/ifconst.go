// Package ifconst is the pass that resolves control flow whose condition is known.
package ifconst

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/known"
)

// Options has no options.
type Options struct{}

// Pass puts the nodes of the branch that an If surely takes in its place, branches inside branches included, and replaces
// the results of a Loop that surely makes no round by their initial values. An If of which both branches compute the same counts as known.
var Pass = passes.Define(passes.Info{
	Name: "if-const",
	Doc:  "replaces an If whose condition is known, or does not matter, by the branch it takes, and a Loop without rounds by its operands",
	Rules: []passes.RuleDoc{
		{Name: "if", Doc: "replaces an If by the branch it takes"},
		{Name: "same", Doc: "replaces what both branches of an If compute alike"},
		{Name: "loop", Doc: "replaces a Loop that makes no round by its initial values"},
	},
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, _ Options) error {
	if !m.MayHave(ir.Op("If")) && !m.MayHave(ir.Op("Loop")) {
		return nil
	}
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for _, g := range m.Graphs() {
		if g.Owner() == nil {
			graph(c, f, g)
		}
	}
	return nil
}

// graph resolves the nodes of g and of what is nested in it, innermost first, so that what is inlined is resolved already.
func graph(c *passes.Context, f *facts.Facts, g *ir.Graph) {
	for n := range g.Nodes() {
		for _, s := range n.Subgraphs() {
			graph(c, f, s)
		}
		switch {
		case n.Is("If"):
			resolveIf(c, f, n)
		case n.Is("Loop"):
			resolveLoop(c, f, n)
		}
	}
}

func resolveIf(c *passes.Context, f *facts.Facts, n *ir.Node) {
	cond, ok := known.Bool(f, n.Operand(0))
	if !ok {
		resolveEqual(c, n)
		return
	}
	name := "else_branch"
	if cond {
		name = "then_branch"
	}
	branch := n.Attr(name).Graph()
	if branch == nil || len(branch.Inputs()) > 0 || len(branch.Outputs()) != n.NumResults() {
		c.Remark(n, "if", "its "+name+" does not have its results")
		return
	}
	if why := refuse(n, branch); why != "" {
		c.Remark(n, "if", why)
		return
	}
	c.Rewrite("if", n, nil, func() { inline(n, branch) })
}

// inline puts the nodes of a branch in the place of n.
func inline(n *ir.Node, branch *ir.Graph) {
	g := n.Graph()
	for i, to := range branch.CopyInto(g, n, nil) {
		if v := n.Result(i); v != nil {
			glue.KeepType(v, to)
			v.ReplaceUses(to)
			if branch.Outputs()[i].Value().Graph() == branch {
				glue.FreeName(to)
			}
		}
	}
	g.Erase(n)
}

// refuse says why the outputs of branch cannot take the place of n's results. A result of the branch becomes one of the graph around
// it; anything else keeps its place.
func refuse(n *ir.Node, branch *ir.Graph) string {
	seen := map[*ir.Value]bool{}
	for i, s := range branch.Outputs() {
		v, to := n.Result(i), s.Value()
		if v == nil || !v.IsOutput() {
			continue
		}
		if to.Graph() != branch {
			if why := glue.Refuse(v, to, 1); why != "" {
				return why
			}
		}
		if seen[to] && !glue.HasIdentity(v, to) {
			return "an output would need an Identity node, which this opset does not have for values of its type"
		}
		seen[to] = true
	}
	return ""
}

// resolveLoop replaces the results of a Loop whose trip count is zero or whose condition is false at the start. A scan output
// that is used would be an empty tensor of a shape that nobody states.
func resolveLoop(c *passes.Context, f *facts.Facts, n *ir.Node) {
	trips, counted := known.Int(f, n.Operand(0))
	cond, conditional := known.Bool(f, n.Operand(1))
	if !(counted && trips <= 0) && !(conditional && !cond) {
		return
	}
	carried := n.NumOperands() - 2
	for i, v := range n.Results() {
		if v == nil || v.NumUses() == 0 {
			continue
		}
		if i >= carried || n.Operand(i+2) == nil {
			c.Remark(n, "loop", "the shape of a scan output without rounds is not known")
			return
		}
		if why := glue.Refuse(v, n.Operand(i+2), 1); why != "" {
			c.Remark(n, "loop", why)
			return
		}
	}
	c.Rewrite("loop", n, nil, func() {
		for i, v := range n.Results() {
			if v != nil && v.NumUses() > 0 {
				v.ReplaceUses(n.Operand(i + 2))
			}
		}
		n.Graph().Erase(n)
	})
}
