package rewrite

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Match is a place where a pattern fits. It is valid until the rule's Replace returns. Names that the pattern does not have
// make its methods panic.
type Match struct {
	// Keep is for the rule alone: what Where has computed and Replace needs.
	Keep any

	rule       *Rule
	tree       *tree
	nodes      []*ir.Node
	swapped    []bool // operands 0 and 1 of the node matched in the other order
	bindings   []binding
	attrs      []*ir.Attr
	attrsBound []bool
	known      func() (*facts.Facts, error)
	err        error
}

func newMatch(d *driver, r *Rule, t *tree) *Match {
	return &Match{
		rule: r, tree: t, known: d.known,
		nodes:      make([]*ir.Node, len(t.nodes)),
		swapped:    make([]bool, len(t.nodes)),
		bindings:   make([]binding, len(t.captures)),
		attrs:      make([]*ir.Attr, len(t.attrs)),
		attrsBound: make([]bool, len(t.attrs)),
	}
}

func (m *Match) ref(name string) nameRef {
	r, ok := m.tree.names[name]
	if !ok {
		panic("rewrite: the pattern of rule " + m.rule.Name + " has no " + name)
	}
	return r
}

// Value is the value of that name: a captured operand or a result. It is nil for an optional operand that is omitted.
func (m *Match) Value(name string) *ir.Value {
	if r := m.ref(name); r.capture < 0 {
		return m.nodes[r.node].Result(r.result)
	} else {
		return m.bindings[r.capture].value
	}
}

// Values are the operands that a variadic capture stands for; nil stands for an omitted one.
func (m *Match) Values(name string) []*ir.Value { return m.bindings[m.ref(name).capture].list }

// Node is the matched node that has the result of that name.
func (m *Match) Node(result string) *ir.Node {
	r := m.ref(result)
	if r.capture >= 0 {
		panic("rewrite: " + result + " is an operand in the pattern of rule " + m.rule.Name)
	}
	return m.nodes[r.node]
}

// Root is the node at which the match is named: the last of the pattern.
func (m *Match) Root() *ir.Node { return m.nodes[len(m.nodes)-1] }

// Has reports whether the alternative that matched has that name and, for an optional operand, that it is there.
func (m *Match) Has(name string) bool {
	r, ok := m.tree.names[name]
	return ok && (r.capture < 0 || m.bindings[r.capture].value != nil)
}

// Const is the value's tensor if it is a constant, else nil.
func (m *Match) Const(name string) *ir.Tensor { return m.Value(name).Const() }

// Attr is a captured attribute, stated or by default; nil if it is absent and has no default. Its accessors are safe on nil.
func (m *Match) Attr(name string) *ir.Attr {
	for i, s := range m.tree.attrs {
		if s == name {
			return m.attrs[i]
		}
	}
	panic("rewrite: the pattern of rule " + m.rule.Name + " has no @" + name)
}

// Type is what is known of the value's type: recorded or inferred. nil if nothing is.
func (m *Match) Type(name string) *ir.Type { return m.TypeOf(m.Value(name)) }

// TypeOf is Type for any value of the model.
func (m *Match) TypeOf(v *ir.Value) *ir.Type {
	if v == nil {
		return nil
	}
	f, err := m.known()
	if err != nil {
		m.Fail(err)
		return nil
	}
	return f.Type(v)
}

// DType is the value's element type, Undefined if it is not known.
func (m *Match) DType(name string) ir.DType { return m.Type(name).DType() }

// Shape is the value's shape, nil if its rank is not known.
func (m *Match) Shape(name string) ir.Shape { return m.Type(name).TensorShape() }

// SameShape reports whether two values surely have the same shape. Unlike a comparison of Shape, it knows sizes that the model
// has no name for.
func (m *Match) SameShape(x, y string) bool {
	f, err := m.known()
	m.Fail(err)
	return err == nil && f.SameShape(m.Value(x), m.Value(y))
}

// Dims are the value's dimensions as expressions, those that the model has no name for included; ok is false if the rank is not known.
func (m *Match) Dims(name string) (dims []infer.Int, ok bool) { return m.DimsOf(m.Value(name)) }

// DimsOf is Dims for any value of the model.
func (m *Match) DimsOf(v *ir.Value) (dims []infer.Int, ok bool) {
	f, err := m.known()
	m.Fail(err)
	if err != nil {
		return nil, false
	}
	return f.Dims(v)
}

// IntsOf are the elements of a small tensor of integers as expressions, if anything is known of them; see facts.Facts.Ints.
func (m *Match) IntsOf(v *ir.Value) (elements []infer.Int, ok bool) {
	f, err := m.known()
	m.Fail(err)
	if err != nil || v == nil {
		return nil, false
	}
	return f.Ints(v)
}

// Opset is the version of the domain that is in force at the match.
func (m *Match) Opset(domain string) int64 { return m.Root().Graph().Opset(domain) }

// Supports reports whether the operator set in force at the match has that operator of the default domain.
func (m *Match) Supports(op string) bool {
	s := schema.Lookup(ir.Op(op), m.Opset(""))
	return s != nil && !s.Deprecated()
}

// Fail records an error of the data, such as a payload that cannot be read. It ends the pass; nil is ignored. A condition that
// does not hold is no failure: Where returns it.
func (m *Match) Fail(err error) {
	if m.err == nil {
		m.err = err
	}
}
