// Package slices is the pass that merges chains of Slice and of Concat.
package slices

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/rewrite"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
)

// Options has no options.
type Options struct{}

// Pass merges a Slice of a Slice along other axes, and a Concat of results of Concat along the same axis.
var Pass = passes.Define(pairs.Describe(passes.Info{
	Name: "slices",
	Doc:  "merges chains of Slice and of Concat",
	Rules: []passes.RuleDoc{
		{Name: rejoined, Doc: "removes a Concat that puts the parts of one Split together again"},
		{Name: nested, Doc: "merges a Concat with the Concat nodes whose results it takes"},
	},
}), Options{}, run)

const (
	nested   = "concat-nested"
	rejoined = "concat-of-split"
)

var pairs = rewrite.New(rules()...)

func run(c *passes.Context, m *ir.Model, _ Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(slices.Collect(m.Nodes())) {
		if !n.Dead() && n.Is("Concat") {
			flatten(c, f, n)
			if !n.Dead() {
				rejoin(c, f, n)
			}
		}
	}
	return pairs.Apply(c, m)
}

// flatten gives n the operands of those Concat nodes that only n uses, and of those that only these use. Users come before what they
// use, so a whole tree is merged at once.
func flatten(c *passes.Context, f *facts.Facts, n *ir.Node) {
	var in []*ir.Value
	var inner []*ir.Node
	todo := n.Operands() // the next one last
	slices.Reverse(todo)
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		k := v.Node()
		switch {
		case k == nil || !k.Is("Concat") || k.Graph() != n.Graph() || v.NumUses() != 1:
			in = append(in, v)
		case !sameAxis(f, k, n):
			c.Remark(n, nested, "the axes differ")
			in = append(in, v)
		default:
			inner = append(inner, k)
			operands := k.Operands()
			slices.Reverse(operands)
			todo = append(todo, operands...)
		}
	}
	if len(inner) > 0 {
		c.Rewrite(nested, n, inner, func() { merge(n, inner, in) })
	}
}

// merge replaces n and the Concat nodes inside it, users first, by one over the operands in.
func merge(n *ir.Node, inner []*ir.Node, in []*ir.Value) {
	g := n.Graph()
	k := g.New(n, n.Op(), in, n.Attrs()...)
	k.SetName(n.Name())
	k.SetMeta(n.Meta())
	n.Result(0).ReplaceUses(k.Result(0))
	g.Erase(n)
	for _, k := range inner {
		g.Erase(k)
	}
}

// sameAxis reports whether two Concat nodes work along one axis. Their results have the same rank.
func sameAxis(f *facts.Facts, k, n *ir.Node) bool {
	a, b := ops.Int(k, "axis"), ops.Int(n, "axis")
	if a == b {
		return true
	}
	rank := int64(len(f.Shape(n.Result(0))))
	return rank > 0 && (a-b == rank || b-a == rank)
}

// rejoin replaces a Concat of all results of a Split, in their order and along its axis, by what was split.
func rejoin(c *passes.Context, f *facts.Facts, n *ir.Node) {
	parts := n.Operands()
	if len(parts) == 0 || parts[0].Node() == nil {
		return
	}
	k := parts[0].Node()
	if !k.Is("Split") || k.HasRefs() || k.Graph() != n.Graph() || !slices.Equal(k.Results(), parts) {
		return
	}
	x, z := k.Operand(0), n.Result(0)
	if !sameAxis(f, k, n) {
		c.Remark(n, rejoined, "the axes differ")
		return
	}
	if why := glue.Refuse(z, x, 1); why != "" {
		c.Remark(n, rejoined, why)
		return
	}
	c.Rewrite(rejoined, n, nil, func() {
		z.ReplaceUses(x)
		glue.KeepType(z, x)
		g := n.Graph()
		g.Erase(n)
		if !k.Used() {
			g.Erase(k)
		}
	})
}
