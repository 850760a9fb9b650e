package native

import (
	"context"
	"fmt"

	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/kernel"
)

// Eval evaluates one node from the values of its operands (nil for an omitted one), as constant folding does. Its
// subgraphs are evaluated, too; what they capture must be constant. A model-local function is evaluated by its body. The
// result has one value for each result of n, nil for omitted ones. Options.MaxMemory bounds operands, results and what
// lies between them; the context bounds the time. An operator without a kernel is an engine.UnsupportedError; attributes
// that refer to those of an enclosing function are an error, because their values are not known here.
func Eval(ctx context.Context, n *ir.Node, in []ir.Datum, o engine.Options) ([]ir.Datum, error) {
	return eval(ctx, kernel.Lookup, n, in, o)
}

func eval(ctx context.Context, k lookup, n *ir.Node, in []ir.Datum, o engine.Options) ([]ir.Datum, error) {
	if len(in) != n.NumOperands() {
		return nil, fmt.Errorf("node %q has %d operands and is given %d", n.Name(), n.NumOperands(), len(in))
	}
	for m := range nodesInside(n) {
		if m.HasRefs() {
			return nil, fmt.Errorf("node %q has attributes that are not known outside a call", m.Name())
		}
	}
	c := newCompiler(ctx, k, n.Graph().Model().Function)
	s := c.newScope(n.Graph(), nil)
	st, err := s.single(n)
	if err != nil {
		return nil, err
	}
	if len(c.missing) > 0 {
		return nil, &engine.UnsupportedError{Ops: c.missing}
	}
	f := &frame{run: &run{ctx: ctx, mem: newLedger(o.MaxMemory)}, prog: s.prog, vals: make([]ir.Datum, len(s.last))}
	for i, d := range in {
		if isNil(d) {
			continue
		}
		if err := f.set(st.in[i].slot, d); err != nil {
			return nil, &engine.NodeError{Name: n.Name(), Op: n.Op(), Err: err}
		}
	}
	if err := f.step(&st); err != nil {
		return nil, err
	}
	res := make([]ir.Datum, len(st.out))
	for i, slot := range st.out {
		if slot >= 0 {
			res[i] = f.vals[slot]
		}
	}
	return res, nil
}

// single translates n alone. Each operand gets a slot of its own, whatever it is; captures resolve to constants or fail.
func (s *scope) single(n *ir.Node) (step, error) {
	op := n.Op()
	st := step{node: n, opset: n.Graph().Opset(op.Domain), fn: s.c.function(op)}
	if err := s.evaluator(&st); err != nil {
		return st, err
	}
	if err := s.subgraphs(&st); err != nil {
		return st, err
	}
	st.in = make([]operand, n.NumOperands())
	for i := range st.in {
		st.in[i] = operand{slot: s.anonymous()}
	}
	st.out = make([]int, n.NumResults())
	for i, v := range n.Results() {
		st.out[i] = -1
		if v != nil {
			st.out[i] = s.define(v)
		}
	}
	return st, nil
}

// nodesInside yields n and every node of its subgraphs.
func nodesInside(n *ir.Node) func(yield func(*ir.Node) bool) {
	var walk func(n *ir.Node, yield func(*ir.Node) bool) bool
	walk = func(n *ir.Node, yield func(*ir.Node) bool) bool {
		if !yield(n) {
			return false
		}
		for _, g := range n.Subgraphs() {
			for m := range g.Nodes() {
				if !walk(m, yield) {
					return false
				}
			}
		}
		return true
	}
	return func(yield func(*ir.Node) bool) { walk(n, yield) }
}
