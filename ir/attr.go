package ir

import "slices"

// AttrKind is the type of an attribute. The numbers are those of AttributeProto.AttributeType.
type AttrKind uint8

// The attribute types.
const (
	AttrUndefined AttrKind = iota
	AttrFloat
	AttrInt
	AttrString
	AttrTensor
	AttrGraph
	AttrFloats
	AttrInts
	AttrStrings
	AttrTensors
	AttrGraphs
	AttrSparseTensor
	AttrSparseTensors
	AttrType
	AttrTypes
)

var attrKindNames = [...]string{"undefined", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings", "tensors",
	"graphs", "sparse_tensor", "sparse_tensors", "type_proto", "type_protos"}

// String is the kind in ONNX's textual syntax.
func (k AttrKind) String() string {
	if int(k) < len(attrKindNames) {
		return attrKindNames[k]
	}
	return "unknown"
}

// ParseAttrKind is the inverse of String.
func ParseAttrKind(s string) (AttrKind, bool) {
	i := slices.Index(attrKindNames[1:], s)
	return AttrKind(i + 1), i >= 0
}

// Attr is an attribute of a node or a default of a function's attribute. It is immutable; Node.SetAttr replaces it. The
// graphs it holds may be edited.
type Attr struct {
	Name  string
	Kind  AttrKind
	Ref   string // ref_attr_name: the value is that of the function's attribute Ref
	Doc   string
	Extra Extra
	value any
}

// FloatAttr makes a FLOAT attribute.
func FloatAttr(name string, v float32) *Attr { return &Attr{Name: name, Kind: AttrFloat, value: v} }

// IntAttr makes an INT attribute.
func IntAttr(name string, v int64) *Attr { return &Attr{Name: name, Kind: AttrInt, value: v} }

// StringAttr makes a STRING attribute.
func StringAttr(name, v string) *Attr { return &Attr{Name: name, Kind: AttrString, value: v} }

// TensorAttr makes a TENSOR attribute.
func TensorAttr(name string, v *Tensor) *Attr { return &Attr{Name: name, Kind: AttrTensor, value: v} }

// GraphAttr makes a GRAPH attribute. The graph comes from NewSubgraph and belongs to one node at a time.
func GraphAttr(name string, v *Graph) *Attr { return &Attr{Name: name, Kind: AttrGraph, value: v} }

// FloatsAttr makes a FLOATS attribute.
func FloatsAttr(name string, v []float32) *Attr { return &Attr{Name: name, Kind: AttrFloats, value: v} }

// IntsAttr makes an INTS attribute.
func IntsAttr(name string, v []int64) *Attr { return &Attr{Name: name, Kind: AttrInts, value: v} }

// StringsAttr makes a STRINGS attribute.
func StringsAttr(name string, v []string) *Attr {
	return &Attr{Name: name, Kind: AttrStrings, value: v}
}

// TensorsAttr makes a TENSORS attribute.
func TensorsAttr(name string, v []*Tensor) *Attr {
	return &Attr{Name: name, Kind: AttrTensors, value: v}
}

// GraphsAttr makes a GRAPHS attribute.
func GraphsAttr(name string, v []*Graph) *Attr {
	return &Attr{Name: name, Kind: AttrGraphs, value: v}
}

// SparseAttr makes a SPARSE_TENSOR attribute.
func SparseAttr(name string, v *SparseTensor) *Attr {
	return &Attr{Name: name, Kind: AttrSparseTensor, value: v}
}

// SparsesAttr makes a SPARSE_TENSORS attribute.
func SparsesAttr(name string, v []*SparseTensor) *Attr {
	return &Attr{Name: name, Kind: AttrSparseTensors, value: v}
}

// TypeAttr makes a TYPE_PROTO attribute.
func TypeAttr(name string, v *Type) *Attr { return &Attr{Name: name, Kind: AttrType, value: v} }

// TypesAttr makes a TYPE_PROTOS attribute.
func TypesAttr(name string, v []*Type) *Attr { return &Attr{Name: name, Kind: AttrTypes, value: v} }

// RefAttr makes an attribute whose value is that of the enclosing function's attribute ref.
func RefAttr(name string, kind AttrKind, ref string) *Attr {
	return &Attr{Name: name, Kind: kind, Ref: ref}
}

func attrValue[T any](a *Attr) (v T) {
	if a != nil {
		v, _ = a.value.(T)
	}
	return v
}

// The accessors return the value, or the zero value if a is nil, a reference, or of another kind. The caller must not
// change what a slice holds.

// Float is the value of a FLOAT attribute.
func (a *Attr) Float() float32 { return attrValue[float32](a) }

// Int is the value of an INT attribute.
func (a *Attr) Int() int64 { return attrValue[int64](a) }

// Str is the value of a STRING attribute. It may hold any bytes.
func (a *Attr) Str() string { return attrValue[string](a) }

// Tensor is the value of a TENSOR attribute.
func (a *Attr) Tensor() *Tensor { return attrValue[*Tensor](a) }

// Floats is the value of a FLOATS attribute.
func (a *Attr) Floats() []float32 { return attrValue[[]float32](a) }

// Ints is the value of an INTS attribute.
func (a *Attr) Ints() []int64 { return attrValue[[]int64](a) }

// Strs is the value of a STRINGS attribute.
func (a *Attr) Strs() []string { return attrValue[[]string](a) }

// Tensors is the value of a TENSORS attribute.
func (a *Attr) Tensors() []*Tensor { return attrValue[[]*Tensor](a) }

// Sparse is the value of a SPARSE_TENSOR attribute.
func (a *Attr) Sparse() *SparseTensor { return attrValue[*SparseTensor](a) }

// Sparses is the value of a SPARSE_TENSORS attribute.
func (a *Attr) Sparses() []*SparseTensor { return attrValue[[]*SparseTensor](a) }

// Type is the value of a TYPE_PROTO attribute.
func (a *Attr) Type() *Type { return attrValue[*Type](a) }

// Types is the value of a TYPE_PROTOS attribute.
func (a *Attr) Types() []*Type { return attrValue[[]*Type](a) }

// Graphs are the graphs of a GRAPH or GRAPHS attribute.
func (a *Attr) Graphs() []*Graph {
	if a == nil {
		return nil
	}
	switch v := a.value.(type) {
	case *Graph:
		return []*Graph{v}
	case []*Graph:
		return v
	}
	return nil
}

// Graph is the value of a GRAPH attribute.
func (a *Attr) Graph() *Graph { return attrValue[*Graph](a) }
