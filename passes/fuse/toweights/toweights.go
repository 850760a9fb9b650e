// Package toweights moves multiplications by and additions of constants to the weights that can take them in.
package toweights

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Pass moves Mul, Div, Add and Sub with a number, or one for each place of an axis, over what only moves elements.
var Pass = passes.Define(passes.Info{
	Name: "to-weights",
	Doc:  "moves arithmetic with constants over moves of data to the weights or bias that take it in",
	Long: `A factor does not stand beside the product that could take it in when elements are moved between them:

	x ── MatMul ── Add ── Reshape ── Transpose ── Mul ──   becomes   x ── MatMul ── Mul ── Add ── Reshape ── Transpose ──

The passes gemm-mul-add and conv-mul-add fold it then. It is moved only where one of them will.`,
	Promise: tolerance,
	Rules: []passes.RuleDoc{
		{Name: back, Doc: "moves arithmetic to the product or convolution before it, over Reshape, Transpose, Concat, Pad and Split", Promise: tolerance},
		{Name: ahead, Doc: "moves arithmetic to the product or convolution behind it, over Reshape, Transpose and Pad", Promise: tolerance},
	},
}, struct{}{}, run)

var tolerance = passes.Promise{RelTol: 1e-4}

const (
	back  = "back"
	ahead = "ahead"
)

func run(c *passes.Context, m *ir.Model, _ struct{}) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	for n := range m.Nodes() {
		if n.Dead() || !n.Is("Mul", "Div", "Add", "Sub") || n.Graph().Opset("") < 7 {
			continue
		}
		a, err := read(f, n)
		if err != nil {
			return err
		}
		if a != nil && !a.back(c) {
			a.ahead(c)
		}
	}
	return nil
}

// arithmetic is x*factor or x+factor, of the shape of x.
type arithmetic struct {
	facts  *facts.Facts
	node   *ir.Node
	x      *ir.Value
	add    bool
	dtype  ir.DType
	factor factor
	seen   map[*ir.Node]bool // planned so far
}

// read reads what n does to its operand that is no constant, nil if that is nothing that could be moved.
func read(f *facts.Facts, n *ir.Node) (*arithmetic, error) {
	k := 1
	if n.Operand(0).Const() != nil && n.Is("Mul", "Add") {
		k = 0
	}
	c, x := n.Operand(k).Const(), n.Operand(1-k)
	if c == nil || x.Const() != nil || !weights.Supported(c.DType()) || c.Len() < 1 || c.Len() > longest || !near(n, x) {
		return nil, nil
	}
	dims, ok := f.Dims(x)
	if !ok || c.Rank() > len(dims) || c.Len() > 1 && !f.SameShape(x, n.Result(0)) {
		return nil, nil
	}
	v, err := weights.Floats(c)
	if err != nil {
		return nil, err
	}
	a := &arithmetic{facts: f, node: n, x: x, dtype: c.DType(), add: n.Is("Add", "Sub"), seen: map[*ir.Node]bool{}}
	axis := -1
	for i, d := range c.Shape() {
		if d == 1 {
			continue
		}
		if axis >= 0 {
			return nil, nil // a number for each place of several axes
		}
		axis = i + len(dims) - c.Rank()
	}
	each := make([]float64, len(v))
	for i, x := range v {
		switch n.Op().Type {
		case "Div":
			x = 1 / x
		case "Sub":
			x = -x
		}
		each[i] = x
	}
	if a.factor, ok = along(each, axis, dims); !ok {
		return nil, nil
	}
	return a, nil
}

// near reports whether a move of elements is beside n, without looking further: most arithmetic has none.
func near(n *ir.Node, x *ir.Value) bool {
	if k := x.Node(); k != nil && k.Is("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Concat", "Pad", "Split", "Add", "Sub") {
		return true
	}
	u, ok := n.Result(0).OnlyUse()
	return ok && u.Node.Is("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Pad")
}

var (
	errUses    = errors.New("a value on the way has other uses")
	errWeights = errors.New("nothing on the way has weights of its own to take it in")
	errShape   = errors.New("it cannot be followed through the shapes on the way")
	errFar     = errors.New("the way is too long")
)

// takes reports whether the weights of n, a product or convolution, can take in arithmetic on its result, or on its operand 0.
func (a *arithmetic) takes(n *ir.Node, result bool) error {
	w := n.Operand(1)
	t := w.Const()
	switch {
	case t == nil || w.NumUses() != 1 || t.DType() != a.dtype || t.Len() == 0:
		return errWeights
	case n.Is("MatMul", "Gemm") && t.Rank() != 2 || n.Is("Conv", "ConvTranspose") && t.Rank() < 3:
		return errWeights
	case n.Operand(2) != nil && n.Operand(2).Const() == nil && (result || a.add):
		return errors.New("the bias is no constant")
	case n.Is("Gemm") && (n.Operand(2) != nil && n.Float("beta", 1) != 1 || !result && n.Int("transA", 0) != 0):
		return errors.New("the Gemm has a factor of its own, or a transposed operand")
	case a.add && n.Is("MatMul") || a.add && !result && (!n.Is("Conv") || pads(n)):
		return fmt.Errorf("%s cannot take in what is added", n)
	}
	if b := n.Operand(2); b != nil && n.Is("Gemm") && result {
		if s := b.Const().Shape(); len(s) > 2 || len(s) == 2 && s[0] != 1 {
			return errors.New("the bias has several rows")
		}
	}
	return nil
}

// pads reports whether a Conv may pad.
func pads(n *ir.Node) bool {
	for _, p := range n.Ints("pads") {
		if p != 0 {
			return true
		}
	}
	auto := n.Str("auto_pad", "NOTSET")
	return auto != "NOTSET" && auto != "VALID"
}
