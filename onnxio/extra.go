package onnxio

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/wire"
)

// The records below are what the reader leaves in the Extra fields of package ir. They hold source bytes and what was read from
// them, never values or nodes, so that copies of a model share them. The writer compares what was read with what
// there is now, and gives the bytes back where both agree.

// modelExtra is the record of a ModelProto.
type modelExtra struct {
	src    *source
	data   *dataFiles
	body   []byte
	meta   *ir.Meta
	opsets []ir.Opset
}

// graphExtra is the record of a GraphProto, or of a FunctionProto for a function's body.
type graphExtra struct {
	field   wire.Field // Raw is nil where the message was put together from several occurrences
	name    string
	meta    *ir.Meta
	unbound []unbound       // value_info and annotations of names that no value has
	shadows map[string]bool // names that enclosing graphs have, too
}

// functionExtra is the record of what a FunctionProto has beside its body.
type functionExtra struct {
	attrs    []string
	defaults []*ir.Attr
	opsets   []ir.Opset
	meta     *ir.Meta
}

// trainingExtra is the record of a TrainingInfoProto.
type trainingExtra struct{ field wire.Field }

// unbound is a field that names a value nobody has. It stays as it was found.
type unbound struct {
	num   wire.Num
	index int // among the graph's fields of that number
	name  string
	field wire.Field
}

// slotExtra is the record of an input or output: a ValueInfoProto, or a name in a function.
type slotExtra struct {
	field    wire.Field
	index    int
	name     string
	typ      *ir.Type
	meta     *ir.Meta
	outer    bool      // outputs: the file names a value of an enclosing graph itself
	identity *identity // outputs: the Identity node that the reader absorbed
}

// identity is an Identity node that only gives a graph output its name.
type identity struct {
	nodeExtra
	pos int64
}

// nodeExtra is the record of a NodeProto.
type nodeExtra struct {
	field wire.Field
	meta  *ir.Meta
}

// attrExtra is the record of an AttributeProto.
type attrExtra struct{ field wire.Field }

// valueExtra is the record of a value: its name as read and what the graph says about it in other places.
type valueExtra struct {
	name   string
	init   *initExtra
	listed *slotExtra // the input of the same name that makes an initializer overridable, or below IR version 4 has to be there
	info   *infoExtra
	quant  []annotation
}

// initExtra is the record of an initializer, or of an input's default.
type initExtra struct {
	field  wire.Field
	index  int // among initializers, dense and sparse ones apart
	sparse bool
}

// infoExtra is the record of a value_info.
type infoExtra struct {
	field wire.Field
	index int
	typ   *ir.Type // what was recorded of the value after reading
	meta  *ir.Meta
}

// annotation is a TensorAnnotation, the quantization_annotation of a value.
type annotation struct {
	field wire.Field
	index int
	bound []string // the parameters' tensors that were values of the graph or an enclosing one
}

// extraOf is the reader's record of type T in x, nil if there is none.
func extraOf[T any](x ir.Extra) *T {
	r, _ := x.(*T)
	return r
}
