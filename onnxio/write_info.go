package onnxio

import (
	"slices"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// values collects value_info and quantization_annotation.
func (c *graphWriter) values() error {
	outs := map[string]*ir.Slot{}
	for _, s := range c.g.Outputs() {
		outs[c.names.Slot(s)] = s
	}
	for _, s := range c.g.Inputs() {
		c.value(s.Value(), outs)
	}
	for _, v := range c.g.Consts() {
		c.value(v, outs)
	}
	for n := range c.g.Nodes() {
		for _, v := range n.Results() {
			if v != nil {
				c.value(v, outs)
			}
		}
	}
	return nil
}

func (c *graphWriter) value(v *ir.Value, outs map[string]*ir.Slot) {
	e := extraOf[valueExtra](v.Extra)
	name := c.names.Value(v)
	switch {
	case e != nil && e.info != nil:
		if name != e.name && outs[name] != nil || v.Type() == nil && e.info.typ != nil {
			break // the output states the type; or it is known no more
		}
		i := e.info
		if name == e.name && sameType(v.Type(), i.typ) && v.Meta == i.meta {
			c.infos = append(c.infos, indexed{i.index, wire.Of(i.field.Raw)})
			break
		}
		c.infos = append(c.infos, indexed{i.index, infoRope(c.k.info, i.field, name, v.Type(), i.typ, v.Meta, i.meta)})
	case c.states(v, outs[name]):
		c.infos = append(c.infos, indexed{last, infoRope(c.k.info, wire.Field{}, name, v.Type(), nil, v.Meta, nil)})
	}
	if e == nil {
		if props := c.names.Annotation(v); props != nil {
			c.quants = append(c.quants, indexed{last, annotationRope(name, props)})
		}
		return
	}
	for _, a := range e.quant {
		if r, ok := c.annotation(a, name); ok {
			c.quants = append(c.quants, indexed{a.index, r})
		}
	}
}

// states reports whether value_info has to say something of v that the file's does not: metadata, and types where nothing else
// could tell them, which is in new graphs, and of operators that only their own runtime knows. out is the output that v is.
func (c *graphWriter) states(v *ir.Value, out *ir.Slot) bool {
	made := c.x.field.Body == nil
	listed := c.irVersion < 4 && v.IsInitializer() && c.g.Outer() == nil // the input that lists it says the same
	t := v.Type()
	switch n := v.Node(); {
	case listed:
		return false
	case v.Meta != nil:
		return true
	case t == nil:
		return false
	case n != nil && (made || v.Declared()):
		return out == nil || !sameType(t, out.Type())
	case n != nil:
		return n.Extra == nil && n.Op().Domain != "" && out == nil
	case c.g.IsBody():
		return made && v.IsInput()
	}
	return made && v.IsInitializer() && !sameType(t, v.Const().Type())
}

// unbound adds what is said of names that no value has, unless somebody has the name now.
func (c *graphWriter) unbound() {
	for _, u := range c.x.unbound {
		v, _ := c.names.Named(c.g, u.name)
		if e := (*valueExtra)(nil); v != nil {
			if e = extraOf[valueExtra](v.Extra); e == nil || e.name != u.name {
				continue
			}
		}
		if u.num == c.k.info {
			c.infos = append(c.infos, indexed{u.index, wire.Of(u.field.Raw)})
		} else {
			c.quants = append(c.quants, indexed{u.index, wire.Of(u.field.Raw)})
		}
	}
	k, ok := c.g.Extra.(keep.Unbound)
	if !ok || c.x == c.g.Extra {
		return
	}
	for _, i := range k.Unbound() {
		if c.names.Owned(c.g, i.Name) {
			continue
		}
		if i.Type != nil || i.Meta != nil || i.Quant == nil {
			c.infos = append(c.infos, indexed{last, infoRope(c.k.info, wire.Field{}, i.Name, i.Type, nil, i.Meta, nil)})
		}
		if i.Quant != nil {
			c.quants = append(c.quants, indexed{last, annotationRope(i.Name, i.Quant)})
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
			v := c.names.Source(c.g, s)
			ok = ok && v != nil
			return c.names.Value(v)
		}, entryValue)
		items = append(items, wire.Sub(quantParameters, r, f))
	}
	m.Set(quantParameters, items...)
	return wire.Sub(graphQuant, m.Rope(), a.field), ok
}

// annotationRope is a TensorAnnotation made anew.
func annotationRope(name string, props []ir.Prop) wire.Rope {
	m := wire.NewMessage(nil)
	m.Str(quantTensor, name)
	var items []wire.Rope
	for _, p := range props {
		items = append(items, entryRope(quantParameters, p.Key, p.Value))
	}
	m.Set(quantParameters, items...)
	return wire.Sub(graphQuant, m.Rope(), wire.Field{})
}
