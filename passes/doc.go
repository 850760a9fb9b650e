// Package passes is the framework: descriptors with typed options, pipelines in text, the context in which a pass runs,
// cached analyses, remarks and hooks.
//
// A pass is a constant descriptor:
//
//	var Pass = passes.Define(passes.Info{
//		Name: "identity",
//		Doc:  "removes Identity nodes",
//	}, Options{}, run)
//
//	func run(c *passes.Context, m *ir.Model, o Options) error {
//		for n := range m.Nodes() {
//			if n.Is("Identity") {
//				c.Rewrite("identity", n, nil, func() {
//					n.Result(0).ReplaceUses(n.Operand(0))
//					n.Graph().Erase(n)
//				})
//			}
//		}
//		return nil
//	}
//
// Every edit happens inside Context.Rewrite, the unit of selection (only=, except=, --skip), bisection, undo, remarks and
// origins. Nobody reports whether something changed: that is observed.
package passes
