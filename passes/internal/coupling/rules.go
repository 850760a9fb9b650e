package coupling

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// relate states how the dimensions of n's operands and results hang together.
func (g *Graph) relate(n *ir.Node) {
	g.nodes++
	if n.Op().Domain != "" || !n.Is(n.Op().Type) || len(n.Subgraphs()) > 0 {
		g.barrier(n, "is not understood")
		return
	}
	rule := rules[n.Op().Type]
	if rule == nil {
		g.barrier(n, "is not understood")
		return
	}
	if why := rule(g, n); why != "" {
		g.barrier(n, why)
		return
	}
	// What the rule said nothing of stays: a shape that is computed, an index, a result that only counts.
	silent := func(axes []int32) {
		for _, a := range axes {
			if a >= 0 && g.met[a] != g.nodes {
				g.fix(a, NodeLabel(n)+" uses it as a whole")
			}
		}
	}
	for i := range n.NumOperands() {
		if v := n.Operand(i); v != nil && v.Const() == nil {
			silent(g.ofValue(v))
		} else {
			silent(g.uses[ir.Use{Node: n, Index: i}])
		}
	}
	for _, v := range n.Results() {
		silent(g.ofValue(v))
	}
}

// rule states the relations of one node. A reason makes the node a barrier; the reason completes the node's name.
type rule func(g *Graph, n *ir.Node) string

// rules is what is known of operators; it is never changed.
var rules = func() map[string]rule {
	r := map[string]rule{
		"Constant":                  func(*Graph, *ir.Node) string { return "" },
		"Conv":                      (*Graph).conv,
		"ConvTranspose":             (*Graph).convTranspose,
		"MatMul":                    (*Graph).matMul,
		"Gemm":                      (*Graph).gemm,
		"Einsum":                    (*Graph).einsum,
		"BatchNormalization":        (*Graph).batchNorm,
		"InstanceNormalization":     (*Graph).instanceNorm,
		"LayerNormalization":        (*Graph).layerNorm,
		"RMSNormalization":          (*Graph).layerNorm,
		"Softmax":                   (*Graph).softmax,
		"LogSoftmax":                (*Graph).softmax,
		"Hardmax":                   (*Graph).softmax,
		"LpNormalization":           (*Graph).alongAxis,
		"CumSum":                    (*Graph).cumSum,
		"ArgMax":                    (*Graph).argReduce,
		"ArgMin":                    (*Graph).argReduce,
		"TopK":                      (*Graph).alongAxis,
		"LRN":                       (*Graph).acrossChannels,
		"Concat":                    (*Graph).concat,
		"Split":                     (*Graph).split,
		"Slice":                     (*Graph).slice,
		"Gather":                    (*Graph).gather,
		"Transpose":                 (*Graph).transpose,
		"Reshape":                   (*Graph).reshape,
		"Flatten":                   (*Graph).flatten,
		"Squeeze":                   (*Graph).squeeze,
		"Unsqueeze":                 (*Graph).unsqueeze,
		"Expand":                    (*Graph).expand,
		"Pad":                       (*Graph).pad,
		"ConstantOfShape":           (*Graph).filled,
		"DepthToSpace":              (*Graph).depthToSpace,
		"SpaceToDepth":              (*Graph).spaceToDepth,
		"Resize":                    (*Graph).resize,
		"Upsample":                  (*Graph).resize,
		"Shape":                     (*Graph).shape,
		"Size":                      (*Graph).shape,
		"GRU":                       (*Graph).recurrent,
		"LSTM":                      (*Graph).recurrent,
		"RNN":                       (*Graph).recurrent,
		"QuantizeLinear":            (*Graph).quantize,
		"DequantizeLinear":          (*Graph).quantize,
		"PRelu":                     (*Graph).elementwise,
		"Where":                     (*Graph).elementwise,
		"GlobalLpPool":              (*Graph).pool,
		"GlobalAveragePool":         (*Graph).pool,
		"GlobalMaxPool":             (*Graph).pool,
		"AveragePool":               (*Graph).pool,
		"MaxPool":                   (*Graph).pool,
		"LpPool":                    (*Graph).pool,
		"MeanVarianceNormalization": (*Graph).meanVariance,
	}
	for _, op := range []string{
		"Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh", "Dropout", "Elu", "Erf", "Exp",
		"Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal",
		"Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh",
		"ThresholdedRelu", "BitwiseNot",
	} {
		r[op] = (*Graph).unary
	}
	for _, op := range []string{
		"Add", "Sub", "Mul", "Div", "Pow", "Mod", "Sum", "Max", "Min", "Mean", "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less",
		"LessOrEqual", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
	} {
		r[op] = (*Graph).elementwise
	}
	for _, op := range []string{
		"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
	} {
		r[op] = (*Graph).reduce
	}
	return r
}()

// same relates operand i and result j dimension by dimension. It reports false if a rank is not known, or they differ.
func (g *Graph) same(n *ir.Node, i, j int) bool {
	if n.Result(j) == nil {
		return true
	}
	a, b := g.operand(n, i), g.ofValue(n.Result(j))
	if len(a) != len(b) || a == nil || b == nil {
		return false
	}
	for d := range a {
		g.equal(n, a[d], b[d])
	}
	return true
}

const noRank = "has operands of unknown rank"

// unary: every result has the shape of operand 0; what else there is are scalars.
func (g *Graph) unary(n *ir.Node) string {
	for j := range n.NumResults() {
		if !g.same(n, 0, j) {
			return noRank
		}
	}
	for i := 1; i < n.NumOperands(); i++ {
		if n.Operand(i) != nil {
			for _, a := range g.operand(n, i) {
				g.fix(a, NodeLabel(n)+" takes it as a parameter")
			}
		}
	}
	return ""
}

// elementwise: dimensions are aligned at the last one, and those of one element are repeated.
func (g *Graph) elementwise(n *ir.Node) string {
	if n.Attr("broadcast") != nil || n.Attr("axis") != nil {
		return "broadcasts by an attribute"
	}
	out := g.ofValue(n.Result(0))
	if out == nil {
		return noRank
	}
	for i := range n.NumOperands() {
		if n.Operand(i) == nil {
			continue
		}
		a := g.operand(n, i)
		if a == nil || len(a) > len(out) {
			return noRank
		}
		for d, x := range a {
			g.broadcast(n, x, out[len(out)-len(a)+d])
		}
	}
	return g.repeated(n, out)
}

// repeated makes the dimensions of a result stay that are as long as they are though no operand with axes is: of all operands repeated or
// not known.
func (g *Graph) repeated(n *ir.Node, out []int32) string {
	for d, o := range out {
		if o < 0 {
			continue
		}
		found := false
		for i := range n.NumOperands() {
			if n.Operand(i) == nil {
				continue
			}
			a := g.operand(n, i)
			k := d - (len(out) - len(a))
			found = found || k >= 0 && a[k] >= 0
		}
		if !found {
			g.fix(o, NodeLabel(n)+" broadcasts to it")
		}
	}
	return ""
}

// batchNorm: the parameters belong to the channels, dimension 1.
func (g *Graph) batchNorm(n *ir.Node) string {
	if n.Int("training_mode", 0) != 0 || n.Graph().Opset("") < 9 && n.Int("spatial", 1) == 0 {
		return "computes statistics"
	}
	for j := 1; j < n.NumResults(); j++ {
		if n.Result(j) != nil && n.Result(j).NumUses() > 0 {
			return "returns statistics"
		}
	}
	return g.perChannel(n, 4)
}

// instanceNorm: each channel of a sample has a mean of its own.
func (g *Graph) instanceNorm(n *ir.Node) string { return g.perChannel(n, 2) }

// perChannel relates result 0 to operand 0, and dimension 1 to the parameters, so many operands after it.
func (g *Graph) perChannel(n *ir.Node, parameters int) string {
	x := g.operand(n, 0)
	if len(x) < 2 || !g.same(n, 0, 0) {
		return noRank
	}
	for d := 2; d < len(x); d++ {
		g.fix(x[d], NodeLabel(n)+" looks at all of it")
	}
	for i := 1; i <= parameters; i++ {
		if p := g.operand(n, i); len(p) != 1 {
			return noRank
		} else {
			g.equal(n, x[1], p[0])
		}
	}
	return ""
}

// layerNorm normalizes over the dimensions from axis on, which stay; those before it are independent.
func (g *Graph) layerNorm(n *ir.Node) string {
	x := g.operand(n, 0)
	axis := int(n.Int("axis", -1))
	if axis < 0 {
		axis += len(x)
	}
	if x == nil || axis < 0 || !g.same(n, 0, 0) {
		return noRank
	}
	g.fixAll(x[axis:], NodeLabel(n)+" normalizes over it")
	for i := 1; i < n.NumOperands(); i++ {
		if n.Operand(i) != nil {
			g.fixAll(g.operand(n, i), NodeLabel(n)+" normalizes over it")
		}
	}
	for j := 1; j < n.NumResults(); j++ {
		g.fixAll(g.ofValue(n.Result(j)), NodeLabel(n)+" returns statistics of it")
		if n.Result(j) != nil {
			return "returns statistics"
		}
	}
	return ""
}

// softmax: before opset 13 all dimensions from axis on are one.
func (g *Graph) softmax(n *ir.Node) string {
	x := g.operand(n, 0)
	flat := n.Graph().Opset("") < 13
	axis := int(n.Int("axis", map[bool]int64{true: 1, false: -1}[flat]))
	if axis < 0 {
		axis += len(x)
	}
	if x == nil || axis < 0 || axis > len(x) || !g.same(n, 0, 0) {
		return noRank
	}
	if !flat && axis < len(x) {
		x = x[:axis+1]
	}
	g.fixAll(x[axis:], NodeLabel(n)+" compares its elements")
	return ""
}

// alongAxis: results have the rank of operand 0, and the dimension of attribute axis is looked at as a whole.
func (g *Graph) alongAxis(n *ir.Node) string {
	x := g.operand(n, 0)
	axis := int(n.Int("axis", -1))
	if axis < 0 {
		axis += len(x)
	}
	if x == nil || axis < 0 || axis >= len(x) {
		return noRank
	}
	for j := range n.NumResults() {
		y := g.ofValue(n.Result(j))
		if n.Result(j) == nil {
			continue
		}
		if len(y) != len(x) {
			return noRank
		}
		for d := range x {
			if d != axis {
				g.equal(n, x[d], y[d])
			}
		}
		g.fix(y[axis], NodeLabel(n)+" compares its elements")
	}
	g.fix(x[axis], NodeLabel(n)+" compares its elements")
	for i := 1; i < n.NumOperands(); i++ {
		g.fixAll(g.operand(n, i), NodeLabel(n)+" takes it as a parameter")
	}
	return ""
}

// cumSum: which dimension it is may not be known.
func (g *Graph) cumSum(n *ir.Node) string {
	x := g.operand(n, 0)
	axis, ok := g.known(n.Operand(1))
	if !ok || len(axis) != 1 || x == nil || !g.same(n, 0, 0) {
		return "adds up along a dimension that is not known"
	}
	if axis[0] < 0 {
		axis[0] += int64(len(x))
	}
	if axis[0] < 0 || axis[0] >= int64(len(x)) {
		return noRank
	}
	g.fix(x[axis[0]], NodeLabel(n)+" adds up along it")
	return ""
}

// acrossChannels: neighbouring channels are compared.
func (g *Graph) acrossChannels(n *ir.Node) string {
	x := g.operand(n, 0)
	if len(x) < 2 || !g.same(n, 0, 0) {
		return noRank
	}
	g.fix(x[1], NodeLabel(n)+" compares neighbouring channels")
	return ""
}

// meanVariance: the dimensions of axes are looked at as a whole.
func (g *Graph) meanVariance(n *ir.Node) string {
	x := g.operand(n, 0)
	axes := []int64{0, 2, 3}
	if a := n.Attr("axes"); a != nil {
		axes = a.Ints()
	}
	if x == nil || !g.same(n, 0, 0) {
		return noRank
	}
	for _, a := range axes {
		if a < 0 {
			a += int64(len(x))
		}
		if a < 0 || a >= int64(len(x)) {
			return noRank
		}
		g.fix(x[a], NodeLabel(n)+" normalizes over it")
	}
	return ""
}

// pool: dimensions from 2 on are the image.
func (g *Graph) pool(n *ir.Node) string {
	x := g.operand(n, 0)
	if len(x) < 2 {
		return noRank
	}
	for j := range n.NumResults() {
		y := g.ofValue(n.Result(j))
		if n.Result(j) == nil {
			continue
		}
		if len(y) != len(x) {
			return noRank
		}
		g.equal(n, x[0], y[0])
		g.equal(n, x[1], y[1])
		g.fixAll(y[2:], NodeLabel(n)+" looks at neighbours along it")
	}
	if n.NumResults() > 1 && n.Result(1) != nil && n.Result(1).NumUses() > 0 {
		return "returns indices" // into the flattened tensor, channels included
	}
	g.fixAll(x[2:], NodeLabel(n)+" looks at neighbours along it")
	return ""
}

// reduce: the reduced dimensions stay.
func (g *Graph) reduce(n *ir.Node) string {
	axes, ok := g.axesOf(n, 1)
	if !ok {
		return "reduces dimensions that are not known"
	}
	if axes == nil && n.Int("noop_with_empty_axes", 0) != 0 {
		return g.unary(n)
	}
	return g.reduced(n, axes)
}

func (g *Graph) argReduce(n *ir.Node) string { return g.reduced(n, []int64{n.Int("axis", 0)}) }

// reduced relates what is left when axes (nil: all) are reduced.
func (g *Graph) reduced(n *ir.Node, axes []int64) string {
	x, y := g.operand(n, 0), g.ofValue(n.Result(0))
	if x == nil || y == nil {
		return noRank
	}
	gone := make([]bool, len(x))
	for _, a := range axes {
		if a < 0 {
			a += int64(len(x))
		}
		if a < 0 || a >= int64(len(x)) {
			return noRank
		}
		gone[a] = true
	}
	k := 0
	for d := range x {
		switch {
		case axes == nil || gone[d]:
			g.fix(x[d], NodeLabel(n)+" reduces it")
			if n.Int("keepdims", 1) != 0 {
				k++
			}
		case k >= len(y):
			return noRank
		default:
			g.equal(n, x[d], y[k])
			k++
		}
	}
	return ""
}

// axesOf are the axes that attribute axes or operand i holds, nil for none; ok is false if they are not known.
func (g *Graph) axesOf(n *ir.Node, i int) (axes []int64, ok bool) {
	if a := n.Attr("axes"); a != nil {
		return a.Ints(), true
	}
	if n.Operand(i) == nil {
		return nil, true
	}
	if axes, ok = g.known(n.Operand(i)); ok && len(axes) == 0 {
		axes = nil
	}
	return axes, ok
}

// known are the integers that v surely holds.
func (g *Graph) known(v *ir.Value) ([]int64, bool) {
	if v == nil {
		return nil, false
	}
	t := g.facts.Known(v)
	if t == nil || t.Len() > maxAxis {
		return nil, false
	}
	switch t.DType() {
	case ir.Int64:
		e, err := ir.Elements[int64](t)
		return append([]int64{}, e...), err == nil
	case ir.Int32:
		e, err := ir.Elements[int32](t)
		r := make([]int64, len(e))
		for i, x := range e {
			r[i] = int64(x)
		}
		return r, err == nil
	}
	return nil, false
}

// quantize: scale and zero point are scalars, or belong to the elements of one dimension.
func (g *Graph) quantize(n *ir.Node) string {
	x := g.operand(n, 0)
	if x == nil || !g.same(n, 0, 0) {
		return noRank
	}
	if n.Int("block_size", 0) != 0 {
		return "is quantized in blocks"
	}
	axis := int(n.Int("axis", 1))
	if axis < 0 {
		axis += len(x)
	}
	for i := 1; i < n.NumOperands(); i++ {
		if n.Operand(i) == nil {
			continue
		}
		s := g.operand(n, i)
		switch {
		case s == nil || len(s) > 1:
			return fmt.Sprintf("has parameters of rank %d", len(s))
		case len(s) == 1 && s[0] != unit:
			if axis < 0 || axis >= len(x) {
				return noRank
			}
			g.equal(n, s[0], x[axis])
		}
	}
	return ""
}

// shape: what is computed from a size would change with it. Where it is known without running the model, Settle has put a constant in its
// place.
func (g *Graph) shape(n *ir.Node) string {
	x := g.operand(n, 0)
	for _, d := range g.readSizes(n, len(x)) {
		if d < len(x) {
			g.fix(x[d], NodeLabel(n)+" reads its size")
		}
	}
	for _, a := range x {
		if a >= 0 {
			g.met[a] = g.nodes
		}
	}
	return ""
}
