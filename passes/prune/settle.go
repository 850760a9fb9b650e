package prune

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// settle replaces integers that are computed and known, as sizes are, by constants: what is computed from a size that will change must not
// change with it.
func settle(c *passes.Context, m *ir.Model) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for _, n := range m.Main.NodeList() {
		if n.Dead() || n.Is("Constant") || n.NumResults() != 1 || n.Result(0) == nil || n.Result(0).NumUses() == 0 {
			continue
		}
		v := n.Result(0)
		t := f.Known(v)
		if t == nil || !t.DType().IsInt() || t.Len() > 64 {
			continue
		}
		c.Rewrite("size", n, nil, func() {
			v.ReplaceUses(m.Main.NamedConst(v.Name(), t))
			m.Main.Erase(n)
		})
	}
	return nil
}
