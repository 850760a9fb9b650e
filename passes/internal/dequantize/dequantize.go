// Package dequantize makes floats of the quantized weights of single layers, for passes that change weights.
package dequantize

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/passes"
)

// Rule is the rule that Operands reports its changes under.
const Rule = "dequantize"

// Operands makes constants of those operands of n behind the first that DequantizeLinear computes from constants, and returns how many there were.
func Operands(c *passes.Context, n *ir.Node) (count int) {
	for i := 1; i < n.NumOperands(); i++ {
		v := n.Operand(i)
		if v == nil || v.Node() == nil || !v.Node().Is("DequantizeLinear") || v.Const() != nil {
			continue
		}
		d := v.Node()
		t, err := floats(c, d)
		if err != nil {
			c.Remark(n, Rule, err.Error())
			continue
		}
		done := c.Rewrite(Rule, n, []*ir.Node{d}, func() {
			name := d.Operand(0).Name()
			if name != "" {
				name += "_dequantized"
			}
			n.SetOperand(i, n.Graph().NamedConst(name, t))
			if d.Used() {
				return
			}
			in := d.Operands()
			g := d.Graph()
			g.Erase(d)
			for _, v := range in {
				if v != nil && !v.Dead() && v.NumUses() == 0 && v.IsInitializer() {
					v.Graph().EraseConst(v)
				}
			}
		})
		if done {
			count++
		}
	}
	return count
}

// floats is what a DequantizeLinear of constants gives.
func floats(c *passes.Context, d *ir.Node) (*ir.Tensor, error) {
	in := make([]ir.Datum, d.NumOperands())
	for i, v := range d.Operands() {
		if v == nil {
			continue
		}
		if v.Const() == nil {
			return nil, errors.New("its quantized weights are computed")
		}
		in[i] = v.Const()
	}
	opset := d.Graph().Opset(d.Op().Domain)
	f := kernel.Lookup(d.Op(), opset)
	if f == nil {
		return nil, fmt.Errorf("there is no kernel for %s", d.Op())
	}
	out, err := f(kernel.NewCall(c.Context(), d.Op(), opset, d.Attr, in, 1))
	if err != nil {
		return nil, err
	}
	t, ok := out[0].(*ir.Tensor)
	if !ok {
		return nil, errors.New("its quantized weights are no tensor")
	}
	return t, nil
}
