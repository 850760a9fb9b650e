package onnxio

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// node is a NodeProto as field num.
func (w *writer) node(num wire.Num, n *ir.Node) (wire.Rope, error) {
	x := extraOf[nodeExtra](n.Extra)
	if x == nil {
		x = &nodeExtra{}
	} else if x.field.Num == num && w.untouched(n, x) {
		return wire.Of(x.field.Raw), nil
	}
	ins, outs := make([]string, n.NumOperands()), make([]string, n.NumResults())
	for i := range ins {
		ins[i] = w.names.Value(n.Operand(i))
	}
	for i := range outs {
		outs[i] = w.names.Value(n.Result(i))
	}
	m := wire.NewMessage(x.field.Body)
	m.Strs(nodeInputs, ins)
	m.Strs(nodeOutputs, outs)
	m.Str(nodeName, n.Name())
	m.Str(nodeOp, n.Op().Type)
	if x.field.Body == nil || ir.Domain(string(wire.Last(x.field.Body, nodeDomain))) != n.Op().Domain {
		m.Str(nodeDomain, n.Op().Domain)
	}
	m.Str(nodeOverload, n.Op().Overload)
	putMeta(m, nodeDoc, nodeProps, n.Meta(), x.meta)
	attrs := make([]wire.Rope, len(n.Attrs()))
	for i, a := range n.Attrs() {
		r, err := w.attr(nodeAttrs, a)
		if err != nil {
			return r, fmt.Errorf("%s: attribute %q: %w", n, a.Name, err)
		}
		attrs[i] = r
	}
	m.Set(nodeAttrs, attrs...)
	w.devices(m, x, ins, outs)
	return wire.Sub(num, m.Rope(), x.field), nil
}

// untouched reports whether n is written as it was read.
func (w *writer) untouched(n *ir.Node, x *nodeExtra) bool {
	if n.Meta() != x.meta {
		return false
	}
	in, out, attr := 0, 0, 0
	var name, op, domain, overload []byte
	attrs := n.Attrs()
	for f := range wire.Fields(x.field.Body) {
		if !f.IsBytes() {
			continue
		}
		switch f.Num {
		case nodeInputs:
			if in >= n.NumOperands() || w.names.Value(n.Operand(in)) != string(f.Body) {
				return false
			}
			in++
		case nodeOutputs:
			if out >= n.NumResults() || w.names.Value(n.Result(out)) != string(f.Body) {
				return false
			}
			out++
		case nodeAttrs:
			if attr >= len(attrs) || len(attrs[attr].Graphs()) > 0 {
				return false
			}
			a := extraOf[attrExtra](attrs[attr].Extra)
			if a == nil || len(a.field.Raw) != len(f.Raw) || &a.field.Raw[0] != &f.Raw[0] {
				return false
			}
			attr++
		case nodeName:
			name = f.Body
		case nodeOp:
			op = f.Body
		case nodeDomain:
			domain = f.Body
		case nodeOverload:
			overload = f.Body
		}
	}
	o := n.Op()
	return in == n.NumOperands() && out == n.NumResults() && attr == len(attrs) && string(name) == n.Name() && string(op) == o.Type &&
		ir.Domain(string(domain)) == o.Domain && string(overload) == o.Overload && !slices.ContainsFunc(attrs, w.moves)
}

// tensorsOf yields the tensors of an attribute, those that sparse ones consist of included.
func tensorsOf(a *ir.Attr) iter.Seq[*ir.Tensor] {
	ts := a.Tensors()
	if t := a.Tensor(); t != nil {
		ts = []*ir.Tensor{t}
	}
	ss := a.Sparses()
	if s := a.Sparse(); s != nil {
		ss = []*ir.SparseTensor{s}
	}
	return func(yield func(*ir.Tensor) bool) {
		for _, t := range ts {
			if !yield(t) {
				return
			}
		}
		for _, s := range ss {
			if !yield(s.Values) || !yield(s.Indices) {
				return
			}
		}
	}
}

// devices declares device_configurations anew where values that they name were renamed.
func (w *writer) devices(m *wire.Message, x *nodeExtra, ins, outs []string) {
	var items []wire.Rope
	renamed := map[string]string{}
	in, out := 0, 0
	for f := range wire.Fields(x.field.Body) {
		switch {
		case !f.IsBytes():
		case f.Num == nodeInputs && in < len(ins):
			renamed[string(f.Body)] = ins[in]
			in++
		case f.Num == nodeOutputs && out < len(outs):
			renamed[string(f.Body)] = outs[out]
			out++
		}
	}
	name := func(s string) string {
		if t := renamed[s]; t != "" {
			return t
		}
		return s
	}
	for f := range wire.Fields(x.field.Body) {
		if f.Num == nodeDevices && f.IsBytes() {
			items = append(items, wire.Sub(nodeDevices, wire.Rename(f.Body, name, deviceSharding, shardingTensor), f))
		}
	}
	m.Set(nodeDevices, items...)
}

// attr is an AttributeProto as field num.
func (w *writer) attr(num wire.Num, a *ir.Attr) (wire.Rope, error) {
	x := extraOf[attrExtra](a.Extra)
	if x == nil {
		x = &attrExtra{}
	}
	m := wire.NewMessage(x.field.Body)
	if x.field.Raw != nil && a.Graphs() == nil && !w.moves(a) {
		return wire.Sub(num, wire.Of(x.field.Body), x.field), nil
	}
	m.Str(attrName, a.Name)
	m.Str(attrDoc, a.Doc)
	m.Str(attrRef, a.Ref)
	if x.field.Raw == nil {
		m.Int(attrKind, int64(a.Kind))
	}
	if a.Ref == "" {
		if err := w.attrValue(m, a); err != nil {
			return wire.Rope{}, err
		}
	}
	return wire.Sub(num, m.Rope(), x.field), nil
}

// moves reports whether the attribute holds elements in a data file, and cannot be written as it was read because their place
// changes.
func (w *writer) moves(a *ir.Attr) bool {
	for t := range tensorsOf(a) {
		if r := recordOf(t); r != nil && r.ext != nil && !w.keeps(r) {
			return true
		}
	}
	return false
}

// attrValue declares the value of an attribute that is not as it was read.
func (w *writer) attrValue(m *wire.Message, a *ir.Attr) error {
	switch a.Kind {
	case ir.AttrFloat: // a value of zero is written, too
		m.Put(attrFloat, wire.Fixed32(attrFloat, math.Float32bits(a.Float())))
	case ir.AttrInt:
		m.Put(attrInt, wire.Varint(attrInt, a.Int()))
	case ir.AttrString:
		m.Strs(attrString, []string{a.Str()})
	case ir.AttrFloats:
		var r wire.Rope
		for _, v := range a.Floats() {
			r.AppendRope(wire.Fixed32(attrFloats, math.Float32bits(v)))
		}
		m.Put(attrFloats, r)
	case ir.AttrInts:
		m.SetInts(attrInts, a.Ints())
	case ir.AttrStrings:
		m.Strs(attrStrings, a.Strs())
	case ir.AttrTensor, ir.AttrTensors:
		num := map[ir.AttrKind]wire.Num{ir.AttrTensor: attrTensor, ir.AttrTensors: attrTensors}[a.Kind]
		var items []wire.Rope
		for t := range tensorsOf(a) {
			r, err := w.tensor(num, t, t.Name(), wire.Field{}, false)
			if err != nil {
				return err
			}
			items = append(items, r)
		}
		m.Set(num, items...)
	case ir.AttrSparseTensor:
		return w.sparses(m, attrSparse, []*ir.SparseTensor{a.Sparse()})
	case ir.AttrSparseTensors:
		return w.sparses(m, attrSparses, a.Sparses())
	case ir.AttrType:
		m.Set(attrType, wire.Sub(attrType, typeRope(a.Type()), wire.Field{}))
	case ir.AttrTypes:
		var items []wire.Rope
		for _, t := range a.Types() {
			items = append(items, wire.Sub(attrTypes, typeRope(t), wire.Field{}))
		}
		m.Set(attrTypes, items...)
	case ir.AttrGraph:
		return w.graphAttr(m, attrGraph, a)
	case ir.AttrGraphs:
		return w.graphAttr(m, attrGraphs, a)
	default:
		return fmt.Errorf("an attribute of type %s cannot be written", a.Kind)
	}
	return nil
}

func (w *writer) graphAttr(m *wire.Message, num wire.Num, a *ir.Attr) error {
	var items []wire.Rope
	for _, g := range a.Graphs() {
		r, err := w.graph(num, g)
		if err != nil {
			return err
		}
		items = append(items, r)
	}
	m.Set(num, items...)
	return nil
}

func (w *writer) sparses(m *wire.Message, num wire.Num, ss []*ir.SparseTensor) error {
	var items []wire.Rope
	for _, s := range ss {
		sm := wire.NewMessage(nil)
		for i, t := range []*ir.Tensor{s.Values, s.Indices} {
			field := []wire.Num{sparseValues, sparseIndices}[i]
			r, err := w.tensor(field, t, t.Name(), wire.Field{}, false)
			if err != nil {
				return err
			}
			sm.Set(field, r)
		}
		sm.SetInts(sparseDims, s.Dims)
		items = append(items, wire.Sub(num, sm.Rope(), wire.Field{}))
	}
	m.Set(num, items...)
	return nil
}
