// Package transplace is the pass that moves transpositions to where they move the fewest bytes.
package transplace

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/internal/layout"
)

// Pass moves Transposes over what computes the same in any order of axes.
var Pass = passes.Define(passes.Info{
	Name: "place-transposes",
	Doc:  "moves transpositions to where they cancel or move fewer bytes",
	Long: `Models that were converted between layouts have islands of the other layout:

	x ── Transpose ── Mul ── Add ── Transpose ──   becomes   x ── Mul ── Add ──

From each Transpose the pass looks at what takes its result, and at what makes its operand: elementwise operators with constants or
with each other, Concat, Pad, Slice, Split, Quantize- and DequantizeLinear. Those compute in the other order of axes with which the
remaining Transposes move the fewest bytes, and are not more. Sums, and what needs its axes in a certain order, stay as they are.`,
	Rules: []passes.RuleDoc{{Name: "place", Doc: "moves the Transposes of a graph"}},
}, struct{}{}, run)

func run(c *passes.Context, m *ir.Model, _ struct{}) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for _, g := range m.Graphs() {
		l := layout.New(c.Context(), g, f)
		first := l.Settle()
		if first == nil {
			continue
		}
		c.Rewrite("place", first, nil, func() { err = l.Apply() })
		if err != nil {
			return err
		}
	}
	return nil
}
