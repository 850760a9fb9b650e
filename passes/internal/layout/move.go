package layout

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// role says what becomes of an operand of a node that is moved.
type role uint8

const (
	stays    role = iota // a scalar, or what has no axes of its own
	flips                // the flipped value
	constant             // a constant that is permuted
)

// move says how a node computes on flipped values.
type move struct {
	perm   []int64
	roles  []role
	attrs  []*ir.Attr      // in place of those of the names
	ints   map[int][]int64 // in place of constant operands
	result []int64         // permutation of the results, nil if they are as they were
	sums   bool            // the order of a sum may change
}

// at is the place that axis a of the old order has now, -1 if a is no axis.
func (m *move) at(a int64) int64 {
	rank := int64(len(m.perm))
	if a < -rank || a >= rank {
		return -1
	}
	if a < 0 {
		a += rank
	}
	return int64(slices.Index(m.perm, a))
}

// movable is how n computes on operands flipped by p, nil if it cannot.
func (r *Layout) movable(n *ir.Node, p []int64) *move {
	s := ops.Of(n)
	if s == nil || n.Op().Domain != "" || n.HasRefs() || r.g.Model().Function(n.Op()) != nil || len(n.Subgraphs()) > 0 {
		return nil
	}
	m := &move{perm: p, roles: make([]role, n.NumOperands()), ints: map[int][]int64{}, result: p}
	ok := false
	switch {
	case s.Has(schema.Unary) && r.rank(n.Operand(0)) == len(p):
		m.roles[0], ok = flips, r.scalars(n, 1)
	case s.Has(schema.Broadcast):
		ok = r.broadcast(n, m)
	default:
		if f := moves[n.Op().Type]; f != nil && r.rank(n.Operand(0)) == len(p) {
			ok = f(r, n, m)
		}
	}
	if !ok {
		return nil
	}
	for _, v := range n.Results() {
		if v != nil && m.result != nil && r.rank(v) != len(p) {
			return nil
		}
	}
	return m
}

// rank is the number of axes of v, -1 if it is not known.
func (r *Layout) rank(v *ir.Value) int {
	s := r.facts.Shape(v)
	if v == nil || s == nil {
		return -1
	}
	return len(s)
}

// single reports whether v surely has one element at most and no axes that count.
func (r *Layout) single(v *ir.Value) bool {
	s, ok := r.facts.Shape(v).Ints()
	return v == nil || ok && ir.NumElements(s) == 1 && len(s) <= 1
}

func (r *Layout) scalars(n *ir.Node, from int) bool {
	for i := from; i < n.NumOperands(); i++ {
		if !r.single(n.Operand(i)) {
			return false
		}
	}
	return true
}

// broadcast: every operand is flipped, a constant, or a scalar.
func (r *Layout) broadcast(n *ir.Node, m *move) bool {
	for i, v := range n.Operands() {
		switch {
		case v == nil:
			return false
		case r.single(v):
		case v.Const() != nil && v.Const().Rank() <= len(m.perm):
			m.roles[i] = constant
		case r.rank(v) == len(m.perm):
			m.roles[i] = flips
		default:
			return false
		}
	}
	return true
}

// moves are the operators that compute along axes they are told.
var moves = map[string]func(r *Layout, n *ir.Node, m *move) bool{
	"Concat":           concat,
	"Pad":              pad,
	"Slice":            slice,
	"Split":            split,
	"QuantizeLinear":   quantize,
	"DequantizeLinear": quantize,
	"Softmax":          softmax,
	"LogSoftmax":       softmax,
	"ArgMax":           argmax,
	"ArgMin":           argmax,
	"ReduceMax":        reduce,
	"ReduceMin":        reduce,
	"ReduceMean":       reduce,
	"ReduceSum":        reduce,
	"ReduceProd":       reduce,
	"ReduceL1":         reduce,
	"ReduceL2":         reduce,
	"ReduceSumSquare":  reduce,
}

// axis replaces the attribute axis.
func (m *move) axis(n *ir.Node, def int64) bool {
	a := m.at(n.Int("axis", def))
	m.attrs = append(m.attrs, ir.IntAttr("axis", a))
	return a >= 0
}

func concat(r *Layout, n *ir.Node, m *move) bool {
	for i, v := range n.Operands() {
		switch {
		case r.rank(v) != len(m.perm):
			return false
		case v.Const() != nil:
			m.roles[i] = constant
		default:
			m.roles[i] = flips
		}
	}
	return n.Attr("axis") != nil && m.axis(n, 0)
}

func split(r *Layout, n *ir.Node, m *move) bool {
	m.roles[0] = flips
	return m.axis(n, 0)
}

func pad(r *Layout, n *ir.Node, m *move) bool {
	m.roles[0] = flips
	rank := len(m.perm)
	if n.Operand(3) != nil || !r.single(n.Operand(2)) {
		return false
	}
	pads := n.Ints("pads")
	if n.NumOperands() > 1 {
		pads = ints(n.Operand(1))
	}
	if len(pads) != 2*rank {
		return false
	}
	q := make([]int64, 2*rank)
	for j, a := range m.perm {
		q[j], q[rank+j] = pads[a], pads[rank+int(a)]
	}
	if n.NumOperands() > 1 {
		m.ints[1] = q
	} else {
		m.attrs = append(m.attrs, ir.IntsAttr("pads", q))
	}
	return true
}

// slice: the axes of the operator are mapped; without them they are the first ones.
func slice(r *Layout, n *ir.Node, m *move) bool {
	m.roles[0] = flips
	if n.NumOperands() < 3 {
		return false
	}
	starts, ok := r.facts.Shape(n.Operand(1)).Ints()
	if !ok || len(starts) != 1 {
		return false
	}
	axes := ints(n.Operand(3))
	if n.Operand(3) == nil {
		for i := range starts[0] {
			axes = append(axes, i)
		}
	}
	axes, ok = m.axes(axes)
	if !ok || int64(len(axes)) != starts[0] {
		return false
	}
	for i := 1; i < n.NumOperands(); i++ { // starts, ends and steps are as they were
		m.roles[i] = stays
	}
	m.ints[3] = axes
	return true
}

// axes maps a list of axes.
func (m *move) axes(list []int64) ([]int64, bool) {
	r := make([]int64, len(list))
	for i, a := range list {
		if r[i] = m.at(a); r[i] < 0 {
			return nil, false
		}
	}
	return r, true
}

func quantize(r *Layout, n *ir.Node, m *move) bool {
	m.roles[0] = flips
	if r.scalars(n, 1) {
		return true
	}
	for i := 1; i < n.NumOperands(); i++ {
		if v := n.Operand(i); v != nil && r.rank(v) != 1 {
			return false
		}
	}
	return n.Graph().Opset("") >= 13 && n.Int("block_size", 0) == 0 && m.axis(n, 1)
}

func softmax(r *Layout, n *ir.Node, m *move) bool {
	m.roles[0], m.sums = flips, true
	return n.Graph().Opset("") >= 13 && m.axis(n, -1) // before, it flattens at the axis
}

func argmax(r *Layout, n *ir.Node, m *move) bool {
	m.roles[0] = flips
	axis := n.Int("axis", 0)
	return m.axis(n, 0) && m.dropped(n, []int64{axis})
}

func reduce(r *Layout, n *ir.Node, m *move) bool {
	m.roles[0] = flips
	m.sums = !n.Is("ReduceMax", "ReduceMin")
	axes := n.Ints("axes")
	attr := n.Attr("axes") != nil
	if v := n.Operand(1); v != nil {
		if axes = ints(v); axes == nil {
			return false
		}
	}
	if len(axes) == 0 {
		if n.Int("noop_with_empty_axes", 0) != 0 {
			return true
		}
		for i := range m.perm {
			axes = append(axes, int64(i))
		}
		return m.dropped(n, axes)
	}
	now, ok := m.axes(axes)
	if !ok {
		return false
	}
	if attr {
		m.attrs = append(m.attrs, ir.IntsAttr("axes", now))
	} else {
		m.ints[1] = now
	}
	return m.dropped(n, axes)
}

// dropped finds the result's permutation where axes disappear: none, if those that stay are in their old order then.
func (m *move) dropped(n *ir.Node, axes []int64) bool {
	if n.Int("keepdims", 1) != 0 {
		return true
	}
	var left []int64
	for _, a := range m.perm {
		if !slices.Contains(axes, a) && !slices.Contains(axes, a-int64(len(m.perm))) {
			left = append(left, a)
		}
	}
	m.result = nil
	return slices.IsSorted(left)
}

// ints are the elements of a constant of whole numbers, nil if v is none.
func ints(v *ir.Value) []int64 {
	t := v.Const()
	if t == nil {
		return nil
	}
	switch t.DType() {
	case ir.Int64:
		e, _ := ir.Elements[int64](t)
		return e
	case ir.Int32:
		e, _ := ir.Elements[int32](t)
		r := make([]int64, len(e))
		for i, x := range e {
			r[i] = int64(x)
		}
		return r
	}
	return nil
}
