package toweights

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
)

// ahead plans and makes the move to what comes behind.
func (a *arithmetic) ahead(c *passes.Context) {
	if k := a.x.Node(); k != nil && k.Is("Mul", "Div") || !a.facts.SameShape(a.x, a.node.Result(0)) {
		return // the product may be the end of an activation or a normalization, which runtimes know as a whole
	}
	var way []*ir.Node
	v, f := a.node.Result(0), a.factor
	for {
		u, ok := v.OnlyUse()
		if !ok || u.Index != 0 || u.Node.IsReturn() || u.Node.Graph() != a.node.Graph() || u.Node.HasRefs() || u.Node.Op().Domain != "" || len(way) > far {
			if len(way) > 0 {
				c.Remark(a.node, ahead, errUses.Error())
			}
			return
		}
		n := u.Node
		if a.at(n) {
			a.moveAhead(c, way, n, f)
			return
		}
		var err error
		if f, err = a.behind(n, f); err != nil {
			c.Remark(a.node, ahead, err.Error())
			return
		}
		way = append(way, n)
		v = n.Result(0)
	}
}

// behind is the factor behind n, which is f before it.
func (a *arithmetic) behind(n *ir.Node, f factor) (factor, error) {
	from, ok := a.facts.Dims(n.Operand(0))
	to, ok2 := a.facts.Dims(n.Result(0))
	if !ok || !ok2 {
		return f, errShape
	}
	switch n.Op().Type {
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity":
		if g, ok := f.reshaped(from, to); ok {
			return g, nil
		}
		return f, errShape
	case "Transpose":
		if !permutes(n, len(from)) {
			return f, errShape
		}
		return f.moved(n, len(from), true), nil
	case "Pad":
		if !a.padded(n, f) {
			return f, errShape
		}
		return f, nil
	}
	return f, errWeights
}

// moveAhead does the arithmetic on operand 0 of n, after the nodes on the way.
func (a *arithmetic) moveAhead(c *passes.Context, way []*ir.Node, n *ir.Node, f factor) {
	if len(way) == 0 {
		return
	}
	v := n.Operand(0)
	dims, ok := a.facts.Dims(v)
	if !ok {
		c.Remark(a.node, ahead, errShape.Error())
		return
	}
	axis := len(dims) - 1
	if n.Is("Conv", "ConvTranspose") {
		axis = 1
	}
	if err := a.takes(n, false); err != nil {
		c.Remark(a.node, ahead, err.Error())
		return
	}
	if _, ok := f.on(axis); !ok {
		c.Remark(a.node, ahead, errShape.Error())
		return
	}
	t, err := f.constant(a.dtype, len(dims))
	if err != nil {
		c.Remark(a.node, ahead, err.Error())
		return
	}
	c.Rewrite(ahead, a.node, way, func() {
		x := a.x
		for _, k := range way {
			in := append([]*ir.Value{x}, k.Operands()[1:]...)
			x = remake(n, k, in, k.Result(0))
		}
		op := "Mul"
		if a.add {
			op = "Add"
		}
		g := n.Graph()
		z := g.New(n, ir.Op(op), []*ir.Value{x, g.NamedConst("", t)})
		z.SetName(a.node.Name())
		n.SetOperand(0, z.Result(0))
		for i := len(way) - 1; i >= 0; i-- {
			g.Erase(way[i])
		}
		g.Erase(a.node)
	})
}
