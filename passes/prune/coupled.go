package prune

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/internal/coupling"
)

// Coupled lists the layers of m whose channels, heads or neurons have to go together, as the pass would find them: those that add to one
// residual sum, for one. Layers that it would leave alone are in no list. A layer may be in several.
func Coupled(c *passes.Context, m *ir.Model) ([][]*ir.Node, error) {
	known, err := facts.Of(c)
	if err != nil {
		return nil, err
	}
	var r [][]*ir.Node
	for _, f := range families(c, coupling.New(m, known), 8) {
		r = append(r, f.made)
	}
	return r, nil
}
