package onnxio

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
	"google.golang.org/protobuf/encoding/protowire"
)

// attrFields is an AttributeProto taken apart.
type attrFields struct {
	name, doc, ref string
	kind           ir.AttrKind
	stated         ir.AttrKind // the kind of the field that holds the value, as far as one does
	f              float32
	i              int64
	s              string
	floats         []float32
	ints           []int64
	strings        []string
	messages       []wire.Field // of the kinds that are messages
}

// attrKinds is the kind that each value field stands for.
var attrKinds = [...]ir.AttrKind{
	attrFloat: ir.AttrFloat, attrInt: ir.AttrInt, attrString: ir.AttrString, attrTensor: ir.AttrTensor, attrGraph: ir.AttrGraph,
	attrFloats: ir.AttrFloats, attrInts: ir.AttrInts, attrStrings: ir.AttrStrings, attrTensors: ir.AttrTensors,
	attrGraphs: ir.AttrGraphs, attrType: ir.AttrType, attrTypes: ir.AttrTypes, attrSparse: ir.AttrSparseTensor,
	attrSparses: ir.AttrSparseTensors,
}

// attr reads an AttributeProto of a node at sc, or of a function if sc is nil.
func (rd *reader) attr(sc *scope, f wire.Field, at *place) (*ir.Attr, error) {
	var x attrFields
	for g, err := range wire.Fields(f.Body) {
		if err == nil {
			err = x.add(rd, g)
		}
		if err != nil {
			return nil, wire.In(err, fmt.Sprintf("attribute %q", x.name))
		}
	}
	a, err := rd.attrOf(sc, &x, f, at)
	if err != nil {
		return nil, wire.In(err, fmt.Sprintf("attribute %q", x.name))
	}
	a.Name, a.Doc, a.Ref, a.Extra = x.name, x.doc, x.ref, &attrExtra{f}
	return a, nil
}

func (x *attrFields) add(rd *reader, f wire.Field) (err error) {
	switch {
	case f.Num == attrName && f.IsBytes():
		x.name = rd.intern(f.Body)
		return nil
	case f.Num == attrDoc && f.IsBytes():
		x.doc = string(f.Body)
		return nil
	case f.Num == attrRef && f.IsBytes():
		x.ref = rd.intern(f.Body)
		return nil
	case f.Num == attrKind && f.IsVarint():
		k := f.Int32()
		if k < 0 || k > int32(ir.AttrTypes) {
			return wire.Errorf(f.Raw, "unknown type %d", k)
		}
		x.kind = ir.AttrKind(k)
		return nil
	}
	if int(f.Num) >= len(attrKinds) || attrKinds[f.Num] == 0 {
		return nil
	}
	switch {
	case f.Num == attrFloats:
		x.floats, err = wire.Floats(x.floats, f)
	case f.Num == attrInts:
		x.ints, err = wire.Ints(x.ints, f)
	case f.Num == attrFloat && f.Type == protowire.Fixed32Type:
		x.f = f.Float()
	case f.Num == attrInt && f.IsVarint():
		x.i = f.Int()
	case !f.IsBytes():
		return nil
	case f.Num == attrString:
		x.s = string(f.Body)
	case f.Num == attrStrings:
		x.strings = append(x.strings, string(f.Body))
	default:
		x.messages = append(x.messages, f)
	}
	k := attrKinds[f.Num]
	if x.stated != 0 && x.stated != k {
		return wire.Errorf(f.Raw, "it has two values, %s and %s", x.stated, k)
	}
	x.stated = k
	return err
}

// attrOf makes the attribute's value.
func (rd *reader) attrOf(sc *scope, x *attrFields, f wire.Field, at *place) (*ir.Attr, error) {
	switch {
	case x.name == "":
		return nil, wire.Errorf(f.Raw, "an attribute has no name")
	case x.kind == ir.AttrUndefined:
		x.kind = x.stated // files of old versions leave the type out
	case x.stated != 0 && x.stated != x.kind:
		return nil, wire.Errorf(f.Raw, "its type is %s and its value %s", x.kind, x.stated)
	}
	if x.ref != "" {
		return ir.RefAttr(x.name, x.kind, x.ref), nil
	}
	switch x.kind {
	case ir.AttrFloat:
		return ir.FloatAttr(x.name, x.f), nil
	case ir.AttrInt:
		return ir.IntAttr(x.name, x.i), nil
	case ir.AttrString:
		return ir.StringAttr(x.name, x.s), nil
	case ir.AttrFloats:
		return ir.FloatsAttr(x.name, x.floats), nil
	case ir.AttrInts:
		return ir.IntsAttr(x.name, x.ints), nil
	case ir.AttrStrings:
		return ir.StringsAttr(x.name, x.strings), nil
	case ir.AttrTensor, ir.AttrGraph, ir.AttrSparseTensor, ir.AttrType:
		return rd.messageAttr(sc, x, f, at)
	case ir.AttrTensors, ir.AttrGraphs, ir.AttrSparseTensors, ir.AttrTypes:
		return rd.messagesAttr(sc, x, at)
	}
	return nil, wire.Errorf(f.Raw, "it has neither type nor value")
}

// messageAttr makes an attribute that holds one message; occurrences of a singular field are merged.
func (rd *reader) messageAttr(sc *scope, x *attrFields, f wire.Field, at *place) (*ir.Attr, error) {
	if len(x.messages) == 0 {
		return nil, wire.Errorf(f.Raw, "it has type %s and no value", x.kind)
	}
	one, _ := wire.One(f.Body, x.messages[0].Num)
	switch x.kind {
	case ir.AttrTensor:
		t, err := rd.tensor(one.Body)
		return ir.TensorAttr(x.name, t), err
	case ir.AttrType:
		t, err := rd.typ(one.Body, 0)
		return ir.TypeAttr(x.name, t), err
	case ir.AttrSparseTensor:
		s, _, err := rd.sparse(one.Body)
		return ir.SparseAttr(x.name, s), err
	}
	g, err := rd.subgraph(sc, one, at.attr(x.name))
	return ir.GraphAttr(x.name, g), err
}

func (rd *reader) messagesAttr(sc *scope, x *attrFields, at *place) (*ir.Attr, error) {
	switch x.kind {
	case ir.AttrTensors:
		r, err := readAll(x.messages, func(f wire.Field) (*ir.Tensor, error) { return rd.tensor(f.Body) })
		return ir.TensorsAttr(x.name, r), err
	case ir.AttrTypes:
		r, err := readAll(x.messages, func(f wire.Field) (*ir.Type, error) { return rd.typ(f.Body, 0) })
		return ir.TypesAttr(x.name, r), err
	case ir.AttrSparseTensors:
		r, err := readAll(x.messages, func(f wire.Field) (*ir.SparseTensor, error) {
			s, _, err := rd.sparse(f.Body)
			return s, err
		})
		return ir.SparsesAttr(x.name, r), err
	}
	i := -1
	r, err := readAll(x.messages, func(f wire.Field) (*ir.Graph, error) {
		i++
		return rd.subgraph(sc, f, at.attr(fmt.Sprintf("%s[%d]", x.name, i)))
	})
	return ir.GraphsAttr(x.name, r), err
}

func readAll[T any](fs []wire.Field, read func(wire.Field) (T, error)) ([]T, error) {
	r := make([]T, len(fs))
	for i, f := range fs {
		var err error
		if r[i], err = read(f); err != nil {
			return nil, wire.In(err, fmt.Sprintf("[%d]", i))
		}
	}
	return r, nil
}
