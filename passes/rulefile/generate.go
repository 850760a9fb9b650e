package rulefile

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// generator makes models that match a pattern.
type generator struct {
	rule *Rule
	rng  *rand.Rand
}

// shapes are those that captured values may have, by no means large.
func shapes() [][]int64 {
	return [][]int64{{2, 3}, {4}, {}, {1}, {3}, {3, 3}, {1, 3}, {2, 1}, {2, 3, 3}, {2, 3, 4}, {1, 2, 4, 4}, {2, 2, 3, 3}, {2}, {0, 3}, {1, 1, 1, 1}}
}

// model is a model for a trial, nil if it came out invalid. Samples of the rule are used first, then in turn with what is chosen.
func (g *generator) model(trial int) *ir.Model {
	given := sample{}
	if n := len(g.rule.samples); n > 0 {
		given = g.rule.samples[trial%n]
	}
	m := ir.NewModel(8, []int64{17, 13, 21}[trial%3])
	elem := []ir.DType{ir.Float32, ir.Float32, ir.Float32, ir.Int64, ir.Float64, ir.Int32, ir.Bool}[g.rng.IntN(7)]
	shape := shapes()[g.rng.IntN(len(shapes()))]
	mixed := g.rng.IntN(2) == 0 // each capture has a shape of its own
	values := map[string][]*ir.Value{}
	for _, c := range g.rule.shape.Captures {
		values[c.Name] = g.capture(m, c, given, elem, shape, mixed)
	}
	var last []*ir.Value
	attrs := map[string]*ir.Attr{}
	for _, n := range g.rule.shape.Nodes {
		for name, v := range g.node(m, n, values, elem, given, attrs) {
			values[name] = []*ir.Value{v}
		}
	}
	for _, name := range g.rule.shape.Replaced {
		last = append(last, values[name]...)
		for _, v := range values[name] {
			m.Main.AddOutput("out_"+name, v, nil)
		}
	}
	if len(last) == 0 || !valid(m) {
		return nil
	}
	return m
}

// capture makes an input or a constant.
func (g *generator) capture(m *ir.Model, c rewrite.PatternCapture, given sample, elem ir.DType, shape []int64, mixed bool) []*ir.Value {
	t := given.types[c.Name]
	if t == nil {
		if c.Optional && g.rng.IntN(2) == 0 {
			return []*ir.Value{nil}
		}
		d, s := elem, shape
		if mixed {
			s = shapes()[g.rng.IntN(len(shapes()))]
		}
		if c.Scalar {
			s = [][]int64{{}, {1}}[g.rng.IntN(2)]
		}
		if c.Constant && g.rng.IntN(4) == 0 {
			d = ir.Int64 // axes, shapes, pads
		}
		t = ir.TensorType(d, ir.StaticShape(s...))
	}
	n := 1
	if c.Variadic {
		n = 1 + g.rng.IntN(3)
	}
	var r []*ir.Value
	for range n {
		if !c.Constant {
			name := c.Name
			if len(r) > 0 {
				name += string(rune('1' + len(r)))
			}
			r = append(r, m.Main.AddInput(name, t))
			continue
		}
		dims, _ := t.Shape.Ints()
		fill, stated := given.fill[c.Name]
		r = append(r, m.Main.NamedConst(c.Name, g.tensor(t.Elem, dims, fill, stated)))
	}
	return r
}

// tensor is a constant of small numbers, or filled with one.
func (g *generator) tensor(d ir.DType, dims []int64, fill float64, stated bool) *ir.Tensor {
	n := int(max(ir.NumElements(dims), 0))
	next := func() float64 {
		if stated {
			return fill
		}
		return float64(g.rng.IntN(9)-3) / []float64{1, 2}[g.rng.IntN(2)]
	}
	switch d {
	case ir.Float32:
		return ir.NewTensor(d, dims, ir.AsBytes(numbers[float32](n, next)))
	case ir.Float64:
		return ir.NewTensor(d, dims, ir.AsBytes(numbers[float64](n, next)))
	case ir.Int64:
		return ir.NewTensor(d, dims, ir.AsBytes(numbers[int64](n, next)))
	case ir.Int32:
		return ir.NewTensor(d, dims, ir.AsBytes(numbers[int32](n, next)))
	case ir.Bool:
		b := make([]byte, n)
		for i := range b {
			if next() > 0 {
				b[i] = 1
			}
		}
		return ir.NewTensor(d, dims, b)
	}
	return ir.NewTensor(d, dims, make([]byte, max(d.ByteLen(int64(n)), 0)))
}

func numbers[T float32 | float64 | int64 | int32](n int, next func() float64) []T {
	r := make([]T, n)
	for i := range r {
		r[i] = T(next())
	}
	return r
}

// node makes a node of the pattern and returns its results by name.
func (g *generator) node(m *ir.Model, n rewrite.PatternNode, values map[string][]*ir.Value, elem ir.DType, given sample, bound map[string]*ir.Attr) map[string]*ir.Value {
	op := n.Ops[g.rng.IntN(len(n.Ops))]
	if op.Domain != "" && m.Opset(op.Domain) == 0 {
		m.SetOpset(op.Domain, 1)
	}
	var in []*ir.Value
	for _, o := range n.Operands {
		switch {
		case o.Number != nil:
			in = append(in, m.Main.Const(g.tensor(elem, []int64{}, *o.Number, true)))
		case o.Name == "":
			in = append(in, nil)
		default:
			in = append(in, values[o.Name]...)
		}
	}
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	var attrs []*ir.Attr
	for _, a := range n.Attrs {
		x := a.Value
		if a.Capture != "" {
			if _, done := bound[a.Capture]; !done {
				bound[a.Capture] = g.attr(op, a, given)
			}
			x = bound[a.Capture]
		}
		if x != nil {
			own := *x
			own.Name = a.Name
			attrs = append(attrs, &own)
		}
	}
	attrs = append(attrs, g.required(op, n)...)
	made := m.Main.NewN(nil, op, in, max(len(n.Results), 1), attrs...)
	r := map[string]*ir.Value{}
	for i, name := range n.Results {
		if name != "" {
			r[name] = made.Result(i)
			continue
		}
		made.OmitResult(i)
	}
	return r
}

// attr chooses a captured attribute: nil is the default.
func (g *generator) attr(op ir.OpID, a rewrite.PatternAttr, given sample) *ir.Attr {
	if x := given.attrs[a.Capture]; x != nil {
		return x
	}
	spec := schema.Lookup(op, math.MaxInt32).Attr(a.Name)
	if spec == nil || !spec.Required && g.rng.IntN(3) == 0 {
		return nil
	}
	return g.value(spec)
}

// required are attributes that the pattern does not mention and the operator needs.
func (g *generator) required(op ir.OpID, n rewrite.PatternNode) (r []*ir.Attr) {
	s := schema.Lookup(op, math.MaxInt32)
	if s == nil {
		return nil
	}
	for i := range s.Attrs() {
		spec := &s.Attrs()[i]
		mentioned := slices.ContainsFunc(n.Attrs, func(a rewrite.PatternAttr) bool { return a.Name == spec.Name })
		if spec.Required && !mentioned {
			if x := g.value(spec); x != nil {
				r = append(r, x)
			}
		}
	}
	return r
}

// value is one of the kind that the schema states; for types of elements, as Cast takes them, a common one.
func (g *generator) value(spec *schema.AttrSpec) *ir.Attr {
	switch spec.Kind {
	case ir.AttrInt:
		if spec.Name == "to" || spec.Name == "dtype" {
			return ir.IntAttr(spec.Name, []int64{1, 7, 6, 11, 9}[g.rng.IntN(5)])
		}
		return ir.IntAttr(spec.Name, []int64{0, 1, -1, 2}[g.rng.IntN(4)])
	case ir.AttrFloat:
		return ir.FloatAttr(spec.Name, []float32{0, 1, 0.5, 2, -1}[g.rng.IntN(5)])
	case ir.AttrInts:
		lists := [][]int64{{0}, {1}, {0, 1}, {1, 0}, {1, 1}, {-1}, {0, 2, 1}, {1, 2, 0}, {2, 0, 1}, {1, 0, 2}, {0, 2, 1, 3}, {0, 2, 3, 1}, {2, 2}, {3, 3}, {1, 1, 1, 1}}
		return ir.IntsAttr(spec.Name, lists[g.rng.IntN(len(lists))])
	}
	return nil
}
