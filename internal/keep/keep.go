// Package keep lets the notations of a model exchange what package ir has no place for.
//
// A reader leaves records in the Extra fields of ir, and only the package that made a record looks inside. A record that also
// implements an interface of this package tells the writer of another notation what it holds, so that a model read
// from text and written as protobuf, or the other way, loses nothing of it.
package keep

import "github.com/onnxopt/onnxopt/ir"

// Identity is implemented by the Extra of an output slot whose Identity node the reader may have absorbed (see naming.Absorb).
type Identity interface {
	// Identity returns the node's name, its documentation and metadata, and its place in the source (ir.Node.Pos); ok is
	// false if there was none.
	Identity() (name string, meta *ir.Meta, pos int64, ok bool)
}

// Outer is implemented by the Extra of an output slot whose file may name a value of an enclosing graph itself, without an Identity
// between them.
type Outer interface{ Outer() bool }

// Shadowing is implemented by the Extra of a graph whose file may hide names of enclosing graphs.
type Shadowing interface {
	// Shadows reports whether a value of the graph had a name that a value of an enclosing graph has, too.
	Shadows(name string) bool
}

// Quantization is implemented by the Extra of a value that quantization_annotation may name.
type Quantization interface {
	// Quantization returns quant_parameter_tensor_names: keys such as SCALE_TENSOR and names of tensors. nil says nothing.
	Quantization() []ir.Prop
	// Bound reports whether a value had the name of such a tensor, and not only the file.
	Bound(name string) bool
}

// Source is implemented by the Extra of a value whose name in the file other parts of the file may refer to.
type Source interface{ Source() string }

// Results is implemented by the Extra of a node whose results had names in the file.
type Results interface {
	// SourceResult is the name of result i, "" if it had none.
	SourceResult(i int) string
}

// Unbound is implemented by the Extra of a graph whose value_info or quantization_annotation may name values nobody has.
type Unbound interface {
	Unbound() []Info
}

// Info is a value_info, a quantization_annotation or both of one name.
type Info struct {
	Name  string
	Type  *ir.Type
	Meta  *ir.Meta
	Quant []ir.Prop
}

// External is implemented by the payload of a constant that stands in a file beside the model.
type External interface {
	// External returns external_data: location, offset, length, checksum.
	External() []ir.Prop
}

// Sparse is implemented by the payload of an initializer that is stored in coordinate form.
type Sparse interface{ Sparse() *ir.SparseTensor }
