// Command broken has a pass with a mistake in it, to show what onnxopt makes of that.
package main

import (
	"github.com/onnxopt/onnxopt"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

var pass = rewrite.Define(passes.Info{Name: "sub-neg", Doc: "is wrong about the difference to a negation"}, &rewrite.Rule{
	Name: "sub-neg",
	Doc:  "turns x - (-y) into x - y",
	Match: rewrite.MustParse(`
		n = Neg (y)
		z = Sub (x, n)`),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Sub", []*ir.Value{m.Value("x"), m.Value("y")})}
	},
})

func main() { onnxopt.Main(pass) }
