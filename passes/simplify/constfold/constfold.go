// Package constfold is constant folding.
package constfold

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/glue"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/known"
)

// Options are the options of constfold.
type Options struct {
	MaxGrowth  passes.Size `opt:"max-growth" doc:"a node whose results take more bytes than this beyond the operands that they make superfluous is not folded"`
	MaxSize    passes.Size `opt:"max-size" doc:"a node with more bytes of operands or results is not folded"`
	Exact      bool        `opt:"exact" doc:"folds data movement, shapes, integers, casts, and + - * / sqrt of floats only"`
	Dequantize bool        `opt:"dequantize" doc:"folds DequantizeLinear, too, which turns quantized weights into floats"`
}

// Promise implements passes.Promiser.
func (o Options) Promise() passes.Promise { return rounding.Unless(o.Exact) }

// rounding is what a float operator of another runtime may differ by from the portable kernels that fold.
var rounding = passes.Promise{RelTol: 1e-5}

// Pass evaluates what does not depend on the inputs. A whole chain folds at once. Results take the names of the values whose place
// they take. Operands that are left without a use stay for dce.
var Pass = passes.Define(passes.Info{
	Name: "constfold",
	After: []passes.Order{{
		Pass:   "freeze-defaults",
		Reason: "that pass knows an exporter's habit by there being no constants yet",
	}},
	Doc: "replaces values that do not depend on the inputs by constants",
	Long: `Constants are initializers and Constant nodes. An input with a default is none, because a caller may override it. Random and
opaque operators, calls of functions, nodes with subgraphs and nodes whose attributes refer to a function's are left alone. A
size becomes a constant only where inference proves it: no dynamic dimension is frozen.`,
	Promise: rounding,
	Rules: []passes.RuleDoc{
		{Name: "fold", Doc: "evaluates a node whose operands are constants", Promise: rounding},
		{Name: "fold-shape", Doc: "replaces integers that inference knows, such as sizes of static dimensions"},
	},
	Example: "constfold{max-growth=64k exact=true}",
}, Options{MaxGrowth: 1 << 20, MaxSize: 256 << 20}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	known, err := facts.Of(c)
	if err != nil {
		return err
	}
	f := &folder{c: c, o: o, facts: known}
	for n := range m.Nodes() {
		if c.Err() != nil {
			return nil
		}
		if n.Used() && n.Op() != ir.Op("Constant") && ops.Of(n) != nil {
			f.node(n)
		}
	}
	return nil
}

type folder struct {
	c     *passes.Context
	o     Options
	facts *facts.Facts
}

// node folds n by evaluation or, if its operands are not constants, by what inference knows of its results.
func (f *folder) node(n *ir.Node) {
	if !f.foldable(n) {
		f.inferred(n)
		return
	}
	if !f.c.Enabled("fold", n) {
		return
	}
	results, err := f.evaluate(n)
	if err != nil {
		f.c.Remark(n, "fold", err.Error())
		return
	}
	f.c.Rewrite("fold", n, nil, func() {
		for i, t := range results {
			if t != nil {
				replace(n.Result(i), t)
			}
		}
		n.Graph().Erase(n)
	})
}

// replace lets a constant take the place of v, and its name.
func replace(v *ir.Value, t *ir.Tensor) {
	w := v.Graph().NamedConst(v.Name(), t)
	v.ReplaceUses(w)
	glue.FreeName(w)
}

// foldable reports whether n may be evaluated at all.
func (f *folder) foldable(n *ir.Node) bool {
	if n.HasRefs() || len(n.Subgraphs()) > 0 || n.NumOperands() == 0 || !ops.Deterministic(n) {
		return false
	}
	if ops.Has(n, ops.Quantization) && !f.o.Dequantize && !(n.Is("QuantizeLinear") && shrinks(n)) || spells(n) {
		return false
	}
	for _, v := range n.Operands() {
		if v != nil && v.Const() == nil {
			return false
		}
	}
	return !f.o.Exact || f.exact(n)
}

// shrinks reports whether what n quantizes, a constant, has more bytes than the result: weights may as well be quantized now. All runtimes divide
// and round to even alike.
func shrinks(n *ir.Node) bool {
	x := n.Operand(0)
	return x != nil && x.Const() != nil && x.Const().DType() == ir.Float32
}

// inferred replaces those results of n whose elements inference knows. Only integers are known that way, so this is exact.
func (f *folder) inferred(n *ir.Node) {
	for _, v := range n.Results() {
		if v == nil || v.NumUses() == 0 {
			continue
		}
		if t := known.Integers(f.facts, v); t != nil && t.ByteLen() <= int64(f.o.MaxGrowth) {
			f.c.Rewrite("fold-shape", n, nil, func() {
				replace(v, t)
				if !n.Used() {
					n.Graph().Erase(n)
				}
			})
		}
	}
}
