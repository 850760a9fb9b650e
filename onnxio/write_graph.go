package onnxio

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// indexed is a field and its place among those of its number in the source; what was made since has the last.
type indexed struct {
	index int
	rope  wire.Rope
}

// inOrder sorts fields by their places in the source.
func inOrder(fs []indexed) []wire.Rope {
	slices.SortStableFunc(fs, func(a, b indexed) int { return cmp.Compare(a.index, b.index) })
	r := make([]wire.Rope, len(fs))
	for i, f := range fs {
		r[i] = f.rope
	}
	return r
}

// graphWriter collects the fields of one graph.
type graphWriter struct {
	*writer
	g       *ir.Graph
	x       *graphExtra
	k       graphFields
	nodes   []wire.Rope
	inits   []indexed
	sparses []indexed
	listed  []indexed // inputs that list initializers
	infos   []indexed
	quants  []indexed
	fresh   []wire.Rope // inputs that list new initializers
}

// graph is a GraphProto as field num.
func (w *writer) graph(num wire.Num, g *ir.Graph) (wire.Rope, error) {
	m, x, err := w.graphMessage(g)
	if err != nil {
		return wire.Rope{}, err
	}
	if x.field.Raw == nil && x.field.Body == nil || g.Name() != x.name {
		m.Str(graphName, g.Name())
	}
	putMeta(m, graphDoc, graphProps, g.Meta, x.meta)
	return wire.Sub(num, m.Rope(), x.field), nil
}

// graphMessage lays out what graphs and functions have in common.
func (w *writer) graphMessage(g *ir.Graph) (*wire.Message, *graphExtra, error) {
	x := extraOf[graphExtra](g.Extra)
	if x == nil {
		x = &graphExtra{}
	}
	c := &graphWriter{writer: w, g: g, x: x, k: fieldsOf(g.IsBody())}
	for _, step := range []func() error{c.consts, c.allNodes, c.values} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	c.unbound()
	m := wire.NewMessage(x.field.Body)
	m.Set(c.k.nodes, c.nodes...)
	m.Set(c.k.info, inOrder(c.infos)...)
	if g.IsBody() {
		c.interfaceNames(m)
		return m, x, nil
	}
	m.Set(graphInputs, c.inputs()...)
	m.Set(graphOutputs, c.outputs()...)
	m.Set(graphInits, inOrder(c.inits)...)
	m.Set(graphSparse, inOrder(c.sparses)...)
	m.Set(graphQuant, inOrder(c.quants)...)
	return m, x, nil
}

// interfaceNames declares the interface of a function, which is a list of names.
func (c *graphWriter) interfaceNames(m *wire.Message) {
	var ins, outs []string
	for _, s := range c.g.Inputs() {
		ins = append(ins, c.names.Value(s.Value()))
	}
	for _, s := range c.g.Outputs() {
		outs = append(outs, c.names.Slot(s))
	}
	m.Strs(functionInputs, ins)
	m.Strs(functionOutputs, outs)
}

// last is the place of what was made since reading.
const last = math.MaxInt

// consts collects initializers and defaults of inputs, and makes Constant nodes where the graph cannot have initializers.
func (c *graphWriter) consts() error {
	for _, s := range c.g.Inputs() {
		if t := s.Value().Default(); t != nil {
			if c.irVersion < 4 {
				return fmt.Errorf("%s: input %q has a default, which needs IR version 4", c.g.Path(), s.Name())
			}
			if err := c.init(s.Value(), t); err != nil {
				return err
			}
		}
	}
	for _, v := range c.g.Consts() {
		e := extraOf[valueExtra](v.Extra)
		isNew := e == nil || e.init == nil
		if c.asNode(c.g, v) {
			r, err := c.constantNode(v)
			if err != nil {
				return err
			}
			c.nodes = append(c.nodes, r)
			continue
		}
		if err := c.init(v, v.Const()); err != nil {
			return err
		}
		switch {
		case c.irVersion >= 4:
		case isNew:
			c.fresh = append(c.fresh, infoRope(graphInputs, wire.Field{}, c.names.Value(v), v.Type(), nil, v.Meta, nil))
		case e.listed != nil:
			l := e.listed
			c.listed = append(c.listed, indexed{l.index, infoRope(graphInputs, l.field, c.names.Value(v), l.typ, l.typ, l.meta, l.meta)})
		}
	}
	return nil
}

// init adds the initializer of v.
func (c *graphWriter) init(v *ir.Value, t *ir.Tensor) error {
	i := initExtra{index: last}
	if e := extraOf[valueExtra](v.Extra); e != nil && e.init != nil {
		i = *e.init
	}
	name := c.names.Value(v)
	if sparseOf(t) != nil {
		r, err := c.sparse(graphSparse, t, name, i.field)
		if !i.sparse {
			i.index = last
		}
		c.sparses = append(c.sparses, indexed{i.index, r})
		return err
	}
	r, err := c.tensor(graphInits, t, name, i.field, true)
	if i.sparse {
		i.index = last
	}
	c.inits = append(c.inits, indexed{i.index, r})
	return err
}

// constantNode is a constant as a node, for graphs without initializers.
func (c *graphWriter) constantNode(v *ir.Value) (wire.Rope, error) {
	a, err := c.attr(nodeAttrs, ir.TensorAttr("value", v.Const()))
	if err != nil {
		return a, err
	}
	m := wire.NewMessage(nil)
	m.Strs(nodeOutputs, []string{c.names.Value(v)})
	m.Str(nodeOp, "Constant")
	m.Set(nodeAttrs, a)
	return wire.Sub(c.k.nodes, m.Rope(), wire.Field{}), nil
}

// allNodes collects the nodes in their order, and the Identity nodes of outputs among them.
func (c *graphWriter) allNodes() error {
	for n, i := range c.names.Nodes(c.g) {
		if n != nil {
			if err := c.nodeOrInit(n); err != nil {
				return err
			}
			continue
		}
		r, err := c.identity(i)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, r)
	}
	return nil
}

// nodeOrInit adds a node, or the initializer that a Constant node becomes.
func (c *graphWriter) nodeOrInit(n *ir.Node) error {
	if c.data != nil && c.data.hoist[n] {
		return c.init(n.Result(0), n.Attr("value").Tensor())
	}
	r, err := c.node(c.k.nodes, n)
	c.nodes = append(c.nodes, r)
	return err
}

// identity is the Identity node that gives an output its name, as it was in the source if it was there.
func (c *graphWriter) identity(i *naming.Identity) (wire.Rope, error) {
	var x nodeExtra
	var name string
	var meta *ir.Meta
	found := false
	if k, ok := i.Slot.Extra.(keep.Identity); ok {
		name, meta, _, found = k.Identity()
	}
	m := wire.NewMessage(nil)
	if e := extraOf[slotExtra](i.Slot.Extra); found && e != nil {
		x = e.identity.nodeExtra
		m = wire.NewMessage(x.field.Body)
	} else {
		m.Str(nodeName, name)
		putMeta(m, nodeDoc, nodeProps, meta, nil)
	}
	if have, need := c.opset(c.g), identityOpset(i.Value.Type()); !found && have < need {
		return wire.Rope{}, fmt.Errorf("%s: output %q needs an Identity of a value of type %s, which opset %d of the default domain does not have",
			c.g.Path(), i.Slot.Name(), i.Value.Type(), have)
	}
	m.Strs(nodeInputs, []string{c.names.Value(i.Value)})
	m.Strs(nodeOutputs, []string{i.Name})
	m.Str(nodeOp, "Identity")
	return wire.Sub(c.k.nodes, m.Rope(), x.field), nil
}

// identityOpset is the opset from which on Identity takes values of type t.
func identityOpset(t *ir.Type) int64 {
	if t != nil && t.Kind == ir.KindSequence {
		return 14
	}
	if t != nil && t.Kind == ir.KindOptional {
		return 16
	}
	return 1
}

// inputs lists the inputs, with the initializers that old files list among them at their places.
func (c *graphWriter) inputs() []wire.Rope {
	var r []wire.Rope
	slices.SortStableFunc(c.listed, func(a, b indexed) int { return cmp.Compare(a.index, b.index) })
	listed := c.listed
	for _, s := range c.g.Inputs() {
		x := extraOf[slotExtra](s.Extra)
		if x == nil {
			x = &slotExtra{}
		}
		for len(listed) > 0 && x.field.Raw != nil && listed[0].index < x.index {
			r = append(r, listed[0].rope)
			listed = listed[1:]
		}
		r = append(r, infoRope(graphInputs, x.field, c.names.Value(s.Value()), s.Type(), x.typ, s.Meta, x.meta))
	}
	for _, l := range listed {
		r = append(r, l.rope)
	}
	return append(r, c.fresh...)
}

func (c *graphWriter) outputs() []wire.Rope {
	var r []wire.Rope
	for _, s := range c.g.Outputs() {
		x := extraOf[slotExtra](s.Extra)
		if x == nil {
			x = &slotExtra{}
		}
		r = append(r, infoRope(graphOutputs, x.field, c.names.Slot(s), s.Type(), x.typ, s.Meta, x.meta))
	}
	return r
}
