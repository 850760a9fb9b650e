package fuzz

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// siblings are operators that take each other's place without further ado.
var siblings = [][]string{
	{"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"}, {"Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Identity", "Erf", "Sqrt", "Exp", "Reciprocal"},
	{"ReduceMean", "ReduceMax", "ReduceProd", "ReduceL2"}, {"MaxPool", "AveragePool"}, {"And", "Or", "Xor"}, {"Equal", "Less", "Greater"},
	{"Reshape", "Expand", "Tile"}, {"Squeeze", "Unsqueeze"}, {"Concat", "Sum"}, {"GlobalAveragePool", "GlobalMaxPool"}, {"Conv", "ConvTranspose"},
}

// mutate makes one random edit of m, which may leave it invalid.
func (g *generator) mutate(m *ir.Model) {
	var nodes []*ir.Node
	for n := range m.Nodes() {
		if n.Op() != ir.Op("Constant") || g.odds(4) {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return
	}
	n := pick(g.random, nodes)
	switch g.IntN(12) {
	case 0, 1:
		g.mutateAttr(n)
	case 2:
		g.mutateOperand(m, n)
	case 3, 4, 5:
		g.mutateConst(m)
	case 6:
		if n.NumOperands() > 1 {
			a, b := n.Operand(0), n.Operand(1)
			n.SetOperand(0, b)
			n.SetOperand(1, a)
		}
	case 7:
		for _, list := range siblings {
			if slices.Contains(list, n.Op().Type) {
				n.SetOp(ir.Op(pick(g.random, list)))
				break
			}
		}
	case 8:
		g.mutateInput(m)
	case 9:
		g.mutateEdge(n)
	case 10:
		if v := n.Result(0); v != nil && n.Graph() == m.Main && !v.IsOutput() {
			if t := infer.Model(m).Type(v); t.IsTensor() {
				m.Main.AddOutput(g.name("also"), v, t.WithoutShapes())
			}
		}
	case 11:
		g.narrow(m)
	}
}

func (g *generator) mutateAttr(n *ir.Node) {
	attrs := n.Attrs()
	if s := ops.Of(n); s != nil && len(s.Attrs()) > 0 && (len(attrs) == 0 || g.odds(4)) {
		spec := &s.Attrs()[g.IntN(len(s.Attrs()))]
		x := &value{s: [bindings]ir.Datum{ir.TensorOf(make([]float32, 16), 1, 2, 4, 2)}}
		if a := g.attribute(s, spec, x); a != nil {
			n.SetAttr(a)
		}
		return
	}
	if len(attrs) == 0 {
		return
	}
	a := pick(g.random, attrs)
	if g.odds(6) {
		n.RemoveAttr(a.Name)
		return
	}
	if a.Ref != "" {
		return
	}
	switch a.Kind {
	case ir.AttrInt:
		n.SetAttr(ir.IntAttr(a.Name, pick(g.random, []int64{a.Int() + 1, a.Int() - 1, 0, -a.Int(), 1})))
	case ir.AttrFloat:
		n.SetAttr(ir.FloatAttr(a.Name, pick(g.random, []float32{a.Float() * 1.01, 0, -a.Float(), 1, 1e-30})))
	case ir.AttrInts:
		k := slices.Clone(a.Ints())
		if len(k) == 0 {
			return
		}
		i, j := g.IntN(len(k)), g.IntN(len(k))
		switch g.IntN(4) {
		case 0:
			k[i]++
		case 1:
			k[i]--
		case 2:
			k[i], k[j] = k[j], k[i]
		case 3:
			k = slices.Delete(k, i, i+1)
		}
		n.SetAttr(ir.IntsAttr(a.Name, k))
	case ir.AttrTensor:
		n.SetAttr(ir.TensorAttr(a.Name, g.altered(a.Tensor())))
	case ir.AttrString:
		if w := words[a.Name]; w != nil {
			n.SetAttr(ir.StringAttr(a.Name, pick(g.random, w)))
		}
	}
}

// altered is t with one element changed, or another form of it.
func (g *generator) altered(t *ir.Tensor) *ir.Tensor {
	shape := t.Shape()
	switch g.IntN(6) {
	case 0:
		if t.Len() == 1 {
			return t.Reshape(pick(g.random, [][]int64{{}, {1}, {1, 1}, {1, 1, 1, 1}}))
		}
	case 1:
		return t.Reshape(append([]int64{1}, shape...))
	case 2:
		if len(shape) > 0 && shape[len(shape)-1] == 1 {
			return t.Reshape(shape[:len(shape)-1])
		}
	case 3:
		if small(t) {
			return g.tensor(t.DType(), shape, g.wild)
		}
	}
	if t.Len() == 0 || t.DType() == ir.String || t.DType().Bits() < 8 || !small(t) {
		return t
	}
	b, err := t.Bytes()
	if err != nil {
		return t
	}
	one := g.tensor(t.DType(), []int64{1}, g.wild)
	if g.odds(3) {
		one = encode(g.random, t.DType(), []int64{1}, []float64{1}, []int64{1})
	}
	e, _ := one.Bytes()
	b = slices.Clone(b)
	copy(b[len(e)*g.IntN(int(t.Len())):], e)
	return ir.NewTensor(t.DType(), shape, b)
}

func (g *generator) mutateConst(m *ir.Model) {
	graphs := m.Graphs()
	at := pick(g.random, graphs)
	consts := at.Consts()
	if len(consts) == 0 {
		return
	}
	v := pick(g.random, consts)
	if at == m.Main && g.odds(5) && v.Const().DType() != ir.String && small(v.Const()) { // no longer a constant, or one that can be overridden
		w := m.Main.AddInput(g.name("was"), v.Const().Type())
		if g.odds(2) {
			w.SetDefault(v.Const())
		}
		v.ReplaceUses(w)
		at.EraseConst(v)
		return
	}
	w := at.NamedConst(v.Name(), g.altered(v.Const()))
	if g.odds(4) { // one of several uses
		uses := slices.Collect(v.Uses())
		if len(uses) > 1 {
			u := pick(g.random, uses)
			u.Node.SetOperand(u.Index, w)
			return
		}
	}
	v.ReplaceUses(w)
	at.EraseConst(v)
}

// mutateOperand makes an operand another value of the same type, or leaves it out.
func (g *generator) mutateOperand(m *ir.Model, n *ir.Node) {
	if n.NumOperands() == 0 {
		return
	}
	i := g.IntN(n.NumOperands())
	if p := paramOf(n, i); p != nil && p.Option == schema.Optional && g.odds(3) {
		n.SetOperand(i, nil)
		return
	}
	known := infer.Model(m)
	var fits []*ir.Value
	for _, s := range n.Graph().Inputs() {
		fits = append(fits, s.Value())
	}
	fits = append(fits, n.Graph().Consts()...)
	for o := range n.Graph().Nodes() {
		if o == n {
			break
		}
		fits = append(fits, o.Results()...)
	}
	want := known.DType(n.Operand(i))
	fits = slices.DeleteFunc(fits, func(v *ir.Value) bool { return v == nil || known.DType(v) != want })
	if len(fits) > 0 {
		n.SetOperand(i, pick(g.random, fits))
	}
}

func paramOf(n *ir.Node, i int) *schema.Param {
	if s := ops.Of(n); s != nil {
		return s.Input(i)
	}
	return nil
}

// mutateInput makes less known of an input's shape.
func (g *generator) mutateInput(m *ir.Model) {
	slots := m.Main.Inputs()
	if len(slots) == 0 {
		return
	}
	s := pick(g.random, slots)
	shape := slices.Clone(s.Type().TensorShape())
	if s.Value().Default() != nil || len(shape) == 0 {
		return
	}
	i := g.IntN(len(shape))
	switch g.IntN(4) {
	case 0:
		shape[i] = ir.UnknownDim()
	case 1:
		shape[i] = ir.Symbol(pick(g.random, []string{"N", "M", "B"}))
	case 2:
		shape[i] = ir.Static(g.between(1, 4))
	case 3:
		shape = nil
	}
	s.SetType(ir.TensorType(s.Type().DType(), shape))
}

// mutateEdge puts a node before an operand.
func (g *generator) mutateEdge(n *ir.Node) {
	if n.NumOperands() == 0 {
		return
	}
	i := g.IntN(n.NumOperands())
	v := n.Operand(i)
	if v == nil {
		return
	}
	typ := pick(g.random, []string{"Identity", "Neg", "Relu", "Transpose", "Abs", "Sigmoid"})
	n.SetOperand(i, n.Graph().New(n, ir.Op(typ), []*ir.Value{v}).Result(0))
}
