// Package outputs is the pass that corrects what graphs declare of their outputs.
package outputs

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Options has no options.
type Options struct{}

// Pass corrects declared shapes of outputs.
var Pass = passes.Define(passes.Info{
	Name: "output-shapes",
	Doc:  "corrects declared shapes of outputs that inference disproves",
	Long: `Exporters sometimes declare an output with another rank or size than it has. Runtimes merely warn, and the official checker does not
notice as long as it cannot infer the shape; once shape arithmetic is folded it can, and refuses the model.`,
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, _ Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for _, g := range m.Graphs() {
		for _, s := range g.Outputs() {
			v := s.Value()
			was, is := s.Type(), f.Type(v)
			if !was.IsTensor() || !is.IsTensor() || was.Elem != is.Elem || is.Shape == nil {
				continue
			}
			if _, ok := was.Merge(is); !ok {
				c.Rewrite("output-shapes", v.Node(), nil, func() { s.SetType(ir.TensorType(is.Elem, corrected(was.Shape, is.Shape))) })
			}
		}
	}
	return nil
}

// corrected is what is proven, and what was declared of dimensions that it leaves open, where the rank is right.
func corrected(was, is ir.Shape) ir.Shape {
	r := make(ir.Shape, len(is))
	for i, d := range is {
		switch {
		case d.IsStatic():
			r[i] = ir.Static(d.Size)
		case len(was) == len(is):
			r[i] = was[i]
		default:
			r[i] = ir.UnknownDim()
		}
	}
	return r
}
