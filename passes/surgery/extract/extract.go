// Package extract is the pass that keeps the part of a model between named values.
package extract

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/cut"
)

// Options of the pass.
type Options struct {
	Inputs  []string `opt:"inputs" doc:"values that become the inputs; none: the model's own, as far as they are needed"`
	Outputs []string `opt:"outputs" doc:"values that become the outputs; none: the model's own"`
}

// Pass keeps a part of the model.
var Pass = passes.Define(passes.Info{
	Name: "extract",
	Doc:  "keeps the part of the main graph between named values",
	Long: `Any value of the main graph can become an input or an output: an input, a result of a node, a constant. What the
outputs do not need is removed. Types of new inputs and outputs come from inference. Names with commas or brackets
stand in quotes: inputs=["a,b",c]. Training information is dropped.`,
	Example: "extract{inputs=[features] outputs=[scores]}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	p, err := cut.Plan(m, f.Type, o.Inputs, o.Outputs)
	if err != nil || p.Same() {
		return err
	}
	c.Rewrite("extract", nil, nil, func() {
		c.Border(p.Border())
		p.Apply()
	})
	return nil
}
