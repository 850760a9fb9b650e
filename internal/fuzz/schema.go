package fuzz

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// drawn adds a node of any operator of the table: types as the schema says, shapes and attributes by guess. The kernel says
// whether the guess was good.
func (g *generator) drawn() bool {
	return g.ofSchema(pick(g.random, g.tables.operators(g.m.Opset(""))))
}

func (g *generator) ofSchema(s *schema.Schema) bool {
	vars := map[string]ir.DType{}
	var in []*value
	for i := range s.Inputs() {
		p := &s.Inputs()[i]
		n := 1
		switch {
		case p.Option == schema.Optional && g.odds(2):
			n = 0
			in = append(in, nil)
		case p.Option == schema.Variadic:
			n = max(int(p.MinArity), g.IntN(4))
		}
		for range n {
			x := g.operand(p, vars, in)
			if x == nil {
				return false
			}
			in = append(in, x)
		}
	}
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	var first *value
	if len(in) > 0 {
		first = in[0]
	}
	least, most := s.NumOutputs()
	results := max(least, 1)
	if most > results && g.odds(4) {
		results = int(g.between(int64(results), int64(min(most, 3))))
	}
	attrs, ok := g.attributes(s, first)
	if !ok {
		return false
	}
	if d := s.Op().Domain; d != "" {
		if g.graph().Function() != nil {
			return false
		}
		if g.m.Opset(d) == 0 {
			g.m.SetOpset(d, schema.Newest(d))
		}
	}
	return g.node(s.Op(), in, results, attrs...) != nil
}

// operand is a value that parameter p takes, given those before it.
func (g *generator) operand(p *schema.Param, vars map[string]ir.DType, in []*value) *value {
	d, bound := vars[p.Var]
	fits := func(x *value) bool {
		if bound && (p.Option != schema.Variadic || !p.Mixed) {
			return x.dtype() == d
		}
		return p.Types().Contains(x.s[0].Type().WithoutShapes())
	}
	var x *value
	if len(in) > 0 && in[0] != nil && g.odds(2) { // one like the first
		x = g.any(func(x *value) bool { return fits(x) && slices.Equal(x.shape(), in[0].shape()) })
	}
	if x == nil && !g.odds(4) {
		x = g.any(fits)
	}
	if x == nil {
		if !bound {
			if d = g.dtypeOf(p); d == ir.Undefined {
				return g.any(fits)
			}
		}
		x = g.fresh(d, in)
	}
	vars[p.Var] = x.dtype()
	return x
}

// dtypeOf is an element type of a tensor that p takes.
func (g *generator) dtypeOf(p *schema.Param) ir.DType {
	var r []ir.DType
	for d := ir.Float32; d.Valid(); d++ {
		if p.Types().Tensor&(1<<d) != 0 {
			r = append(r, d)
			if slices.Contains(dtypes, d) {
				r = append(r, d, d)
			}
		}
	}
	if len(r) == 0 {
		return ir.Undefined
	}
	return pick(g.random, r)
}

// fresh is a constant whose shape has to do with the operands so far.
func (g *generator) fresh(d ir.DType, in []*value) *value {
	rank := g.IntN(4)
	var like []int64
	if len(in) > 0 && in[0] != nil {
		like = in[0].shape()
	}
	shape := make([]int64, rank)
	for i := range shape {
		shape[i] = g.between(1, 3)
	}
	switch g.IntN(6) {
	case 0:
		shape = nil
	case 1, 2:
		shape = slices.Clone(like)
	case 3:
		if len(like) > 1 {
			shape = []int64{like[1]} // channels
		}
	case 4:
		shape = []int64{int64(len(like))}
	}
	if ir.NumElements(shape) > maxElements {
		shape = nil
	}
	if shape == nil {
		shape = []int64{}
	}
	if g.odds(4) {
		return g.neutral(d, shape...)
	}
	return g.weights(d, shape...)
}

// attributes are those that s requires and some of the others.
func (g *generator) attributes(s *schema.Schema, first *value) ([]*ir.Attr, bool) {
	var r []*ir.Attr
	for i := range s.Attrs() {
		a := &s.Attrs()[i]
		if !a.Required && !g.odds(3) {
			continue
		}
		v := g.attribute(s, a, first)
		if v != nil {
			r = append(r, v)
		} else if a.Required {
			return nil, false
		}
	}
	return r, true
}

// words are values of string attributes by name; of an operator's own first.
var words = map[string][]string{
	"auto_pad": {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"}, "direction": {"forward", "reverse", "bidirectional", "LEFT", "RIGHT"},
	"mode": {"constant", "reflect", "edge", "wrap", "nearest", "linear", "cubic", "bilinear", "DCR", "CRD", "avg", "max"}, "reduction": {"none", "add", "mul", "max", "min", "mean", "sum"},
	"coordinate_transformation_mode": {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"},
	"nearest_mode":                   {"floor", "ceil", "round_prefer_floor"}, "approximate": {"none", "tanh"}, "padding_mode": {"zeros", "border", "reflection"},
	"equation": {"ij->ji", "ij,jk->ik", "i,i->", "bij,bjk->bik", "...i->...", "ii->i"}, "keep_aspect_ratio_policy": {"stretch", "not_larger"},
	"case_change_action": {"LOWER", "UPPER", "NONE"}, "norm": {"L1", "L2", "MAX"}, "activation": {"Relu"},
}

// attribute is a guess, nil if there is none.
func (g *generator) attribute(s *schema.Schema, a *schema.AttrSpec, first *value) *ir.Attr {
	rank := int64(0)
	if first != nil {
		rank = int64(first.rank())
	}
	window := max(rank-2, 1)
	switch a.Kind {
	case ir.AttrInt:
		k := g.between(0, 1)
		switch {
		case a.Name == "axis" || a.Name == "batch_axis" || a.Name == "axis_w":
			k = g.between(-max(rank, 1), max(rank-1, 0))
		case a.Name == "to" || a.Name == "dtype" || a.Name == "output_datatype" || a.Name == "output_dtype":
			k = int64(pick(g.random, dtypes))
		case g.odds(3) && a.Name != "keepdims": // of other numbers than 0 and 1 engines make different things
			k = g.between(-1, 4)
		}
		return ir.IntAttr(a.Name, k)
	case ir.AttrFloat:
		return ir.FloatAttr(a.Name, float32(pick(g.random, []float64{0, 1, 0.5, 2, -1, 1e-5, g.float(g.wild)})))
	case ir.AttrString:
		if w := words[a.Name]; w != nil {
			return ir.StringAttr(a.Name, pick(g.random, w))
		}
		if a.HasDefault() {
			return ir.StringAttr(a.Name, a.Str())
		}
		return ir.StringAttr(a.Name, "a")
	case ir.AttrInts:
		return ir.IntsAttr(a.Name, g.listOf(a.Name, rank, window))
	case ir.AttrFloats:
		return ir.FloatsAttr(a.Name, []float32{float32(g.float(false)), float32(g.float(false))})
	case ir.AttrStrings:
		return ir.StringsAttr(a.Name, []string{"a", "b"})
	case ir.AttrTensor:
		return ir.TensorAttr(a.Name, g.tensor(pick(g.random, dtypes), []int64{1}, false))
	case ir.AttrType:
		return ir.TypeAttr(a.Name, ir.TensorType(pick(g.random, dtypes), nil))
	}
	return nil
}

// listOf is an INTS attribute of the usual length for its name.
func (g *generator) listOf(name string, rank, window int64) []int64 {
	list := func(n, lo, hi int64) []int64 {
		r := make([]int64, n)
		for i := range r {
			r[i] = g.between(lo, hi)
		}
		return r
	}
	switch name {
	case "kernel_shape":
		return list(window, 1, 3)
	case "strides", "dilations":
		return list(window, 1, 2)
	case "pads":
		return list(2*window, 0, 1)
	case "output_padding":
		return list(window, 0, 1)
	case "perm":
		return g.permutation(rank)
	case "axes":
		return g.axes(rank)
	}
	return list(g.between(1, max(rank, 1)), 0, 3)
}

func (g *generator) permutation(rank int64) []int64 {
	r := make([]int64, rank)
	for i := range r {
		r[i] = int64(i)
	}
	if rank > 1 && g.odds(2) { // exchange of two
		i, j := g.IntN(int(rank)), g.IntN(int(rank))
		r[i], r[j] = r[j], r[i]
		return r
	}
	g.Shuffle(len(r), func(i, j int) { r[i], r[j] = r[j], r[i] })
	return r
}

// axes are distinct, some counted from the end.
func (g *generator) axes(rank int64) []int64 {
	all := g.permutation(rank)
	if rank == 0 {
		return nil
	}
	r := all[:1+g.IntN(len(all))]
	for i := range r {
		if g.odds(3) {
			r[i] -= rank
		}
	}
	return r
}
