// Package precision is the pass that stores and computes floats in another width.
package precision

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// Options of the pass.
type Options struct {
	To          string      `opt:"to" enum:"float16|bfloat16|float32" doc:"the type of floats in the result"`
	KeepIO      bool        `opt:"keep-io" doc:"inputs and outputs keep their types, by a Cast at the border; not inputs with a default, which are weights"`
	Block       []string    `opt:"block" doc:"nodes that keep their type: names, globs, operator types"`
	Depth       int64       `opt:"depth" doc:"number of elements from which a sum stays in float32; 0: 2048 for float16, 256 for bfloat16, where a sum of equal numbers stops growing"`
	Calib       passes.Data `opt:"calib" doc:"data set on which ranges are measured; otherwise that of --calib, and without either they are guessed"`
	WeightsOnly bool        `opt:"weights-only" doc:"only constants change their type; everything is computed as before, behind a Cast"`
}

// Pass converts between float32 and the 16-bit floats.
var Pass = passes.Define(passes.Info{
	Name: "precision",
	Doc:  "converts the floats of a model to float16, bfloat16 or float32",
	Long: `Constants and nodes change their type, subgraphs and functions included, with as few casts as that takes: a node between two that keep
their type keeps it, too. A node keeps float32 where the operator has no such version in the opset, where a constant does not fit
the type's range or precision, where a sum is long (depth=), and where a result overflows or vanishes: on calibration data (--calib) if there
are some, else where that is likely, as for powers, exponentials and squares. Scales of QuantizeLinear and DequantizeLinear stay float32, and what is between them. Weights of nodes that have no
narrow version are stored narrow, with a Cast before them.

A result that would overflow where it comes back to 16 bits, such as an attention mask of -3e38, is clipped first. bfloat16 has the
range of float32, so nothing overflows, but few operators have it before opset 22, and ONNX Runtime's CPU has none of them:
weights-only=true makes a model that it runs.

to=float32 makes a float model of one in 16 bits.`,
	Promise: passes.Promise{Lossy: true},
	Rules: []passes.RuleDoc{
		{Name: rule, Doc: "converts everything that can be converted, in one step, because a model half converted is not valid", Promise: passes.Promise{Lossy: true}},
	},
	Example: "precision{to=float16}",
}, Options{To: "float16", KeepIO: true}, run)

const rule = "convert"

func run(c *passes.Context, m *ir.Model, o Options) error {
	p := &planner{c: c, m: m, o: o, fits: map[*ir.Tensor]error{}, kept: map[*ir.Node]reason{}}
	switch o.To {
	case "float16":
		p.to, p.depth = ir.Float16, 1<<11
	case "bfloat16":
		p.to, p.depth = ir.BFloat16, 1<<8
	default:
		p.to = ir.Float32
	}
	if o.Depth < 0 {
		return fmt.Errorf("depth=%d is negative", o.Depth)
	}
	if o.Depth > 0 {
		p.depth = o.Depth
	}
	for _, g := range m.Graphs() {
		if v := g.Opset(""); v != 0 && v < 6 {
			return fmt.Errorf("%s uses opset %d, whose Cast names types by text: run opset{to=13} first", g, v)
		} else if v != 0 && v < 13 && p.to == ir.BFloat16 {
			return fmt.Errorf("%s uses opset %d, and bfloat16 came with 13: run opset{to=13} first", g, v)
		}
	}
	if !c.Enabled(rule, nil) {
		return nil
	}
	if err := p.measure(); err != nil {
		return err
	}
	if c.Err() != nil {
		return nil
	}
	if err := p.plan(); err != nil {
		return err
	}
	if c.Err() != nil || !p.changes() {
		return nil
	}
	p.remarks()
	var err error
	c.Rewrite(rule, nil, nil, func() { err = p.apply() })
	return err
}

// remarks says why nodes keep their type.
func (p *planner) remarks() {
	for n := range p.m.Nodes() {
		if r, ok := p.kept[n]; ok && r.why != "" && p.touches(n) {
			p.c.Remark(n, rule, r.why)
		}
	}
}

// touches reports whether an operand or result of n is a float that the pass would convert.
func (p *planner) touches(n *ir.Node) bool {
	for _, v := range n.Operands() {
		if p.isFrom(v) {
			return true
		}
	}
	for _, v := range n.Results() {
		if p.isFrom(v) {
			return true
		}
	}
	return false
}

var errBlocked = errors.New("the user blocks it")
