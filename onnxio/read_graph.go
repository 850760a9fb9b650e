package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/naming"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// maxGraphDepth bounds how deep subgraphs nest. C++ readers stop at about 33.
const maxGraphDepth = 64

// graphParts are the fields of a graph that are read after its nodes.
type graphParts struct {
	inputs, outputs, inits, sparse, infos, quants []wire.Field
}

// subgraph reads the graph of an attribute.
func (rd *reader) subgraph(sc *scope, f wire.Field, path string) (*ir.Graph, error) {
	depth := 0
	if sc != nil {
		depth = sc.depth + 1
	}
	if depth > maxGraphDepth {
		return nil, wire.Errorf(f.Raw, "subgraphs nest more than %d deep", maxGraphDepth)
	}
	var g *ir.Graph
	if sc == nil {
		g = rd.m.NewGraph("")
	} else {
		g = sc.g.NewSubgraph("")
	}
	return g, rd.graph(&scope{g: g, outer: sc, path: path, depth: depth}, f)
}

// graph reads a GraphProto, or the graph part of a FunctionProto, into sc.g.
func (rd *reader) graph(sc *scope, f wire.Field) error {
	k := fieldsOf(sc.g.IsBody())
	x := &graphExtra{field: f}
	sc.g.Extra = x
	var parts graphParts
	n := 0
	for f, err := range wire.Fields(f.Body) {
		if err != nil {
			return err
		}
		if f.Num == k.nodes {
			n++
		}
	}
	sc.names = make(map[string]*ir.Value, n)
	err := rd.interfaceAndConsts(sc, x, f.Body, k, &parts)
	if err != nil {
		return err
	}
	if err := rd.nodes(sc, f.Body, k); err != nil {
		return err
	}
	if err := rd.resolve(sc); err != nil {
		return err
	}
	if err := rd.outputs(sc, parts.outputs); err != nil {
		return err
	}
	for i, f := range parts.infos {
		if err := rd.valueInfo(sc, x, i, f); err != nil {
			return wire.In(err, fmt.Sprintf("value_info[%d]", i))
		}
	}
	if k := len(x.unbound); k > 0 {
		rd.remark("%s: value_info that names no value of its own is kept as it is: %q, %d in all", sc.g.Path(), x.unbound[0].name, k)
	}
	for i, f := range parts.quants {
		if err := rd.annotation(sc, x, i, f); err != nil {
			return wire.In(err, fmt.Sprintf("quantization_annotation[%d]", i))
		}
	}
	if sc.unsorted {
		rd.remark("%s: the nodes were not in order and have been sorted", sc.g.Path())
		if err := sc.ordered(); err != nil {
			return err
		}
	}
	x.shadows = sc.shadows
	naming.Absorb(sc.g, func(s *ir.Slot, n *ir.Node) { absorbed(x, s, n) })
	return nil
}

// interfaceAndConsts sorts the fields and reads inputs and initializers, whatever their order in the file.
func (rd *reader) interfaceAndConsts(sc *scope, x *graphExtra, b []byte, k graphFields, parts *graphParts) error {
	for f, err := range wire.Fields(b) {
		if err != nil {
			return err
		}
		if !f.IsBytes() {
			continue
		}
		switch f.Num {
		case k.inputs:
			parts.inputs = append(parts.inputs, f)
		case k.outputs:
			parts.outputs = append(parts.outputs, f)
		case k.info:
			parts.infos = append(parts.infos, f)
		case k.inits:
			parts.inits = append(parts.inits, f)
		case k.sparse:
			parts.sparse = append(parts.sparse, f)
		case k.quant:
			parts.quants = append(parts.quants, f)
		case graphName:
			if !sc.g.IsBody() {
				x.name = string(f.Body)
				sc.g.SetName(x.name)
			}
		}
	}
	if !sc.g.IsBody() {
		m, err := meta(b, graphDoc, graphProps)
		if err != nil {
			return err
		}
		x.meta, sc.g.Meta = m, m
	}
	consts, err := rd.consts(parts)
	if err != nil {
		return err
	}
	if err := rd.inputs(sc, parts.inputs, consts); err != nil {
		return err
	}
	for _, c := range consts {
		if c.value != nil { // the default of an input, or listed
			continue
		}
		v := sc.g.NamedConst(c.name, c.tensor)
		v.Extra = &valueExtra{name: c.name, init: c.extra}
		if err := sc.define(c.name, v); err != nil {
			return wire.In(err, c.place())
		}
	}
	return nil
}

// constant is an initializer that was read.
type constant struct {
	name   string
	tensor *ir.Tensor
	extra  *initExtra
	value  *ir.Value // what it became, as far as that is known
}

func (c *constant) place() string {
	if c.extra.sparse {
		return fmt.Sprintf("sparse_initializer[%d]", c.extra.index)
	}
	return fmt.Sprintf("initializer[%d]", c.extra.index)
}

// consts reads the initializers, dense ones first.
func (rd *reader) consts(parts *graphParts) ([]*constant, error) {
	cs := make([]*constant, 0, len(parts.inits)+len(parts.sparse))
	for i, f := range parts.inits {
		c := &constant{extra: &initExtra{field: f, index: i}}
		t, err := rd.tensor(f.Body)
		if err != nil {
			return nil, wire.In(err, c.place())
		}
		c.name, c.tensor = t.Name(), t
		cs = append(cs, c)
	}
	for i, f := range parts.sparse {
		c := &constant{extra: &initExtra{field: f, index: i, sparse: true}}
		s, name, err := rd.sparse(f.Body)
		if err != nil {
			return nil, wire.In(err, c.place())
		}
		c.name, c.tensor = name, sparseConst(f.Body, s)
		cs = append(cs, c)
	}
	for _, c := range cs {
		if c.name == "" {
			return nil, wire.In(wire.Errorf(c.extra.field.Raw, "an initializer has no name"), c.place())
		}
	}
	return cs, nil
}

// inputs reads the inputs. One that an initializer has the name of is a constant below IR version 4 and with FreezeDefaults,
// and has a default otherwise.
func (rd *reader) inputs(sc *scope, fields []wire.Field, consts []*constant) error {
	byName := make(map[string]*constant, len(consts))
	for _, c := range consts {
		if byName[c.name] != nil {
			return wire.In(wire.Errorf(c.extra.field.Raw, "initializer %q is there twice", c.name), c.place())
		}
		byName[c.name] = c
	}
	frozen := rd.o.FreezeDefaults || rd.m.IRVersion < 4
	for i, f := range fields {
		elem := fmt.Sprintf("input[%d]", i)
		s, err := rd.slot(sc, f, i)
		if err != nil {
			return wire.In(err, elem)
		}
		c := byName[s.name]
		var v *ir.Value
		if c != nil && frozen {
			v = sc.g.NamedConst(s.name, c.tensor)
			v.Extra = &valueExtra{name: s.name, init: c.extra, listed: s}
		} else {
			if t := s.typ; sc.g == rd.m.Main && (t == nil || t.Kind == ir.KindNone || t.IsTensor() && t.Elem == ir.Undefined) {
				return wire.In(wire.Errorf(f.Raw, "input %q has no type", s.name), elem)
			}
			v = sc.g.AddInput(s.name, s.typ)
			slot := sc.g.Inputs()[len(sc.g.Inputs())-1]
			slot.Extra, slot.Meta = s, s.meta
			e := &valueExtra{name: s.name}
			v.Extra = e
			if c != nil {
				v.SetDefault(c.tensor)
				e.init = c.extra
			}
		}
		if c != nil {
			c.value = v
		}
		if err := sc.define(s.name, v); err != nil {
			return wire.In(err, elem)
		}
	}
	return nil
}

// slot reads an input or output: a ValueInfoProto, or in functions a name.
func (rd *reader) slot(sc *scope, f wire.Field, index int) (*slotExtra, error) {
	s := &slotExtra{field: f, index: index}
	if sc.g.IsBody() {
		s.name = string(f.Body)
	} else {
		i, err := rd.info(f.Body)
		if err != nil {
			return nil, err
		}
		s.name, s.typ, s.meta = i.name, i.typ, i.meta
	}
	if s.name == "" {
		return nil, wire.Errorf(f.Raw, "it has no name")
	}
	return s, nil
}

func (rd *reader) nodes(sc *scope, b []byte, k graphFields) error {
	i := 0
	for f, err := range wire.Fields(b) {
		if err != nil {
			return err
		}
		if f.Num == k.nodes && f.IsBytes() {
			if err := rd.node(sc, f); err != nil {
				return wire.In(err, fmt.Sprintf("node[%d]", i))
			}
			i++
		}
	}
	return nil
}

// outputs reads the outputs and links them.
func (rd *reader) outputs(sc *scope, fields []wire.Field) error {
	for i, f := range fields {
		s, err := rd.slot(sc, f, i)
		if err != nil {
			return wire.In(err, fmt.Sprintf("output[%d]", i))
		}
		v := sc.find([]byte(s.name))
		if v == nil {
			return wire.In(wire.Errorf(f.Raw, "output %q is not defined", s.name), fmt.Sprintf("output[%d]", i))
		}
		s.outer = v.Graph() != sc.g
		slot := sc.g.AddOutput(s.name, v, s.typ)
		slot.Extra, slot.Meta = s, s.meta
	}
	return nil
}

// valueInfo binds a value_info to the value it names.
func (rd *reader) valueInfo(sc *scope, x *graphExtra, i int, f wire.Field) error {
	in, err := rd.info(f.Body)
	if err != nil {
		return err
	}
	v := sc.names[in.name]
	var e *valueExtra
	if v != nil {
		if e = extraOf[valueExtra](v.Extra); e == nil {
			e = &valueExtra{name: in.name}
			v.Extra = e
		}
	}
	if e == nil || e.info != nil {
		x.unbound = append(x.unbound, unbound{fieldsOf(sc.g.IsBody()).info, i, in.name, f})
		return nil
	}
	if in.typ != nil && (!v.IsInput() || v.Type() == nil) { // an input's own type wins; those of functions have none
		v.SetType(in.typ)
	}
	e.info = &infoExtra{field: f, index: i, typ: v.Type(), meta: in.meta}
	if v.Meta == nil {
		v.Meta = in.meta
	}
	return nil
}

// annotation binds a TensorAnnotation to the value it names.
func (rd *reader) annotation(sc *scope, x *graphExtra, i int, f wire.Field) error {
	a := annotation{field: f, index: i}
	for p, err := range wire.Fields(f.Body) {
		if err != nil {
			return err
		}
		if p.Num == quantParameters && p.IsBytes() {
			_, name, err := entry(p.Body)
			if err != nil {
				return err
			}
			if sc.find([]byte(name)) != nil {
				a.bound = append(a.bound, name)
			}
		}
	}
	name := string(wire.Last(f.Body, quantTensor))
	v := sc.names[name]
	if v == nil {
		x.unbound = append(x.unbound, unbound{graphQuant, i, name, f})
		return nil
	}
	e := extraOf[valueExtra](v.Extra)
	if e == nil {
		e = &valueExtra{name: name}
		v.Extra = e
	}
	e.quant = append(e.quant, a)
	return nil
}

// absorbed records the Identity n that only names output s. What the file says of its result stays as said of a name nobody has.
func absorbed(x *graphExtra, s *ir.Slot, n *ir.Node) {
	extraOf[slotExtra](s.Extra).identity = &identity{*extraOf[nodeExtra](n.Extra), n.Pos()}
	v := n.Result(0)
	e := extraOf[valueExtra](v.Extra)
	if e == nil {
		return
	}
	if e.info != nil {
		x.unbound = append(x.unbound, unbound{fieldsOf(v.Graph().IsBody()).info, e.info.index, e.name, e.info.field})
	}
	for _, a := range e.quant {
		x.unbound = append(x.unbound, unbound{graphQuant, a.index, e.name, a.field})
	}
}
