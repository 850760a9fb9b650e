// Package outside is a pass in a module of its own, as users write it.
package outside

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass removes pairs of negations.
var Pass = rewrite.Define(passes.Info{Name: "double-neg", Doc: "removes pairs of negations"}, &rewrite.Rule{
	Name: "double-neg",
	Doc:  "removes a negation of a negation",
	Match: rewrite.MustParse(`
		y: shared = Neg (x)
		z = Neg (y)`),
	Replace: func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{m.Value("x")}
	},
})
