package compare

import (
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// role is what a model does with the elements of an input, as far as it restricts plausible values.
type role struct {
	lo, hi  float64   // the elements index a table: lo..hi inclusive; hi < lo: the table is empty
	index   bool      // lo and hi hold
	choices []float64 // constants that elements are compared with for equality
	mask    bool      // 1 where a position counts, 0 elsewhere
	form    form
	divisor bool // integers are divided by the elements
}

// form is the pattern of an input that steers an operator instead of being computed with.
type form uint8

const (
	formNone  form = iota
	formShape      // a target shape: ones, and -1 for what is left
	formOnes       // repeats, steps, k, scales, lengths
	formZeros      // starts, pads, positions
	formAxes       // axes: 0, 1, 2, ...
	formEnds       // ends: beyond every size
	formCount      // sizes and trip counts: a small positive number
)

// restrict notes an index into a table of n entries, after x·mul + add.
func (r *role) restrict(n int64, mul, add float64) {
	lo, hi := -add/mul, (float64(n-1)-add)/mul
	if math.IsNaN(lo-hi) || math.IsInf(lo-hi, 0) {
		return
	}
	if lo > hi && n > 0 {
		lo, hi = hi, lo
	}
	if !r.index {
		r.index, r.lo, r.hi = true, math.Ceil(lo), math.Floor(hi)
		return
	}
	r.lo, r.hi = max(r.lo, math.Ceil(lo)), min(r.hi, math.Floor(hi))
}

// place is a value on the way of an input's elements, which stand there as x·mul + add.
type place struct {
	v        *ir.Value
	mul, add float64
}

// tracer follows the elements of one input through the model.
type tracer struct {
	functions map[ir.OpID]*ir.Function
	types     func(*ir.Value) *ir.Type // may be nil
	seen      map[*ir.Value]bool
	todo      []place
	role      role
}

// trace finds the role of an input. It follows the elements through operators that move, cast, shift or scale them, into
// subgraphs and functions and out of them again. Each value is visited once, so the cost is linear in the model.
func trace(v *ir.Value, functions map[ir.OpID]*ir.Function, types func(*ir.Value) *ir.Type) role {
	t := &tracer{functions: functions, types: types, seen: map[*ir.Value]bool{}}
	t.reach(v, 1, 0)
	for len(t.todo) > 0 {
		p := t.todo[len(t.todo)-1]
		t.todo = t.todo[:len(t.todo)-1]
		for u := range p.v.Uses() {
			t.use(p, u)
		}
	}
	slices.Sort(t.role.choices)
	t.role.choices = slices.Compact(t.role.choices)
	return t.role
}

func (t *tracer) reach(v *ir.Value, mul, add float64) {
	if v != nil && !t.seen[v] {
		t.seen[v] = true
		t.todo = append(t.todo, place{v, mul, add})
	}
}

func (t *tracer) use(p place, u ir.Use) {
	n := u.Node
	op := n.Op()
	switch {
	case n.IsReturn():
		t.leave(p, n.Graph(), u.Index)
	case t.functions[op] != nil:
		if ins := t.functions[op].Graph.Inputs(); u.Index < len(ins) {
			t.reach(ins[u.Index].Value(), p.mul, p.add)
		}
	case len(n.Subgraphs()) > 0:
		t.enter(p, n, u.Index)
	case op.Domain == "":
		t.operator(p, n, u.Index)
	case op.Domain == "com.microsoft" && op.Type == "EmbedLayerNormalization" && u.Index < 2:
		t.table(p, n.Operand(2+2*u.Index), 0)
	}
}

// leave follows an output of a subgraph or function to the results of the nodes that evaluate it.
func (t *tracer) leave(p place, g *ir.Graph, i int) {
	owner := g.Owner()
	if owner == nil {
		return // a function's callers are not looked up: what they do with a result rarely restricts an input
	}
	switch owner.Op().Type {
	case "Loop":
		i-- // the condition comes first
	case "If", "Scan":
	default:
		return
	}
	t.reach(owner.Result(i), p.mul, p.add)
}

// enter follows operand i of a control operator into its body.
func (t *tracer) enter(p place, n *ir.Node, i int) {
	switch n.Op().Type {
	case "Loop":
		if i == 0 {
			t.form(formCount)
		}
		if i < 2 {
			return
		}
	case "Scan":
	default:
		return
	}
	for _, g := range n.Subgraphs() {
		if ins := g.Inputs(); i < len(ins) {
			t.reach(ins[i].Value(), p.mul, p.add)
		}
	}
}

func (t *tracer) form(f form) {
	if t.role.form == formNone {
		t.role.form = f
	}
}

// table notes that the elements index axis of the table v.
func (t *tracer) table(p place, v *ir.Value, axis int64) {
	s := t.shape(v)
	if axis < 0 {
		axis += int64(len(s))
	}
	if axis >= 0 && axis < int64(len(s)) && s[axis].IsStatic() {
		t.role.restrict(s[axis].Size, p.mul, p.add)
		return
	}
	t.role.restrict(1, p.mul, p.add) // of unknown size: the first entry is the only one to rely on
}

// shape is what is known of the shape of a table, nil if nothing is. It is safe on a nil value.
func (t *tracer) shape(v *ir.Value) ir.Shape {
	if c := v.Const(); c != nil {
		return ir.StaticShape(c.Shape()...)
	}
	if v == nil {
		return nil
	}
	return known(v, t.types).TensorShape()
}

// known is what is recorded of v's type and, if that leaves something open, what types knows besides.
func known(v *ir.Value, types func(*ir.Value) *ir.Type) *ir.Type {
	t := v.Type()
	if _, static := t.TensorShape().Ints(); static || types == nil {
		return t
	}
	if m, ok := t.Merge(types(v)); ok {
		return m
	}
	return t
}
