package loops

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/known"
)

// maxRounds bounds the rounds that are written out, however small they are.
const maxRounds = 256

// unroll replaces a Loop by its rounds and reports whether it did.
func unroll(c *passes.Context, f *facts.Facts, n *ir.Node, body *ir.Graph, o Options) bool {
	rounds, ok := trips(f, n, body)
	if !ok || rounds < 1 {
		return false
	}
	if why := refuse(n, body, rounds, o); why != "" {
		c.Remark(n, "unroll", why)
		return false
	}
	return c.Rewrite("unroll", n, nil, func() { write(n, body, int(rounds)) })
}

// trips is how many rounds a Loop makes, if that is known.
func trips(f *facts.Facts, n *ir.Node, body *ir.Graph) (int64, bool) {
	if starts, known := known.Bool(f, n.Operand(1)); n.Operand(1) != nil && !(known && starts) {
		return 0, false
	}
	limit, limited := known.Int(f, n.Operand(0))
	if n.Operand(0) != nil && !limited {
		return 0, false
	}
	on := body.Outputs()[0].Value()
	for range body.NumNodes() {
		if on.Node() == nil || !on.Node().Is("Identity") || on.Node().Operand(0) == nil {
			break
		}
		on = on.Node().Operand(0)
	}
	goesOn, decided := known.Bool(f, on)
	switch {
	case on == body.Inputs()[1].Value() || decided && goesOn:
		return limit, limited
	case decided && limited:
		return min(limit, 1), true
	case decided:
		return 1, true
	}
	return 0, false
}

// refuse says why the rounds cannot or should not be written out.
func refuse(n *ir.Node, body *ir.Graph, rounds int64, o Options) string {
	states := n.NumOperands() - 2
	all, folded := size(body)
	collected := 0
	for i, v := range n.Results() {
		if v.NumUses() == 0 {
			continue
		}
		if i >= states {
			collected++
		} else if why := place(v, body.Outputs()[i+1].Value(), body); why != "" {
			return why
		}
	}
	if rounds > maxRounds {
		return fmt.Sprintf("it makes %d rounds", rounds)
	}
	after := int(rounds) * (all - folded + collected)
	if rounds > 1 {
		after += collected
	}
	if grows := after - all - 1; grows > o.Growth {
		return fmt.Sprintf("its %d rounds would be %d more nodes", rounds, grows)
	}
	for m := range body.Nodes() {
		if !ops.Deterministic(m) {
			return fmt.Sprintf("%s may give something else in each round", m)
		}
	}
	return ""
}

// place says why what the body returns as "to" cannot take the place of result v. What a node of the body makes is new each time.
func place(v, to *ir.Value, body *ir.Graph) string {
	switch {
	case !v.IsOutput():
		return ""
	case to.Node() == nil || to.Graph() != body:
		return "an output may need an Identity of what the body returns"
	}
	for u := range to.Uses() {
		if u.Node == body.Return() && body.Outputs()[u.Index].Value() == to && u.Index > 0 {
			if w := v.Node().Result(u.Index - 1); w != nil && w != v && w.IsOutput() && !glue.HasIdentity(v, to) {
				return "an output would need an Identity node, which this opset does not have for values of its type"
			}
		}
	}
	return ""
}

// size is the number of nodes of a body, nested ones included, and how many of them depend on constants and the number of the round
// alone, so that they are folded once the body is written out.
func size(body *ir.Graph) (all, folded int) {
	fixed := map[*ir.Value]bool{body.Inputs()[0].Value(): true, body.Inputs()[1].Value(): true}
	for n := range body.Nodes() {
		all++
		constant := len(n.Subgraphs()) == 0
		for _, v := range n.Operands() {
			constant = constant && (v == nil || v.Const() != nil || fixed[v])
		}
		if constant {
			folded++
			for _, v := range n.Results() {
				fixed[v] = true
			}
		}
		for _, s := range n.Subgraphs() {
			all += nested(s)
		}
	}
	return all, folded
}

func nested(g *ir.Graph) (nodes int) {
	for n := range g.Nodes() {
		nodes++
		for _, s := range n.Subgraphs() {
			nodes += nested(s)
		}
	}
	return nodes
}

// write puts the rounds in the place of n.
func write(n *ir.Node, body *ir.Graph, rounds int) {
	g := n.Graph()
	forgetNames(body)
	states := n.Operands()[2:]
	collected := make([][]*ir.Value, len(body.Outputs())-1-len(states))
	for i := range rounds {
		in := append(make([]*ir.Value, 2), states...)
		if reads(body, 0) {
			in[0] = g.Const(ir.ScalarOf(int64(i)))
		}
		if reads(body, 1) {
			in[1] = g.Const(ir.NewTensor(ir.Bool, []int64{}, []byte{1}))
		}
		out := body.CopyInto(g, n, in)
		states = out[1 : len(states)+1]
		for k, v := range out[len(states)+1:] {
			collected[k] = append(collected[k], v)
		}
	}
	for i, v := range n.Results() {
		if v.NumUses() == 0 {
			continue
		}
		to := (*ir.Value)(nil)
		if i < len(states) {
			to = states[i]
		} else {
			to = stacked(n, collected[i-len(states)])
		}
		glue.KeepType(v, to)
		v.ReplaceUses(to)
		glue.FreeName(to)
	}
	g.Erase(n)
}

// reads reports whether input i of a body is used for more than the decision to go on.
func reads(body *ir.Graph, i int) bool {
	for u := range body.Inputs()[i].Value().Uses() {
		if u.Node != body.Return() || u.Index != 0 {
			return true
		}
	}
	return false
}

// stacked makes the parts one tensor along a new first axis.
func stacked(n *ir.Node, parts []*ir.Value) *ir.Value {
	g := n.Graph()
	rows := make([]*ir.Value, len(parts))
	for i, p := range parts {
		if g.Opset("") >= 13 {
			rows[i] = g.New(n, ir.Op("Unsqueeze"), []*ir.Value{p, g.Const(ir.TensorOf([]int64{0}))}).Result(0)
		} else {
			rows[i] = g.New(n, ir.Op("Unsqueeze"), []*ir.Value{p}, ir.IntsAttr("axes", []int64{0})).Result(0)
		}
	}
	if len(rows) == 1 {
		return rows[0]
	}
	return g.New(n, ir.Op("Concat"), rows, ir.IntAttr("axis", 0)).Result(0)
}

// forgetNames takes names of dimensions out of what is recorded of values in g and graphs nested in it: in a loop a name may stand for
// another size in each round.
func forgetNames(g *ir.Graph) {
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			if v != nil && v.Type() != nil {
				v.SetType(v.Type().WithoutSymbols())
			}
		}
		for _, s := range n.Subgraphs() {
			forgetNames(s)
		}
	}
}
