// Package identity is the pass that removes Identity nodes.
package identity

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
)

// Options has no options.
type Options struct{}

// Pass removes Identity nodes, on tensors, sequences and optionals alike. One that only gives an output its name stays where the
// format needs it.
var Pass = passes.Define(passes.Info{
	Name: "identity",
	Doc:  "removes Identity nodes",
}, Options{}, run)

const rule = "identity"

func run(c *passes.Context, m *ir.Model, _ Options) error {
	for n := range m.Nodes() {
		if n.Is("Identity") && n.Operand(0) != nil && n.Result(0) != nil {
			remove(c, n)
		}
	}
	return nil
}

// remove moves the uses of n's result to its operand, outputs only where that saves a node.
func remove(c *passes.Context, n *ir.Node) {
	to, from := n.Operand(0), n.Result(0)
	switch {
	case glue.Cost(from, to) < 1:
		c.Rewrite(rule, n, nil, func() {
			glue.KeepType(from, to)
			from.ReplaceUses(to)
			n.Graph().Erase(n)
		})
	case hasInnerUse(from):
		c.Rewrite(rule, n, nil, func() {
			from.ReplaceUsesIf(to, func(u ir.Use) bool { return !u.Node.IsReturn() })
		})
	default:
		c.Remark(n, rule, "the output it names would need an Identity again")
	}
}

func hasInnerUse(v *ir.Value) bool {
	for u := range v.Uses() {
		if !u.Node.IsReturn() {
			return true
		}
	}
	return false
}
