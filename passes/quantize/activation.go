package quantize

import (
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// activationOf is the function that all readers of a group's tensor compute of it: x times a sigmoid of some kind (swish, hard swish), which
// is flat where x is far below zero. A range that covers all of that would waste half of its steps on values that become zero. nil where
// there is none.
func (p *plan) activationOf(g *group) func(float64) float64 {
	if len(g.sites) != 1 {
		return nil
	}
	v := g.sites[0].value
	var gate *ir.Node
	for use := range v.Uses() {
		if use.Node.Is("HardSigmoid", "Sigmoid") && (gate == nil || gate == use.Node) {
			gate = use.Node
		} else if !use.Node.Is("Mul", "HardSwish") {
			return nil
		}
	}
	if gate == nil {
		if use, ok := v.OnlyUse(); ok && use.Node.Is("HardSwish") {
			return func(x float64) float64 { return x * hardSigmoid(x, 1.0/6, 0.5) }
		}
		return nil
	}
	for use := range v.Uses() {
		if use.Node != gate && (!use.Node.Is("Mul") || use.Node.Operand(1-use.Index) != gate.Result(0)) {
			return nil
		}
	}
	if use, ok := gate.Result(0).OnlyUse(); !ok || !use.Node.Is("Mul") || use.Node.Operand(1-use.Index) != v {
		return nil
	}
	if gate.Is("Sigmoid") {
		return func(x float64) float64 { return x / (1 + math.Exp(-x)) }
	}
	alpha, beta := float64(gate.Float("alpha", 0.2)), float64(gate.Float("beta", 0.5))
	return func(x float64) float64 { return x * hardSigmoid(x, alpha, beta) }
}

func hardSigmoid(x, alpha, beta float64) float64 { return math.Min(math.Max(alpha*x+beta, 0), 1) }
