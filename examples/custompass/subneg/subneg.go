// Package subneg turns the difference to a negation into a sum.
package subneg

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass turns x - (-y) into x + y, which IEEE 754 gives the same bits, and so does two's complement.
var Pass = rewrite.Define(passes.Info{Name: "sub-neg", Doc: "turns the difference to a negation into a sum"}, &rewrite.Rule{
	Name: "sub-neg",
	Doc:  "turns x - (-y) into x + y",
	Match: rewrite.MustParse(`
		n: shared = Neg (y)
		z = Sub (x, n)`),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Add", []*ir.Value{m.Value("x"), m.Value("y")})}
	},
})
