package c

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
)

// builder turns the main graph into steps. A value may be in memory in up to two ways, plain and blocked; what an operator asks for is made
// when it is first asked for.
type builder struct {
	c       *passes.Context
	facts   *infer.Result
	o       Options
	steps   []*step
	buffers []*buffer // all but constants, in order of creation
	consts  []*buffer
	known   map[string]*buffer // constants by type and contents
	places  map[*ir.Value]*place
	failed  map[*ir.Value]bool
	done    map[*ir.Node]bool
	lazy    map[*ir.Value]*expr
	cheap   map[*ir.Value]*expr // computed anew wherever they are read
	folded  map[*ir.Value]*ir.Tensor
	illegal targets.IllegalError
	node    *ir.Node // under translation
	inputs  []port
	outputs []port
	halves  []string

	scheduled *Schedule // nil: defaults
	used      map[string]bool
	misfit    error // of the schedule
	sites     []*site
	strip     int // rows, of the last choice to join layers by rows
}

// place is where a value lies.
type place struct{ plain, blocked *tensor }

// port is an input or output of the model.
type port struct {
	name string // in the model
	c    string // in C
	t    *tensor
	typ  ctype
}

// lowering translates a node, and what follows if it is fused.
type lowering func(b *builder, n *ir.Node) error

func (b *builder) graph(g *ir.Graph) error {
	table := lowerings()
	for _, s := range g.Inputs() {
		if v := s.Value(); v.NumUses() > 0 || !v.IsInitializer() {
			b.input(s)
		}
	}
	for n := range g.Nodes() {
		if err := b.c.Err(); err != nil {
			return err
		}
		if b.done[n] || b.settled(n) || b.blockedBy(n) {
			continue
		}
		b.node = n
		err := b.check(n, table)
		if err == nil {
			err = table[n.Op().Type](b, n)
		}
		if err != nil {
			b.fail(n, err)
		}
	}
	if len(b.illegal.Nodes) > 0 {
		return &b.illegal
	}
	for _, s := range g.Outputs() {
		if err := b.output(s); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) fail(n *ir.Node, err error) {
	b.illegal.Nodes = append(b.illegal.Nodes, targets.Refuse(n, err))
	for _, v := range n.Results() {
		b.failed[v] = true
	}
}

// settled reports whether all results are constants.
func (b *builder) settled(n *ir.Node) bool {
	for _, v := range n.Results() {
		if v != nil && v.NumUses() > 0 && b.constant(v) == nil {
			return false
		}
	}
	return true
}

func (b *builder) blockedBy(n *ir.Node) bool {
	if !slices.ContainsFunc(n.Operands(), func(v *ir.Value) bool { return v != nil && b.failed[v] }) {
		return false
	}
	for _, v := range n.Results() {
		b.failed[v] = true
	}
	return true
}

func (b *builder) check(n *ir.Node, table map[string]lowering) error {
	if op := n.Op(); op.Domain != "" || table[op.Type] == nil || n.Graph().Model().Function(op) != nil {
		return targets.Missing("there is no such operator", n)
	}
	for _, v := range append(slices.Clone(n.Operands()), n.Results()...) {
		if v == nil || v.Name() == "" && v.NumUses() == 0 {
			continue
		}
		s, ok := b.facts.Shape(v).Ints()
		if !ok {
			return fmt.Errorf("the shape %v of %q is not static; set-shape states those of the inputs", b.facts.Shape(v), v.Name())
		}
		if slices.Contains(s, 0) && slices.Contains(n.Results(), v) {
			return errors.New("an empty result")
		}
		if ir.NumElements(s) > 1<<28 {
			return fmt.Errorf("%q has more than 2^28 elements", v.Name())
		}
		if b.constant(v) == nil {
			if _, err := typeOf(b.facts.DType(v)); err != nil {
				return fmt.Errorf("%q: %w", v.Name(), err)
			}
		}
	}
	return nil
}

// add appends a step.
func (b *builder) add(in, out []*tensor, body func(f *text, lanes int)) *step {
	s := &step{op: "output", in: in, out: out, body: body}
	if b.node != nil {
		s.node, s.op = targets.NodeName(b.node), b.node.Op().Type
	}
	b.steps = append(b.steps, s)
	return s
}

func (b *builder) input(s *ir.Slot) {
	v := s.Value()
	dims, ok := b.facts.Shape(v).Ints()
	typ, err := typeOf(b.facts.DType(v))
	switch {
	case !ok:
		err = targets.NotStatic(s, b.facts.Shape(v))
	case slices.Contains(dims, 0):
		err = errors.New("it is empty")
	}
	if err != nil {
		b.illegal.Nodes = append(b.illegal.Nodes, targets.IllegalNode{Name: s.Name(), Op: ir.Op("input"), Why: err.Error()})
		b.failed[v] = true
		return
	}
	if b.facts.DType(v) == ir.Float16 {
		b.halves = append(b.halves, s.Name())
	}
	buf := &buffer{name: s.Name(), typ: typ, param: "in"}
	b.buffers = append(b.buffers, buf)
	t := &tensor{buf: buf, shape: b.shape(v), stiff: true}
	b.inputs = append(b.inputs, port{name: s.Name(), t: t, typ: typ})
	b.define(v, t)
}

func (b *builder) output(s *ir.Slot) error {
	v := s.Value()
	b.node = nil
	dims, ok := b.facts.Shape(v).Ints()
	if !ok {
		return fmt.Errorf("output %q: its shape %v is not static", s.Name(), b.facts.Shape(v))
	}
	if slices.Contains(dims, 0) {
		return fmt.Errorf("output %q is empty", s.Name())
	}
	t := b.plain(v)
	if t.buf.data != nil || t.buf.param != "" || t.hasHalo() || t.size() != product(t.shape) || b.paddedBuffer(t) {
		u := b.alloc(s.Name(), t.buf.typ, t.shape, false)
		b.copy(t, u)
		t = u
	}
	t.stiff = true
	t.buf.param, t.buf.output = "out", true
	b.outputs = append(b.outputs, port{name: s.Name(), t: t, typ: t.buf.typ})
	return nil
}

// paddedBuffer reports whether the memory of t holds more than t, as that of a blocked tensor that it shares may.
func (b *builder) paddedBuffer(t *tensor) bool {
	for _, s := range b.steps {
		for _, u := range s.out {
			if u.buf == t.buf && u.root().size() > product(t.shape) {
				return true
			}
		}
	}
	return false
}
