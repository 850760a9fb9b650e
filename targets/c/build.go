package c

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/kernel"
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

// shape is the static shape of v, which check has seen.
func (b *builder) shape(v *ir.Value) []int {
	s, _ := b.facts.Shape(v).Ints()
	r := make([]int, len(s))
	for i, d := range s {
		r[i] = int(d)
	}
	return r
}

func (b *builder) typ(v *ir.Value) ctype {
	t, _ := typeOf(b.facts.DType(v))
	return t
}

// constant is the contents of v if they are known, halves widened.
func (b *builder) constant(v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	t := v.Const()
	if t == nil {
		t = b.facts.Known(v)
	}
	if n := v.Node(); t == nil && n != nil && n.Is("DequantizeLinear") && n.Op().Domain == "" {
		if f, ok := b.folded[v]; ok {
			return f
		}
		b.folded[v] = b.dequantized(n)
		return b.folded[v]
	}
	if n := v.Node(); t == nil && n != nil && n.Is("ConstantOfShape") && n.Op().Domain == "" {
		f, ok := b.folded[v]
		if !ok {
			f = b.filled(n)
			b.folded[v] = f
		}
		t = f
	}
	if t != nil && t.DType() == ir.Float16 {
		h, err := ir.Elements[uint16](t)
		if err != nil {
			return nil
		}
		f := make([]float32, len(h))
		for i, x := range h {
			f[i] = kernel.Float16ToFloat32(x)
		}
		return ir.TensorOf(f, t.Shape()...)
	}
	return t
}

// filled is what a ConstantOfShape gives; nil where the shape is open, or too big.
func (b *builder) filled(n *ir.Node) *ir.Tensor {
	s, ok := b.facts.Shape(n.Result(0)).Ints()
	value := n.Attr("value")
	if !ok || ir.NumElements(s) > 1<<28 {
		return nil
	}
	one := ir.TensorOf([]float32{0})
	if value != nil {
		if one = value.Tensor(); one == nil || one.Len() != 1 {
			return nil
		}
	}
	data, err := one.Bytes()
	if err != nil {
		return nil
	}
	return ir.NewTensor(one.DType(), s, bytes.Repeat(data, int(ir.NumElements(s))))
}

// floats are the elements of a constant float operand.
func (b *builder) floats(v *ir.Value) ([]float32, error) {
	t := b.constant(v)
	if t == nil || t.DType() != ir.Float32 {
		return nil, errors.New("parameters that are no float constants")
	}
	return ir.Elements[float32](t)
}

// ints are the elements of a constant operand of integers.
func (b *builder) ints(v *ir.Value) ([]int, error) {
	t := b.constant(v)
	if t == nil {
		return nil, errors.New("a parameter that is no constant")
	}
	var r []int
	switch t.DType() {
	case ir.Int64:
		s, err := ir.Elements[int64](t)
		for _, x := range s {
			r = append(r, int(x))
		}
		return r, err
	case ir.Int32:
		s, err := ir.Elements[int32](t)
		for _, x := range s {
			r = append(r, int(x))
		}
		return r, err
	}
	return nil, fmt.Errorf("a parameter of type %s", t.DType())
}

// alloc makes a tensor in the arena.
func (b *builder) alloc(name string, typ ctype, shape []int, blocked bool) *tensor {
	buf := &buffer{name: name, typ: typ}
	b.buffers = append(b.buffers, buf)
	return &tensor{buf: buf, shape: shape, blocked: blocked}
}

// literal makes a constant of bytes, or takes an equal one.
func (b *builder) literal(name string, typ ctype, shape []int, data []byte) *tensor {
	key := typ.name + string(data)
	buf := b.known[key]
	if buf == nil {
		buf = &buffer{name: name, typ: typ, data: data, elems: len(data) / typ.size}
		b.known[key] = buf
		b.consts = append(b.consts, buf)
	}
	return &tensor{buf: buf, shape: shape, stiff: true}
}

func (b *builder) floatLiteral(name string, f []float32) *tensor {
	return b.literal(name, float, []int{len(f)}, ir.AsBytes(f))
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

// define states where v lies.
func (b *builder) define(v *ir.Value, t *tensor) {
	p := b.places[v]
	if p == nil {
		p = &place{}
		b.places[v] = p
	}
	if t.blocked {
		p.blocked = t
	} else {
		p.plain = t
	}
}

// result makes the tensor of a node's first result.
func (b *builder) result(n *ir.Node, blocked bool) *tensor {
	v := n.Result(0)
	typ := b.typ(v)
	if blocked {
		typ = blockedType(typ)
	}
	t := b.alloc(v.Name(), typ, b.shape(v), blocked)
	b.define(v, t)
	return t
}

// plain is v in row-major order.
func (b *builder) plain(v *ir.Value) *tensor {
	p := b.placed(v)
	if p.plain == nil {
		t := p.blocked
		switch {
		case b.typ(v) != int8s && t.shape[2]*t.shape[3] == 1 && (t.shape[0] == 1 || t.shape[1]%block == 0) && t.parent == nil && !t.hasHalo():
			t.stiff = true
			p.plain = &tensor{buf: t.buf, shape: b.shape(v), stiff: true}
		default:
			u := b.alloc(v.Name(), b.typ(v), t.shape, false)
			u.stiff = true
			b.unblock(t, u)
			p.plain = &tensor{buf: u.buf, shape: b.shape(v), stiff: true}
		}
	}
	return p.plain
}

// flat is v in row-major order for what knows nothing of halos.
func (b *builder) flat(v *ir.Value) *tensor {
	t := b.plain(v)
	if t.hasHalo() {
		u := b.alloc(v.Name(), t.buf.typ, t.shape, false)
		b.copy(t, u)
		t = u
		b.places[v].plain = u
	}
	t.root().stiff = true
	return t
}

// image is a tensor of three or four axes as one of four.
func image(t *tensor) *tensor {
	if len(t.shape) != 3 {
		return t
	}
	t.root().stiff = true
	return &tensor{buf: t.buf, shape: imageShape(t.shape), stiff: true}
}

func imageShape(s []int) []int {
	if len(s) == 3 {
		return []int{s[0], s[1], 1, s[2]}
	}
	return s
}

// blockedType is the type of elements of a blocked tensor: bytes have no sign there, and -128 is 0.
func blockedType(t ctype) ctype {
	if t == int8s {
		return uint8s
	}
	return t
}

// blocked is v, of three or four axes, as four with blocked channels.
func (b *builder) blocked(v *ir.Value) *tensor {
	p := b.placed(v)
	if p.blocked == nil {
		t := image(p.plain)
		if b.typ(v) != int8s && t.shape[2]*t.shape[3] == 1 && t.shape[1]%block == 0 && !t.hasHalo() {
			t.stiff = true
			p.blocked = &tensor{buf: t.buf, shape: t.shape, blocked: true, stiff: true}
		} else {
			p.blocked = b.alloc(v.Name(), blockedType(b.typ(v)), t.shape, true)
			b.block(t, p.blocked)
		}
	}
	return p.blocked
}

// placed is where v lies, after it was computed or, for a constant, written.
func (b *builder) placed(v *ir.Value) *place {
	if e := b.lazy[v]; e != nil {
		delete(b.lazy, v)
		b.materialize(v, e)
	}
	if p := b.places[v]; p != nil {
		return p
	}
	if e := b.cheap[v]; e != nil {
		b.materialize(v, e)
		return b.places[v]
	}
	t := b.constant(v)
	data, err := t.Bytes()
	if err != nil {
		data = make([]byte, t.ByteLen())
		b.c.Remark(b.node, "weights", err.Error())
	}
	typ, err := typeOf(t.DType())
	if err != nil {
		typ = uint8s
	}
	b.define(v, b.literal(v.Name(), typ, b.shape(v), data))
	return b.places[v]
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
