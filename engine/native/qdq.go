package native

import (
	"math"

	"github.com/onnxopt/onnxopt/internal/gemm"
	"github.com/onnxopt/onnxopt/ir"
)

// A model in QDQ form computes in float32 between DequantizeLinear and QuantizeLinear:
//
//	DequantizeLinear ─┐
//	DequantizeLinear ─┴─ Conv ── Relu ── QuantizeLinear
//
// as PyTorch, TensorFlow (by tf2onnx) and ONNX Runtime's quantizer export it. The engine that [Merging] returns recognises such
// a chain when it loads the model, and computes it from 8-bit integers to 8-bit integers in one go: products are summed exactly
// in int32, and the sum is scaled once. That differs from the separate nodes, which round each sum of the float32 product, so
// an element may lie on the other side of a tie: the promise is that it is within one quantization step of what the separate
// nodes give. The same goes for Softmax and averages. Sums and products of two tensors are computed in the order of the separate
// nodes, functions of one tensor are tables that the separate nodes fill, and nodes that only move elements move integers: these
// give the separate nodes' bits.
//
// The nodes of a chain remain steps of the program. The chain is tried at its first node behind the dequantizations; where it
// does not apply after all (an element type or shape that was not known, too little memory) the steps run one by one. No result
// that something else reads, or that has a tap, is left out.

// chain is a run of nodes from one with dequantized operands to a QuantizeLinear.
type chain struct {
	id      int
	nodes   []*ir.Node  // from the first that computes to the QuantizeLinear
	sources []*ir.Node  // the DequantizeLinear nodes it reads behind
	inputs  []*ir.Value // quantized operands that are not constant
	run     executor    // of inputs
	weights bool        // run holds the weights of the first node

	in       []operand // inputs
	out      int       // slot of the result
	deferred []int     // steps of those sources that nobody else reads
}

// quantization is how the integers of a tensor are read; scales are positive and finite.
type quantization struct {
	scales []float32
	zeros  *ir.Tensor // nil: 0
	axis   int64      // of several scales
}

// chains are those of the graph, by node.
type chains struct {
	at       map[*ir.Node]*chain
	deferred map[*ir.Node][]*chain // dequantizations that only these chains read
	count    int
}

// matcher looks for a chain that begins with a node, and returns what evaluates it, or nil.
type matcher func(s *scope, m *match) executor

// match is a chain under recognition.
type match struct {
	node   *ir.Node
	opset  int64
	result quantization // per tensor
	dtype  ir.DType     // of the result
	lo, hi float32      // limits of the result in its integers
	found  *chain
}

func matchers() map[string]matcher {
	r := map[string]matcher{
		"Conv": matchConv, "MatMul": matchMatMul, "Gemm": matchGemm, "Add": matchAdd, "Mul": matchMul, "Softmax": matchSoftmax,
		"MaxPool": matchMaxPool, "AveragePool": matchAveragePool, "GlobalAveragePool": matchGlobalAveragePool,
		"Reshape": matchMove, "Flatten": matchMove, "Squeeze": matchMove, "Unsqueeze": matchMove, "Transpose": matchMove, "Concat": matchConcat,
		"Slice": matchMove, "Gather": matchMove, "Expand": matchMove, "Tile": matchMove, "DepthToSpace": matchMove, "SpaceToDepth": matchMove,
		"Resize": matchResize, "Upsample": matchResize,
	}
	for _, op := range functions {
		r[op] = firstOf(r[op], matchTable)
	}
	return r
}

// firstOf tries a, which may be nil, and then b.
func firstOf(a, b matcher) matcher {
	if a == nil {
		return b
	}
	return func(s *scope, m *match) executor {
		if run := a(s, m); run != nil {
			return run
		}
		m.found.sources, m.found.inputs, m.found.weights = nil, nil, false
		return b(s, m)
	}
}

// findChains recognises the chains of the scope's graph.
func (s *scope) findChains() {
	s.chains = &chains{at: map[*ir.Node]*chain{}, deferred: map[*ir.Node][]*chain{}}
	if s.c.fast == nil || s.c.fast.chains == nil {
		return
	}
	read := map[*ir.Node]int{} // operands of chains that a dequantization gives
	for n := range s.prog.graph.Nodes() {
		if !s.plain(n) {
			continue
		}
		f := s.c.fast.chains[n.Op().Type]
		if f == nil {
			continue
		}
		m := &match{node: n, opset: n.Graph().Opset(""), found: &chain{id: s.chains.count}}
		if !m.follow(s) {
			continue
		}
		if m.found.run = f(s, m); m.found.run == nil {
			continue
		}
		s.chains.count++
		for _, n := range m.found.nodes {
			s.chains.at[n] = m.found
		}
		for _, d := range m.found.sources {
			read[d]++
			s.chains.deferred[d] = append(s.chains.deferred[d], m.found)
		}
	}
	for d, n := range read {
		if v := d.Result(0); v.NumUses() != n || s.tap[v] {
			delete(s.chains.deferred, d)
		}
	}
}

// plain reports whether n is an operator of the default domain whose attributes are known.
func (s *scope) plain(n *ir.Node) bool { return n.Op().Domain == "" && s.operator(n) }

// operator reports whether n is no call of a function, has one result, and its attributes are known.
func (s *scope) operator(n *ir.Node) bool {
	return n.Op().Overload == "" && s.c.function(n.Op()) == nil && !n.HasRefs() && n.NumResults() == 1 && n.Result(0) != nil
}

// quantizer reports whether n is the operator op, QuantizeLinear or DequantizeLinear, of the default domain or of ONNX Runtime's, where
// it means the same.
func (s *scope) quantizer(n *ir.Node, op string) bool {
	return n.Op().Type == op && (n.Op().Domain == "" || n.Op().Domain == contrib) && s.operator(n)
}

// constant is the value of v if it is a constant of the model.
func (s *scope) constant(v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	if n := v.Node(); n != nil && s.c.function(n.Op()) != nil {
		return nil
	}
	return v.Const()
}

// follow walks from the first node to the QuantizeLinear: through one Relu or Clip at most, and nothing that is seen elsewhere.
func (m *match) follow(s *scope) bool {
	n := m.node
	lo, hi := float32(math.Inf(-1)), float32(math.Inf(1))
	for {
		m.found.nodes = append(m.found.nodes, n)
		v := n.Result(0)
		u, ok := v.OnlyUse()
		if !ok || s.tap[v] || u.Index != 0 || u.Node.Graph() != n.Graph() || u.Node.IsReturn() {
			return false
		}
		n = u.Node
		limit := limits{}
		switch {
		case s.quantizer(n, "QuantizeLinear"):
			m.found.nodes = append(m.found.nodes, n)
			return m.ends(s, n, lo, hi)
		case !s.plain(n):
			return false
		case n.Op().Type == "Relu":
			limit = relu()
		case n.Op().Type == "Clip":
			if limit, ok = clipLimits(n, m.opset); !ok {
				return false
			}
		default:
			return false
		}
		if len(m.found.nodes) > 1 {
			return false
		}
		lo, hi = limit.lo, limit.hi
	}
}

// ends reads the quantization of the result, with the float32 limits lo..hi before it.
func (m *match) ends(s *scope, n *ir.Node, lo, hi float32) bool {
	if v := n.Result(0); v.NumUses() == 0 && !s.tap[v] || n.Int("block_size", 0) != 0 {
		return false
	}
	if p := ir.DType(n.Int("precision", 0)); p != 0 && p != ir.Float32 {
		return false
	}
	var ok bool
	if m.result, ok = s.quantization(n); !ok || len(m.result.scales) != 1 {
		return false
	}
	m.dtype = ir.DType(n.Int("output_dtype", 0))
	if m.result.zeros != nil {
		m.dtype = m.result.zeros.DType()
	} else if m.dtype == 0 {
		m.dtype = ir.Uint8
	}
	zero, least, most := float32(0), float32(0), float32(math.MaxUint8)
	switch m.dtype {
	case ir.Uint8:
		zero = float32(zeroOf[uint8](m.result))
	case ir.Int8:
		zero, least, most = float32(zeroOf[int8](m.result)), math.MinInt8, math.MaxInt8
	default:
		return false
	}
	// Rounding is monotone, so that a limit may as well be applied to the integers.
	limit := func(x float32) float32 {
		return float32(max(float64(least), min(float64(most), math.RoundToEven(float64(x/m.result.scales[0]))+float64(zero))))
	}
	m.lo, m.hi = limit(lo), limit(hi)
	return true
}

// quantization reads the constant scales and zero points of a QuantizeLinear or DequantizeLinear.
func (s *scope) quantization(n *ir.Node) (q quantization, ok bool) {
	if n.NumOperands() < 2 {
		return q, false
	}
	scale := s.constant(n.Operand(1))
	if scale == nil || scale.DType() != ir.Float32 || scale.Len() < 1 || scale.Len() > 1 && scale.Rank() != 1 {
		return q, false
	}
	q.scales, q.axis = elements[float32](scale), n.Int("axis", 1)
	for _, e := range q.scales {
		if !(e > 1e-30 && e < 1e30) {
			return q, false
		}
	}
	if n.NumOperands() > 2 && n.Operand(2) != nil {
		if q.zeros = s.constant(n.Operand(2)); q.zeros == nil || q.zeros.Len() != scale.Len() || q.zeros.Rank() > 1 {
			return q, false
		}
	}
	return q, len(q.scales) > 0
}

// zeroOf is the one zero point of q.
func zeroOf[T gemm.Integer](q quantization) T {
	if q.zeros == nil {
		return 0
	}
	return elements[T](q.zeros)[0]
}

// dequantized finds the DequantizeLinear to float32 that gives operand i, with the quantization of its operand.
func (m *match) dequantized(s *scope, i int) (from *ir.Value, q quantization, ok bool) {
	if i >= m.node.NumOperands() || m.node.Operand(i) == nil {
		return nil, q, false
	}
	n, _ := m.node.Operand(i).Def()
	if n == nil || n.Graph() != m.node.Graph() || !s.quantizer(n, "DequantizeLinear") || n.Int("block_size", 0) != 0 {
		return nil, q, false
	}
	if to := ir.DType(n.Int("output_dtype", 0)); to != 0 && to != ir.Float32 {
		return nil, q, false
	}
	if q, ok = s.quantization(n); !ok {
		return nil, q, false
	}
	m.found.sources = append(m.found.sources, n)
	return n.Operand(0), q, true
}

// activation is a dequantized operand that is no constant, with one scale.
func (m *match) activation(s *scope, i int) (q quantization, ok bool) {
	v, q, ok := m.dequantized(s, i)
	if !ok || v == nil || s.constant(v) != nil || len(q.scales) != 1 || q.zeros != nil && !is8(q.zeros) {
		return q, false
	}
	m.found.inputs = append(m.found.inputs, v)
	return q, true
}

// weights are a dequantized operand that is a constant of 8-bit integers, with one scale or one for each index of the axis.
func (m *match) weights(s *scope, i int, axis int64) (w *ir.Tensor, q quantization, ok bool) {
	v, q, ok := m.dequantized(s, i)
	if !ok {
		return nil, q, false
	}
	w = s.constant(v)
	if !is8(w) || w.Len() == 0 || q.zeros != nil && q.zeros.DType() != w.DType() {
		return nil, q, false
	}
	if q.axis < 0 {
		q.axis += int64(w.Rank())
	}
	return w, q, axis < int64(w.Rank()) && (len(q.scales) == 1 || q.axis == axis && int64(len(q.scales)) == w.Shape()[axis])
}

// bias is operand i as n float32: a constant, or a dequantized one of integers. An omitted one is nil.
func (m *match) bias(s *scope, i, n int) (b []float32, ok bool) {
	if i >= m.node.NumOperands() || m.node.Operand(i) == nil {
		return nil, true
	}
	if t := s.constant(m.node.Operand(i)); t != nil {
		b := elements[float32](t)
		return b, t.DType() == ir.Float32 && len(b) == n && (t.Rank() == 1 || t.Rank() == 2 && m.node.Op().Type == "Gemm" && t.Shape()[1] == int64(n))
	}
	v, q, ok := m.dequantized(s, i)
	if !ok {
		return nil, false
	}
	t := s.constant(v)
	if t == nil || t.DType() != ir.Int32 || t.Rank() != 1 || t.Len() != int64(n) || len(q.scales) != 1 && len(q.scales) != n ||
		q.zeros != nil && q.zeros.DType() != ir.Int32 {
		return nil, false
	}
	b = make([]float32, n)
	for k, e := range elements[int32](t) {
		if q.zeros != nil {
			e -= elements[int32](q.zeros)[k%len(q.scales)]
		}
		b[k] = float32(e) * q.scales[k%len(q.scales)]
	}
	return b, true
}
