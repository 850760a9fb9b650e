package opset

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// types sees to it that version next of n's operator takes the types of its operands and results, by casts around it if need be.
// What is not known is taken to do.
func (c *conversion) types(n *ir.Node, from, next int64) {
	now := schema.Lookup(n.Op(), next)
	if now == nil {
		if n.Op().Domain == "" && c.m.Function(n.Op()) == nil {
			c.refuse(n, "opset %d has no such operator", next)
		}
		return
	}
	s := &site{c: c, n: n, g: n.Graph(), old: now, from: from, to: next}
	for _, p := range slices.Concat(now.Inputs(), now.Outputs()) {
		t := s.refused(now, p.Var)
		if t == nil {
			continue
		}
		if why := s.castAround(now, p.Var, t); why != "" {
			c.refuse(n, "%s", why)
		}
		return // what was made is looked at in its turn
	}
}

// refused is the type of an operand or result of n declared as type variable v that the operator does not take, nil if it takes all.
func (s *site) refused(now *schema.Schema, v string) *ir.Type {
	for i, x := range s.n.Operands() {
		if p := now.Input(i); p != nil && p.Var == v && x != nil {
			if t := s.typ(x); t != nil && !p.Types().Contains(t) {
				return t
			}
		}
	}
	for i, x := range s.n.Results() {
		if p := now.Output(i); p != nil && p.Var == v && x != nil {
			if t := s.typ(x); t != nil && !p.Types().Contains(t) {
				return t
			}
		}
	}
	return nil
}

// wider lists, for an element type, types that hold all its values, the first choice first.
func wider(d ir.DType) []ir.DType {
	switch d {
	case ir.BFloat16, ir.Float16:
		return []ir.DType{ir.Float32, ir.Float64}
	case ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float8E8M0, ir.Float4E2M1, ir.Float6E2M3, ir.Float6E3M2:
		return []ir.DType{ir.Float32, ir.Float64}
	case ir.Int2, ir.Int4:
		return []ir.DType{ir.Int8, ir.Int32, ir.Int64}
	case ir.Uint2, ir.Uint4:
		return []ir.DType{ir.Uint8, ir.Int32, ir.Int64}
	case ir.Int8, ir.Int16:
		return []ir.DType{ir.Int32, ir.Int64, ir.Float32, ir.Float64}
	case ir.Uint8, ir.Uint16:
		return []ir.DType{ir.Int32, ir.Uint32, ir.Int64, ir.Float32, ir.Float64}
	case ir.Int32, ir.Uint32:
		return []ir.DType{ir.Int64, ir.Float64}
	case ir.Bool:
		return []ir.DType{ir.Uint8, ir.Int32, ir.Float32}
	}
	return nil
}

// castable lists the operators that give the same result if their operands are cast to a wider type and their results back, whether
// bits are only moved, integers wrap around, or floats are rounded at the end, as kernels for narrow floats do.
func castable(op string) bool {
	switch op {
	case "Abs", "Acos", "Acosh", "Add", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "Ceil", "Celu", "Clip", "Compress",
		"Concat", "Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DeformConv", "DepthToSpace", "Det", "Div", "Einsum", "Elu", "Equal", "Erf",
		"Exp", "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GlobalLpPool",
		"GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization",
		"IsInf", "IsNaN", "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization",
		"LpPool", "MatMul", "Max", "MaxPool", "MaxRoiPool", "MaxUnpool", "Mean", "Min", "Mish", "Mod", "Mul", "Multinomial", "Neg", "NonZero",
		"OneHot", "PRelu", "Pad", "RNN", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
		"ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence", "RoiAlign",
		"Round", "Scatter", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax",
		"Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK",
		"Transpose", "Trilu", "Unique", "Unsqueeze", "Where":
		return true
	}
	return false
}

// bitwise lists the castable operators whose results keep their bits: they move or compare.
func bitwise(op string) bool {
	switch op {
	case "ArgMax", "ArgMin", "Compress", "Concat", "DepthToSpace", "Equal", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Greater",
		"GreaterOrEqual", "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Max", "MaxPool", "Min", "NonZero", "OneHot", "Pad", "ReduceMax",
		"ReduceMin", "Reshape", "ReverseSequence", "Scatter", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK",
		"Transpose", "Trilu", "Unique", "Unsqueeze", "Where":
		return true
	}
	return false
}

// castAround replaces n by itself on a wider type instead of t, which type variable v must not be in this version.
func (s *site) castAround(now *schema.Schema, v string, t *ir.Type) (why string) {
	n, d := s.n, t.DType()
	no := fmt.Sprintf("opset %d does not take %s", s.to, spell(t))
	if t.Kind != ir.KindTensor || !castable(n.Op().Type) || len(n.Subgraphs()) > 0 {
		return no
	}
	var set *schema.TypeSet
	for _, p := range slices.Concat(now.Inputs(), now.Outputs()) {
		if p.Var == v {
			set = p.Types()
		}
	}
	cast := schema.Lookup(ir.Op("Cast"), s.to)
	w := ir.Undefined
	for _, x := range wider(d) {
		if set.Tensor>>x&1 != 0 {
			w = x
			break
		}
	}
	if w == ir.Undefined || cast == nil || cast.Inputs()[0].Types().Tensor>>d&1 == 0 {
		return no
	}
	in := n.Operands()
	for i, x := range in {
		if p := now.Input(i); p != nil && p.Var == v && x != nil && s.dtype(x) != w {
			in[i] = s.opa("Cast", attrs(ir.IntAttr("to", int64(w))), x)
		}
	}
	inner := s.node(n.Op().Type, in, n.NumResults(), n.Attrs()...)
	out := make([]*ir.Value, n.NumResults())
	for i, x := range n.Results() {
		p := now.Output(i)
		switch {
		case x == nil:
			inner.OmitResult(i)
		case p != nil && p.Var == v:
			out[i] = s.opa("Cast", attrs(ir.IntAttr("to", int64(d))), inner.Result(i))
		default:
			out[i] = inner.Result(i)
		}
	}
	if !bitwise(n.Op().Type) && d.IsFloat() {
		s.tolerant()
	}
	s.replace(out...)
	return s.why
}

// spell is a type in words: that of its elements for a tensor.
func spell(t *ir.Type) string {
	if t.IsTensor() {
		return t.Elem.String()
	}
	return t.WithoutShapes().String()
}
