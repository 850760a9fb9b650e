package onnxio

import (
	"cmp"
	"fmt"
	"math"
	"slices"

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
	outs    []outputName
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
	var err error
	if c.outs, err = w.names.graph(g); err != nil {
		return nil, nil, err
	}
	for _, step := range []func() error{c.consts, c.allNodes, c.values} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	for _, u := range x.unbound {
		if v := w.names.taken[g][u.name]; v != nil && sourceName(v) != u.name {
			continue // somebody else has the name now
		}
		if u.num == c.k.info {
			c.infos = append(c.infos, indexed{u.index, wire.Of(u.field.Raw)})
		} else {
			c.quants = append(c.quants, indexed{u.index, wire.Of(u.field.Raw)})
		}
	}
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
		ins = append(ins, c.names.of(s.Value()))
	}
	for _, o := range c.outs {
		outs = append(outs, o.name)
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
		if c.g.IsBody() || isNew && c.irVersion < 4 && c.g.Outer() != nil {
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
			c.fresh = append(c.fresh, infoRope(graphInputs, wire.Field{}, c.names.of(v), v.Type(), nil, nil, nil))
		case e.listed != nil:
			l := e.listed
			c.listed = append(c.listed, indexed{l.index, infoRope(graphInputs, l.field, c.names.of(v), l.typ, l.typ, l.meta, l.meta)})
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
	name := c.names.of(v)
	if isSparse(t) {
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
	if c.g.Opset("") == 0 {
		return wire.Rope{}, fmt.Errorf("%s: a constant needs the default operator set, which is not imported", c.g.Path())
	}
	a, err := c.attr(nodeAttrs, ir.TensorAttr("value", v.Const()))
	if err != nil {
		return a, err
	}
	m := wire.NewMessage(nil)
	m.Strs(nodeOutputs, []string{c.names.of(v)})
	m.Str(nodeOp, "Constant")
	m.Set(nodeAttrs, a)
	return wire.Sub(c.k.nodes, m.Rope(), wire.Field{}), nil
}

// allNodes collects the nodes in their derived order, and the Identity nodes of outputs among them: at their place in the source,
// but not before what they copy.
func (c *graphWriter) allNodes() error {
	type pending struct {
		pos int64
		of  *ir.Node // what has to come first; nil if nothing in this graph
		r   wire.Rope
	}
	var ids []pending
	for i, o := range c.outs {
		if !o.identity {
			continue
		}
		slot := c.g.Outputs()[i]
		v := slot.Value()
		r, pos, err := c.identity(slot, v, o.name)
		if err != nil {
			return err
		}
		p := pending{pos: pos, r: r}
		if v.Graph() == c.g {
			p.of = v.Node()
		}
		ids = append(ids, p)
	}
	slices.SortStableFunc(ids, func(a, b pending) int { return cmp.Compare(a.pos, b.pos) })
	var held map[*ir.Node][]wire.Rope // past their place, waiting for their operand
	done := map[*ir.Node]bool{}
	for n := range c.g.Nodes() {
		for len(ids) > 0 && ids[0].pos < n.Pos() {
			if p := ids[0]; p.of == nil || done[p.of] {
				c.nodes = append(c.nodes, p.r)
			} else {
				if held == nil {
					held = map[*ir.Node][]wire.Rope{}
				}
				held[p.of] = append(held[p.of], p.r)
			}
			ids = ids[1:]
		}
		if err := c.nodeOrInit(n); err != nil {
			return err
		}
		c.nodes = append(c.nodes, held[n]...)
		if len(ids) > 0 {
			done[n] = true
		}
	}
	for _, p := range ids {
		c.nodes = append(c.nodes, p.r)
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
func (c *graphWriter) identity(slot *ir.Slot, v *ir.Value, name string) (r wire.Rope, pos int64, err error) {
	x, pos := nodeExtra{}, int64(math.MaxInt64)
	if e := extraOf[slotExtra](slot.Extra); e != nil && e.identity != nil {
		x, pos = e.identity.nodeExtra, e.identity.pos
	} else if have, need := c.g.Opset(""), identityOpset(v.Type()); have < need {
		return r, 0, fmt.Errorf("%s: output %q needs an Identity of a value of type %s, which opset %d of the default domain does not have",
			c.g.Path(), slot.Name(), v.Type(), have)
	}
	m := wire.NewMessage(x.field.Body)
	m.Strs(nodeInputs, []string{c.names.of(v)})
	m.Strs(nodeOutputs, []string{name})
	m.Str(nodeOp, "Identity")
	return wire.Sub(c.k.nodes, m.Rope(), x.field), pos, nil
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

// values collects value_info and quantization_annotation.
func (c *graphWriter) values() error {
	outs := make(map[string]bool, len(c.outs))
	for _, o := range c.outs {
		outs[o.name] = true
	}
	for _, s := range c.g.Inputs() {
		c.value(s.Value(), outs, false)
	}
	for _, v := range c.g.Consts() {
		c.value(v, outs, false)
	}
	for n := range c.g.Nodes() {
		// Types of what was made here are written where nothing else could tell them: in new graphs, and of operators that
		// only their own runtime knows.
		own := c.x.field.Body == nil || n.Extra == nil && n.Op().Domain != ""
		for _, v := range n.Results() {
			if v != nil {
				c.value(v, outs, own)
			}
		}
	}
	return nil
}

func (c *graphWriter) value(v *ir.Value, outs map[string]bool, always bool) {
	e := extraOf[valueExtra](v.Extra)
	name := c.names.of(v)
	switch {
	case e != nil && e.info != nil:
		if name != e.name && outs[name] || v.Type() == nil && e.info.typ != nil {
			break // the output states the type; or it is known no more
		}
		i := e.info
		if name == e.name && sameType(v.Type(), i.typ) && v.Meta == i.meta {
			c.infos = append(c.infos, indexed{i.index, wire.Of(i.field.Raw)})
			break
		}
		c.infos = append(c.infos, indexed{i.index, infoRope(c.k.info, i.field, name, v.Type(), i.typ, v.Meta, i.meta)})
	case always && v.Type() != nil && !outs[name]:
		c.infos = append(c.infos, indexed{last, infoRope(c.k.info, wire.Field{}, name, v.Type(), nil, v.Meta, nil)})
	}
	if e != nil {
		for _, a := range e.quant {
			if r, ok := c.annotation(a, name); ok {
				c.quants = append(c.quants, indexed{a.index, r})
			}
		}
	}
}

// annotation is a TensorAnnotation with the names as they are now; not ok if a tensor that it refers to is gone.
func (c *graphWriter) annotation(a annotation, name string) (wire.Rope, bool) {
	m := wire.NewMessage(a.field.Body)
	m.Str(quantTensor, name)
	ok := true
	var items []wire.Rope
	for f := range wire.Fields(a.field.Body) {
		if f.Num != quantParameters || !f.IsBytes() {
			continue
		}
		r := wire.Rename(f.Body, func(s string) string {
			if !slices.Contains(a.bound, s) {
				return s
			}
			v := c.bySource(c.g, s)
			ok = ok && v != nil
			return c.names.of(v)
		}, entryValue)
		items = append(items, wire.Sub(quantParameters, r, f))
	}
	m.Set(quantParameters, items...)
	return wire.Sub(graphQuant, m.Rope(), a.field), ok
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
		r = append(r, infoRope(graphInputs, x.field, c.names.of(s.Value()), s.Type(), x.typ, s.Meta, x.meta))
	}
	for _, l := range listed {
		r = append(r, l.rope)
	}
	return append(r, c.fresh...)
}

func (c *graphWriter) outputs() []wire.Rope {
	var r []wire.Rope
	for i, s := range c.g.Outputs() {
		x := extraOf[slotExtra](s.Extra)
		if x == nil {
			x = &slotExtra{}
		}
		r = append(r, infoRope(graphOutputs, x.field, c.outs[i].name, s.Type(), x.typ, s.Meta, x.meta))
	}
	return r
}
