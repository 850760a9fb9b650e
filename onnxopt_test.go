package onnxopt_test

import (
	"context"
	"fmt"
	"log"

	"github.com/onnxopt/onnxopt"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/passes"
)

// model computes the square of x twice, and adds the results.
const model = `<ir_version: 8, opset_import: ["" : 18]>
g (float[4] x) => (float[4] y)
{
   a = Mul(x, x)
   b = Mul(x, x)
   y = Add(a, b)
}`

func ExampleOptimize() {
	m, err := text.Parse([]byte(model))
	if err != nil {
		log.Fatal(err)
	}
	res, err := onnxopt.Optimize(context.Background(), m, onnxopt.Options{Pipeline: "cse"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Main.NumNodes(), "nodes,", res.Verification)
	// Output: 2 nodes, verified on 1 set of inputs, the same bits
}

// A pass of one's own: what it promises is held against it.
func ExampleOptimize_pass() {
	double := passes.Define(passes.Info{
		Name: "double",
		Doc:  "turns x + x into x * 2",
	}, struct{}{}, func(c *passes.Context, m *ir.Model, _ struct{}) error {
		for n := range m.Nodes() {
			if !n.Is("Add") || n.Operand(0) != n.Operand(1) {
				continue
			}
			c.Rewrite("double", n, nil, func() {
				two := n.Graph().Const(ir.ScalarOf[float32](2))
				n.SetOperand(1, two)
				n.SetOp(ir.Op("Mul"))
			})
		}
		return nil
	})
	m, err := text.Parse([]byte(model))
	if err != nil {
		log.Fatal(err)
	}
	res, err := onnxopt.Optimize(context.Background(), m, onnxopt.Options{
		Pipeline: "cse,double", Passes: []*passes.Pass{double}, Verify: onnxopt.Strict,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Report.Rewrites, "rewrites,", res.Verification)
	// Output: 2 rewrites, verified on 1 set of inputs, the same bits
}
