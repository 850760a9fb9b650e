package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// Builder makes the nodes and constants of a replacement, in the graph of the match and at the place of its root.
type Builder struct {
	m    *Match
	near *ir.Node
	g    *ir.Graph

	failed  error // of the data
	refused error // an operator does not exist here
}

func newBuilder(m *Match) *Builder { return &Builder{m: m, near: m.Root(), g: m.Root().Graph()} }

// Fail ends the replacement with an error of the data, such as a payload that cannot be read: everything made so far is
// taken back and the pass ends with err. A rule that merely does not apply says so in Where.
func (b *Builder) Fail(err error) {
	if b.failed == nil {
		b.failed = err
	}
}

// refuse notes why the replacement cannot be.
func (b *Builder) refuse(format string, args ...any) {
	if b.refused == nil {
		b.refused = fmt.Errorf(format, args...)
	}
}

// Op makes a node with one result and returns that. op is spelled as in the textual syntax: "Add", "com.microsoft.Gelu". nil
// operands are omitted ones; nil attributes are left out. If the operator does not exist in the opset in force, the rule is not
// applied.
func (b *Builder) Op(op string, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	return b.Node(op, in, 1, attrs...).Result(0)
}

// Node is Op for a chosen number of results.
func (b *Builder) Node(op string, in []*ir.Value, results int, attrs ...*ir.Attr) *ir.Node {
	id := ir.Op(op)
	if i := strings.LastIndexByte(op, '.'); i >= 0 {
		id = ir.OpID{Domain: ir.Domain(op[:i]), Type: op[i+1:]}
	}
	return b.node(id, in, results, attrs)
}

// Like makes a node like n with other operands: the same operator, name and attributes, except those that are given. It
// returns its first result.
func (b *Builder) Like(n *ir.Node, in []*ir.Value, attrs ...*ir.Attr) *ir.Value {
	list := slices.Clone(attrs)
	for _, a := range n.Attrs() {
		if len(a.Graphs()) > 0 {
			panic("rewrite: Like of a node with subgraphs")
		}
		if !slices.ContainsFunc(attrs, func(x *ir.Attr) bool { return x != nil && x.Name == a.Name }) {
			list = append(list, a)
		}
	}
	c := b.node(n.Op(), in, 1, list)
	c.SetName(n.Name())
	c.SetMeta(n.Meta())
	return c.Result(0)
}

func (b *Builder) node(op ir.OpID, in []*ir.Value, results int, attrs []*ir.Attr) *ir.Node {
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	attrs = slices.DeleteFunc(slices.Clone(attrs), func(a *ir.Attr) bool { return a == nil })
	version := b.g.Opset(op.Domain)
	if s := schema.Lookup(op, version); schema.Complete(op.Domain) && s == nil || s != nil && s.Deprecated() {
		b.refuse("opset %d has no operator %s", version, op)
	} else if version == 0 {
		b.refuse("domain %q of operator %s is not imported", op.Domain, op)
	}
	return b.g.NewN(b.near, op, in, results, attrs...)
}

// Import makes sure that a domain is imported where the match is, in the given version if it is not yet.
func (b *Builder) Import(domain string, version int64) {
	if b.g.Opset(domain) != 0 {
		return
	}
	if f := b.g.Function(); f != nil {
		f.SetOpset(domain, version)
	} else {
		b.g.Model().SetOpset(domain, version)
	}
}

// Const makes a constant. name is a hint and may be empty. In a nested graph it counts only if it is the name of an operand of the match
// that is defined there, too: a name of an enclosing graph must not be hidden, since ONNX Runtime takes the outer value.
func (b *Builder) Const(name string, t *ir.Tensor) *ir.Value {
	if b.g.Outer() != nil && !b.local(name) {
		name = ""
	}
	return b.g.NamedConst(name, t)
}

// local reports whether an operand of the match that b's graph defines has that name.
func (b *Builder) local(name string) bool {
	for _, n := range b.m.nodes {
		for _, v := range n.Operands() {
			if v != nil && v.Graph() == b.g && v.Name() == name {
				return true
			}
		}
	}
	return false
}

// Ints makes a constant vector of integers, as operands such as axes and shapes take it.
func (b *Builder) Ints(name string, v ...int64) *ir.Value {
	if v == nil {
		v = []int64{}
	}
	return b.Const(name, ir.TensorOf(v))
}
