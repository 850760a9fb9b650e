// Package ifrank is the pass that decides an If by the rank that its results must have.
package ifrank

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Pass makes the condition of an If a constant where only one branch gives results of the rank that what follows takes. if-const
// then puts the branch in its place.
var Pass = passes.Define(passes.Info{
	Name: "if-rank",
	Doc:  "decides an If of which only one branch gives results of the rank that what follows takes",
	Long: `PyTorch exports squeeze(dim) as an If that squeezes where the size is 1 and else passes its operand on, and the recurrent layers
ask for the rank of their operand with another If. The ranks of the branches differ, and the operator behind them takes only one:

	x ── If(size == 1: Squeeze, else: x) ── Unsqueeze ── LSTM ──   becomes   x ── Squeeze ── Unsqueeze ── LSTM ──

With the other branch the model fails. So the results are the same bits wherever the model gives any; a run that would have failed
at the operator may fail elsewhere or give a result. Operators count that are computed whenever the If is: those of the same
graph on which its outputs depend.`,
	Rules: []passes.RuleDoc{{Name: "if-rank", Doc: "makes the condition a constant"}},
}, struct{}{}, run)

func run(c *passes.Context, m *ir.Model, _ struct{}) error {
	if !m.MayHave(ir.Op("If")) {
		return nil
	}
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for _, g := range m.Graphs() {
		if c.Err() != nil {
			return nil
		}
		var ifs []*ir.Node
		for n := range g.Nodes() {
			if n.Is("If") && undecided(f, n) {
				ifs = append(ifs, n)
			}
		}
		if len(ifs) > 0 {
			live := reached(g)
			for _, n := range ifs {
				if live[n] {
					decide(c, &ranker{facts: f, live: live}, n)
				}
			}
		}
	}
	return nil
}

// undecided reports whether the condition of n is to be found, and n has branches that can be read.
func undecided(f *facts.Facts, n *ir.Node) bool {
	if n.HasRefs() || n.Operand(0) == nil || f.Known(n.Operand(0)) != nil {
		return false
	}
	for _, name := range []string{"then_branch", "else_branch"} {
		if b := n.Attr(name).Graph(); b == nil || len(b.Outputs()) != n.NumResults() {
			return false
		}
	}
	return true
}

// reached is the set of the nodes of g on which its outputs depend.
func reached(g *ir.Graph) map[*ir.Node]bool {
	live := map[*ir.Node]bool{}
	need := func(v *ir.Value) {
		if v != nil && v.Node() != nil && v.Graph() == g {
			live[v.Node()] = true
		}
	}
	for _, v := range g.Return().Operands() {
		need(v)
	}
	for n := range g.Backward() {
		if !live[n] {
			continue
		}
		for _, v := range n.Operands() {
			need(v)
		}
		for _, s := range n.Subgraphs() {
			for _, v := range s.Captures() {
				need(v)
			}
		}
	}
	return live
}

func decide(c *passes.Context, r *ranker, n *ir.Node) {
	for i, v := range n.Results() {
		if v == nil || v.NumUses() == 0 {
			continue
		}
		r.budget = maxVisits
		need := r.required(v)
		if need == all {
			continue
		}
		then := r.possible(n.Attr("then_branch").Graph().Outputs()[i].Value()) & need
		other := r.possible(n.Attr("else_branch").Graph().Outputs()[i].Value()) & need
		if (then == 0) == (other == 0) {
			c.Remark(n, "if-rank", "both branches, or none, may give a result of the rank that is needed")
			continue
		}
		cond := []byte{0}
		if then != 0 {
			cond[0] = 1
		}
		c.Rewrite("if-rank", n, nil, func() {
			n.SetOperand(0, n.Graph().Const(ir.NewTensor(ir.Bool, []int64{}, cond)))
		})
		return
	}
}
