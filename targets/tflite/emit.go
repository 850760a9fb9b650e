package tflite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/kernel"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
)

// emitter translates the main graph of a model, node by node. A value may lie in memory with its axes permuted: what convolves wants
// channels last, what works on elements takes operands as they come, and a Transpose only says what is where. Transposes are
// written where an operator insists on an order that no tensor of the value has.
type emitter struct {
	c       *passes.Context
	facts   *infer.Result
	file    *file
	views   map[*ir.Value][]view
	done    map[*ir.Node]bool // translated with a node before
	failed  map[*ir.Value]bool
	halves  []string // inputs that are float16 in the model
	illegal targets.IllegalError
	names   map[string]int

	region      *region                  // of the node under translation; nil: in float
	wide        map[*ir.Value]*ir.Tensor // float16 constants in 32 bits
	dequantized map[*ir.Value]bool       // results of DequantizeLinear
	integers    map[*ir.Value][]view
	journal     []logged   // what was defined for the node under translation
	floats      []*ir.Node // that read integers and compute in float
	err         error      // of the node under translation
}

// view is a value as a tensor: axis i of the tensor is axis perm[i] of the value.
type view struct {
	t    *tensor
	perm []int
}

// lowering translates a node. What it cannot do is an error.
type lowering func(e *emitter, n *ir.Node) error

func newEmitter(c *passes.Context, facts *infer.Result) *emitter {
	return &emitter{c: c, facts: facts, file: &file{description: "onnxopt"}, views: map[*ir.Value][]view{}, done: map[*ir.Node]bool{},
		failed: map[*ir.Value]bool{}, illegal: targets.IllegalError{Target: name}, names: map[string]int{}, wide: map[*ir.Value]*ir.Tensor{}, dequantized: map[*ir.Value]bool{}, integers: map[*ir.Value][]view{}}
}

// graph translates g. Nodes that fail are collected; what depends on them is left out without a word.
func (e *emitter) graph(g *ir.Graph, layout string) error {
	table := lowerings()
	for _, slot := range g.Inputs() {
		if v := slot.Value(); v.NumUses() > 0 || !v.IsInitializer() {
			e.input(slot, layout)
		}
	}
	for n := range g.Nodes() {
		if err := e.c.Err(); err != nil {
			return err
		}
		if e.done[n] || e.known(n) || e.blocked(n) {
			continue
		}
		f := table[n.Op().Type]
		err := e.supported(n, f)
		if err == nil {
			err = e.translate(n, f)
		}
		if err != nil {
			e.illegal.Nodes = append(e.illegal.Nodes, targets.Refuse(n, err))
			for _, v := range n.Results() {
				e.failed[v] = true
			}
		}
	}
	if len(e.illegal.Nodes) > 0 {
		return &e.illegal
	}
	for _, slot := range g.Outputs() {
		if err := e.output(slot, layout); err != nil {
			return err
		}
	}
	e.file.prune()
	e.nameTensors()
	return nil
}

// nameTensors gives each tensor that is a value of the model, in whatever order of axes, the value's name, and no other tensor such a
// name: what an interpreter shows can then be told by name. A quantized tensor has the name of what it stands for.
func (e *emitter) nameTensors() {
	want := map[*tensor]string{}
	taken := map[string]bool{}
	claim := func(views map[*ir.Value][]view) {
		for _, v := range slices.SortedFunc(maps.Keys(views), func(a, b *ir.Value) int { return strings.Compare(a.Name(), b.Name()) }) {
			if l := views[v]; len(l) > 0 && v.Name() != "" && l[0].t.data == nil && want[l[0].t] == "" && !taken[v.Name()] {
				want[l[0].t], taken[v.Name()] = v.Name(), true
			}
		}
	}
	for _, p := range append(slices.Clone(e.file.inputs), e.file.outputs...) {
		if want[p.tensor] == "" && !taken[p.name] {
			want[p.tensor], taken[p.name] = p.name, true
		}
	}
	claim(e.integers)
	claim(e.views)
	for v := range e.views { // names of values that are no tensors of their own are nobody's
		taken[v.Name()] = true
	}
	for _, t := range e.file.tensors {
		if want[t] != "" {
			t.name = want[t]
			continue
		}
		for base, n := t.name, 0; taken[t.name]; n++ {
			t.name = fmt.Sprintf("%s_%d", base, n)
		}
		taken[t.name] = true
	}
}

func (e *emitter) supported(n *ir.Node, f lowering) error {
	if op := n.Op(); f == nil || op.Domain != "" || n.Graph().Model().Function(op) != nil {
		return targets.Missing("there is no such operator", n)
	}
	return nil
}

// translate calls f; operands without a static shape or a type of the target end it.
func (e *emitter) translate(n *ir.Node, f lowering) error {
	e.err = nil
	moves := placers()
	for _, v := range n.Operands() {
		if v == nil {
			continue
		}
		if _, err := e.static(v); err != nil {
			return fmt.Errorf("operand %q: %w", v.Name(), err)
		}
		if d := e.facts.DType(v); !moves[n.Op().Type] && d.IsInt() && d.Bits() < 32 {
			return fmt.Errorf("operand %q: numbers of type %s, which the target computes with only where they have a scale", v.Name(), d)
		}
	}
	for _, v := range n.Results() {
		if v != nil && v.NumUses() > 0 && slices.Contains(e.shape(v), 0) {
			return errors.New("an empty result")
		}
	}
	if e.onIntegers(n, f) {
		return nil
	}
	if err := e.computable(n); err != nil {
		return err
	}
	if !n.Is("QuantizeLinear", "DequantizeLinear") {
		for _, v := range n.Operands() {
			e.unsigned(v)
		}
	}
	if e.wantsIntegers(n) {
		e.floats = append(e.floats, n)
	}
	if err := f(e, n); err != nil {
		return err
	}
	return e.err
}

// placers are the operators that take elements of any type, because they do not compute with them.
func placers() map[string]bool {
	return map[string]bool{
		"Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true, "Concat": true, "Split": true, "Slice": true, "Pad": true,
		"Gather": true, "Expand": true, "Tile": true, "DepthToSpace": true, "SpaceToDepth": true, "Identity": true, "Dropout": true, "Where": true, "Cast": true,
		"QuantizeLinear": true, "DequantizeLinear": true, "ConstantOfShape": true,
	}
}

// known reports whether nothing has to be computed: all results that are used are constants.
func (e *emitter) known(n *ir.Node) bool {
	for _, v := range n.Results() {
		if v != nil && v.NumUses() > 0 && e.constant(v) == nil {
			return false
		}
	}
	return true
}

func (e *emitter) blocked(n *ir.Node) bool {
	blocked := slices.ContainsFunc(n.Operands(), func(v *ir.Value) bool { return v != nil && e.failed[v] })
	if blocked {
		for _, v := range n.Results() {
			e.failed[v] = true
		}
	}
	return blocked
}

// constant is the value's contents if they are known: to the model, or because they were written already.
func (e *emitter) constant(v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	t := v.Const()
	if t == nil {
		t = e.facts.Known(v)
	}
	if t != nil && t.DType() == ir.Float16 {
		if w := e.wide[v]; w != nil {
			return w
		}
		w, err := widened(t)
		e.fail(err)
		e.wide[v] = w
		return w
	}
	if t != nil {
		return t
	}
	if e.dequantized[v] && e.region == nil {
		n := v.Node()
		if t := e.constant(n.Operand(0)); t != nil {
			if q, err := e.paramsOf(n); err == nil {
				if f, err := dequantize(t, q); err == nil {
					return ir.TensorOf(f, t.Shape()...)
				}
			}
		}
		return nil
	}
	if l := e.views[v]; len(l) > 0 && l[0].t.data != nil && slices.IsSorted(l[0].perm) {
		t := l[0].t
		dims, ok := e.facts.Shape(v).Ints()
		if ok {
			return ir.NewTensor(e.facts.DType(v), dims, t.data)
		}
	}
	return nil
}

// widened is a float16 tensor in 32 bits.
func widened(t *ir.Tensor) (*ir.Tensor, error) {
	h, err := ir.Elements[uint16](t)
	if err != nil {
		return t, err
	}
	f := make([]float32, len(h))
	for i, x := range h {
		f[i] = kernel.Float16ToFloat32(x)
	}
	return ir.TensorOf(f, t.Shape()...), nil
}

// static is the value's shape.
func (e *emitter) static(v *ir.Value) ([]int, error) {
	dims, ok := e.facts.Shape(v).Ints()
	if !ok {
		return nil, fmt.Errorf("its shape %v is not static; set-shape states that of the inputs", e.facts.Shape(v))
	}
	r := make([]int, len(dims))
	for i, d := range dims {
		r[i] = int(d)
	}
	return r, nil
}

// shape is static for operands, which have been checked, and results.
func (e *emitter) shape(v *ir.Value) []int {
	s, err := e.static(v)
	e.fail(err)
	return s
}

func (e *emitter) fail(err error) {
	if e.err == nil && err != nil {
		e.err = err
	}
}

// typ is the target's type for a value's elements.
func (e *emitter) typ(v *ir.Value) elementType {
	t, err := typeOf(e.facts.DType(v))
	e.fail(err)
	if e.region != nil && t == typeFloat32 {
		return typeInt8
	}
	return t
}

func typeOf(d ir.DType) (elementType, error) {
	switch d {
	case ir.Float32, ir.Float16: // which is computed in 32 bits
		return typeFloat32, nil
	case ir.Int32:
		return typeInt32, nil
	case ir.Int64:
		return typeInt64, nil
	case ir.Bool:
		return typeBool, nil
	case ir.Int8:
		return typeInt8, nil
	case ir.Uint8:
		return typeUint8, nil
	case ir.Int16:
		return typeInt16, nil
	}
	return 0, fmt.Errorf("elements of type %s", d)
}

// name is a name that no tensor has.
func (e *emitter) name(base string) string {
	if base == "" {
		base = "t"
	}
	n := e.names[base]
	e.names[base]++
	if n == 0 {
		return base
	}
	return e.name(fmt.Sprintf("%s_%d", base, n))
}

// tensor makes one for results.
func (e *emitter) tensor(base string, t elementType, shape []int) *tensor {
	r := &tensor{name: e.name(base), typ: t, shape: shape}
	e.file.tensors = append(e.file.tensors, r)
	return r
}

// ints makes a constant vector of int32.
func (e *emitter) ints(v ...int) *tensor {
	w := make([]int32, len(v))
	for i, x := range v {
		w[i] = int32(x)
	}
	return e.literal("const", typeInt32, []int{len(v)}, ir.AsBytes(w))
}

// scalar makes a constant without dimensions.
func (e *emitter) scalar(v float32) *tensor {
	return e.literal("const", typeFloat32, []int{}, ir.AsBytes([]float32{v}))
}

// literal makes a constant, or takes an equal small one.
func (e *emitter) literal(base string, t elementType, shape []int, data []byte) *tensor {
	if len(data) <= 64 {
		for _, u := range e.file.tensors {
			if u.data != nil && u.quant == nil && u.typ == t && slices.Equal(u.shape, shape) && slices.Equal(u.data, data) {
				return u
			}
		}
	}
	r := e.tensor(base, t, shape)
	r.data = data
	return r
}

// op appends an operation with one result of the given shape.
func (e *emitter) op(code opcode, base string, t elementType, shape []int, o options, in ...*tensor) *tensor {
	out := e.tensor(base, t, shape)
	if t == typeInt8 || t == typeUint8 { // as the operand that is no constant, unless a region ends here
		for _, u := range in {
			if u != nil && u.typ == t && u.quant != nil && u.data == nil {
				out.quant = u.quant
				break
			}
		}
	}
	e.file.ops = append(e.file.ops, &operation{code: code, version: versionOf(code), in: in, out: []*tensor{out}, options: o})
	return out
}

// define states where v lies.
func (e *emitter) define(v *ir.Value, t *tensor, perm []int) {
	switch {
	case e.region != nil && v == e.region.last:
		e.finish(t, perm)
	case e.region != nil && e.dequantized[v]:
		e.integers[v] = append(e.integers[v], view{t, perm})
		e.journal = append(e.journal, logged{v, true})
	default:
		e.views[v] = append(e.views[v], view{t, perm})
		e.journal = append(e.journal, logged{v, false})
	}
}

// placed are the views of v: in a region, those on integers where it has such.
func (e *emitter) placed(v *ir.Value) []view {
	if e.region != nil && e.dequantized[v] {
		return e.integers[v]
	}
	return e.views[v]
}

// result appends an operation that computes the first result of n in the given order of axes.
func (e *emitter) result(n *ir.Node, code opcode, perm []int, o options, in ...*tensor) {
	v := n.Result(0)
	e.define(v, e.op(code, v.Name(), e.typ(v), permuted(e.shape(v), perm), o, in...), perm)
}

func (e *emitter) input(slot *ir.Slot, layout string) {
	v := slot.Value()
	e.err = nil
	shape, t := e.shape(v), e.typ(v)
	s := e.facts.Shape(v)
	if _, ok := s.Ints(); !ok {
		e.err = targets.NotStatic(slot, s)
	}
	if e.err != nil {
		e.illegal.Nodes = append(e.illegal.Nodes, targets.IllegalNode{Name: slot.Name(), Op: ir.Op("input"), Why: e.err.Error()})
		e.failed[v] = true
		return
	}
	perm := identity(len(shape))
	if layout == layoutNHWC && len(shape) == 4 && e.spatialUses(v, 8) {
		perm = channelsLast(4)
	}
	x := e.tensor(slot.Name(), t, permuted(shape, perm))
	e.file.inputs = append(e.file.inputs, port{slot.Name(), x})
	e.define(v, x, perm)
	e.tell("input", slot.Name(), x.shape, perm)
	if e.facts.DType(v) == ir.Float16 {
		e.halves = append(e.halves, slot.Name())
	}
}

func (e *emitter) tell(what, name string, shape, perm []int) {
	if !slices.IsSorted(perm) {
		e.file.layouts = append(e.file.layouts, layoutNote{what, name, shape, perm})
	}
}

// spatialUses reports whether all that reads v, through elementwise operators, wants channels last.
func (e *emitter) spatialUses(v *ir.Value, depth int) bool {
	some := false
	for u := range v.Uses() {
		n := u.Node
		switch {
		case n.IsReturn():
			return false
		case n.Is("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "DepthToSpace", "SpaceToDepth", "BatchNormalization"):
			some = true
		case depth > 0 && n.Is("Mul", "Add", "Sub", "Div", "Relu", "Clip", "Pad", "Slice", "Concat", "Cast", "Identity") && e.spatialUses(n.Result(0), depth-1):
			some = true
		default:
			return false
		}
	}
	return some
}

func (e *emitter) output(slot *ir.Slot, layout string) error {
	e.err = nil
	v := slot.Value()
	shape := e.shape(v)
	if e.err != nil {
		return fmt.Errorf("output %q: %w", slot.Name(), e.err)
	}
	if slices.Contains(shape, 0) {
		return fmt.Errorf("output %q is empty", slot.Name())
	}
	e.unsigned(v)
	perm := identity(len(shape))
	if w := e.view(v); layout == layoutNHWC && len(shape) == 4 && slices.Equal(w.perm, channelsLast(4)) {
		perm = w.perm
	}
	t := e.as(v, perm)
	if e.err != nil {
		return fmt.Errorf("output %q: %w", slot.Name(), e.err)
	}
	if t.data != nil || slices.ContainsFunc(e.file.inputs, func(p port) bool { return p.tensor == t }) || slices.ContainsFunc(e.file.outputs, func(p port) bool { return p.tensor == t }) {
		t = e.op(opReshape, slot.Name(), t.typ, t.shape, options{}, t, e.ints(t.shape...)) // outputs are computed, each for itself
	}
	e.file.outputs = append(e.file.outputs, port{slot.Name(), t})
	e.tell("output", slot.Name(), t.shape, perm)
	return nil
}
