package native

import (
	"github.com/onnxopt/onnxopt/internal/par"
	"github.com/onnxopt/onnxopt/ir"
)

// executor evaluates a node that has one result faster than its kernel, within 1e-5 of it. It reports false, without a
// result, where it does not apply: other element types, shapes that do not fit, too little memory. The kernel then runs
// instead, and says what is wrong if something is; an executor has no errors of its own.
//
// Its result depends on the node and the values of its operands alone, to the bit: not on what surrounds the node, which
// operands are constants, whether it works in place, or the number of threads. The comparison of exact passes rests on that.
type executor func(t *task) (*ir.Tensor, bool)

// severalExecutor is an executor of all results of a node; those that nobody wants may be nil.
type severalExecutor func(t *task) ([]ir.Datum, bool)

// prepare makes the executor of a node, or nil. What depends on constants alone is computed here.
type prepare func(s *site) executor

// accelerators are what is prepared for operators, by type; of the default domain where nothing else is said.
type accelerators struct {
	one     map[string]prepare
	several map[string]func(*site) severalExecutor
	contrib map[string]prepare // of ONNX Runtime's domain
	chains  map[string]matcher // nil: nodes stay separate
}

// site is a node under compilation.
type site struct {
	*ir.Node
	opset int64
	in    []operand
	wide  []*ir.Tensor // float16 constants, widened
	tap   map[*ir.Value]bool

	arranged *arranged // nil: nothing is shared with other nodes
}

// constant is operand i if it is known and holds float32, or float16, which is widened; else nil.
func (s *site) constant(i int) *ir.Tensor {
	if i < len(s.wide) && s.wide[i] != nil {
		return s.wide[i]
	}
	if i >= len(s.in) || s.in[i].tensor == nil || s.in[i].tensor.DType() != ir.Float32 {
		return nil
	}
	return s.in[i].tensor
}

// given reports whether the node has operand i.
func (s *site) given(i int) bool { return i < len(s.in) && s.in[i] != omitted }

// executors returns what is prepared for the nodes of the default domain and for some of com.microsoft. Nodes stay separate.
func executors() *accelerators {
	m := map[string]prepare{
		"Conv": prepareConv, "ConvTranspose": prepareConvTranspose, "MatMul": prepareMatMul, "Gemm": prepareGemm,
		"Add": binary(add()), "Sub": binary(sub()), "Mul": binary(mul()), "Div": binary(div()),
		"Sum":  prepareSum,
		"Relu": prepareRelu, "Clip": prepareClip,
		"Greater": prepareCompare(greater), "GreaterOrEqual": prepareCompare(greaterEqual), "Less": prepareCompare(less), "LessOrEqual": prepareCompare(lessEqual),
		"Where":   prepareWhere,
		"MaxPool": prepareMaxPool, "AveragePool": prepareAveragePool, "GlobalAveragePool": prepareGlobalPool(foldMean()), "GlobalMaxPool": prepareGlobalPool(foldMax()),
		"BatchNormalization": prepareBatchNormalization, "Softmax": prepareSoftmax,
		"Transpose": prepareTranspose, "Concat": prepareConcat, "Slice": prepareSlice, "Pad": preparePad, "Gather": prepareGather, "Pow": preparePow,
		"ReduceMean": prepareReduce(foldMean(), 18), "ReduceSum": prepareReduce(foldSum(), 13), "ReduceMax": prepareReduce(foldMax(), 18),
	}
	for op, f := range quantizedExecutors() {
		m[op] = f
	}
	for op, f := range unaryExecutors() {
		m[op] = f
	}
	return &accelerators{one: m, several: map[string]func(*site) severalExecutor{
		"LSTM": prepareLSTM, "GRU": prepareGRU, "DynamicQuantizeLinear": prepareDynamicQuantizeLinear,
		"BatchNormalization": prepareBatchNormalizationTraining,
	}, contrib: map[string]prepare{
		"FusedConv": prepareFusedConv, "QuantizeLinear": m["QuantizeLinear"], "DequantizeLinear": m["DequantizeLinear"],
	}}
}

// contrib is the domain of ONNX Runtime's own operators.
const contrib = "com.microsoft"

// accelerate gives st an executor if there is one for its node. Attributes that refer to those of a function are left to the
// kernel, which sees them resolved.
func (s *scope) accelerate(st *step) {
	n, op := st.node, st.node.Op()
	if s.c.fast == nil || op.Overload != "" || st.fn != nil || n.HasRefs() || n.NumResults() == 0 {
		return
	}
	one, several := s.c.fast.one, s.c.fast.several
	switch {
	case op.Domain == contrib:
		one, several = s.c.fast.contrib, nil
	case op.Domain != "" || st.opset < 7: // before, broadcasting and several attributes were others
		return
	}
	if st.chain != nil && st.chain.weights && n == st.chain.nodes[0] {
		return // its weights are not arranged twice
	}
	if p := several[op.Type]; p != nil {
		if st.several = p(&site{Node: n, opset: st.opset, in: st.in, tap: s.tap, arranged: s.c.arranged}); st.several != nil {
			return
		}
	}
	p := one[op.Type]
	if p == nil {
		return
	}
	for i, v := range n.Results() { // these compute the first result alone
		if wanted := v != nil && (v.NumUses() > 0 || s.tap[v]); wanted != (i == 0) {
			return
		}
	}
	st.wide = widenConstants(st.in)
	st.fast = p(&site{Node: n, opset: st.opset, in: st.in, wide: st.wide, tap: s.tap, arranged: s.c.arranged})
}

// task is one evaluation by an executor.
type task struct {
	frame *frame
	step  *step
	in    []ir.Datum
	pool  *par.Pool

	half, full bool         // operands were float16, float32
	temporary  []*ir.Tensor // widened operands
}

// float is operand i and its elements, widened if they are float16; false if it is omitted or has other elements.
func (t *task) float(i int) (*ir.Tensor, []float32, bool) {
	if i >= len(t.in) || t.in[i] == nil {
		return nil, nil, false
	}
	if x, ok := t.in[i].(*ir.Tensor); ok && x != nil && x.DType() == ir.Float16 {
		if x, ok = t.widened(i, x); !ok {
			return nil, nil, false
		}
		v, err := ir.Elements[float32](x)
		return x, v, err == nil
	}
	return t.single(i)
}

// single is operand i and its elements if they are float32.
func (t *task) single(i int) (*ir.Tensor, []float32, bool) {
	if i >= len(t.in) || t.in[i] == nil {
		return nil, nil, false
	}
	x, ok := t.in[i].(*ir.Tensor)
	if !ok || x == nil || x.DType() != ir.Float32 {
		return nil, nil, false
	}
	t.full = true
	v, err := ir.Elements[float32](x)
	return x, v, err == nil
}

// ints are the elements of operand i if they are int64, else nil.
func (t *task) ints(i int) []int64 {
	if i >= len(t.in) {
		return nil
	}
	x, ok := t.in[i].(*ir.Tensor)
	if !ok || x == nil || x.DType() != ir.Int64 {
		return nil
	}
	v, err := ir.Elements[int64](x)
	if err != nil {
		return nil
	}
	return v
}

// alloc lends memory for a result of the shape, which is not zeroed; false if the shape or the limit forbids it.
func (t *task) alloc(shape []int64) ([]float32, bool) {
	n := ir.NumElements(shape)
	if n < 0 || n > 1<<34 {
		return nil, false
	}
	return t.lend(int(n))
}

// lend lends n elements, to be given back with done or to become a result.
func (t *task) lend(n int) ([]float32, bool) { return t.from(t.frame.arena, n) }

// scratch lends n elements, to be given back with done.
func (t *task) scratch(n int) ([]float32, bool) { return t.from(t.frame.run.arena, n) }

func (t *task) from(a *arena, n int) ([]float32, bool) {
	room := int64(1 << 36)
	if l := t.frame.run.mem; l.limit > 0 {
		room = l.limit - l.live
	}
	if 4*int64(n) > room {
		return nil, false
	}
	if a != nil && n > 0 {
		return a.get(n, room), true
	}
	return make([]float32, n), true
}

// done gives back what was lent.
func (t *task) done(v []float32) {
	if a := t.frame.run.arena; a != nil && len(v) > 0 {
		a.putBack(v)
	}
}

// over lends memory for a result with the shape of operand i: the operand's own if it dies here and nobody else sees it.
func (t *task) over(i int) ([]float32, bool) {
	x, v, ok := t.float(i)
	if !ok {
		return nil, false
	}
	if t.dies(i) && t.frame.arena.sole(x) {
		return v, true
	}
	return t.alloc(x.Shape())
}

// dies reports whether the slot of operand i is needed no more after this step, and only once in it.
func (t *task) dies(i int) bool {
	slot := t.step.in[i].slot
	if t.frame.arena == nil || slot < 0 {
		return false
	}
	for k, o := range t.step.in {
		if k != i && o.slot == slot {
			return false
		}
	}
	for _, f := range t.step.free {
		if f == slot {
			return true
		}
	}
	return false
}

// result is a tensor over elements that this task allocated.
func result(v []float32, shape []int64) (*ir.Tensor, bool) {
	return ir.TensorOf(v, append([]int64{}, shape...)...), true
}
