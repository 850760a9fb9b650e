// Package broken holds passes that the harness has to find fault with.
package broken

import (
	"testing"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/passtest"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

func rule(match string, replace func(*rewrite.Builder, *rewrite.Match) []*ir.Value) *passes.Pass {
	return rewrite.Define(passes.Info{Name: "p", Doc: "a pass"}, &rewrite.Rule{Name: "p", Doc: "a rule", Match: rewrite.MustParse(match), Replace: replace})
}

func x(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value { return []*ir.Value{m.Value("x")} }

func TestWrongNumbers(t *testing.T) { passtest.Run(t, rule("y = Neg (x)", x)) }

func TestMinusZero(t *testing.T) { passtest.Run(t, rule("y = Add (x, 0)", x)) }

func TestNotIdempotent(t *testing.T) {
	passtest.Run(t, passes.Define(passes.Info{Name: "p", Doc: "a pass"}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			if n.Is("Relu") {
				c.Rewrite("p", n, nil, func() { n.SetOperand(0, n.Graph().New(n, ir.Op("Identity"), n.Operands()).Result(0)) })
			}
		}
		return nil
	}))
}

func TestEditOutsideRewrite(t *testing.T) {
	passtest.Run(t, passes.Define(passes.Info{Name: "p", Doc: "a pass"}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			if n.Is("Relu") {
				n.SetName("r")
			}
		}
		return nil
	}))
}

func TestDependsOnOrder(t *testing.T) {
	passtest.Run(t, passes.Define(passes.Info{Name: "p", Doc: "a pass", Promise: passes.Promise{Lossy: true}}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			c.Rewrite("p", n, nil, func() {
				for i := range n.NumOperands() {
					n.SetOperand(i, m.Main.Inputs()[0].Value())
				}
				if n.Is("Ceil") {
					n.SetOp(ir.Op("Floor"))
				}
			})
			return nil
		}
		return nil
	}))
}

func TestInvalidModel(t *testing.T) {
	passtest.Run(t, passes.Define(passes.Info{Name: "p", Doc: "a pass", Promise: passes.Promise{Lossy: true}}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			if n.Is("Relu") {
				c.Rewrite("p", n, nil, func() { n.AddOperand(n.Operand(0)) })
			}
		}
		return nil
	}))
}
