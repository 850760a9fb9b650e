package text

import "github.com/onnxopt/onnxopt/ir"

// The types below are the syntax tree. Positions are kept, names are not resolved: a pattern language, a rule file or a
// message can use the notation without building a model.

// Name is an identifier or a quoted name.
type Name struct {
	Pos  Pos
	Text string
}

// File is a whole text: model := [header] graph function* training*.
type File struct {
	Header    *Header // nil if there is none
	Graph     *GraphDecl
	Functions []*FuncDecl
	Training  []*TrainingDecl
}

// Header holds the key-value pairs in front of a model or a function. Keys that are absent are zero.
type Header struct {
	Pos             Pos
	IRVersion       int64 // model only
	Opsets          []ir.Opset
	ProducerName    string // model only
	ProducerVersion string // model only
	Domain          string
	ModelVersion    int64 // model only
	Doc             string
	Props           []ir.Prop // metadata_props, model only: those of a function are notes
	Overload        string    // function only
}

// GraphDecl is a graph: name (inputs) => (outputs) <values> { nodes }.
type GraphDecl struct {
	Notes   *Notes // nil if there are none, here and below
	Name    Name
	Inputs  []*ValueDecl
	Outputs []*ValueDecl
	Values  []*ValueDecl // initializers (Init is set) and value_info
	Nodes   []*NodeDecl
}

// ValueDecl declares a value: [type] name [= data].
type ValueDecl struct {
	Notes *Notes
	Name  Name
	Type  *ir.Type // nil if left out; it has the denotations that the notes give
	Init  *TensorLit
}

// NodeDecl is a node: [label] outputs = domain.type:overload <attrs> (inputs). An operand or result with an empty name is
// omitted.
type NodeDecl struct {
	Notes   *Notes
	Label   string // the node's name
	Outputs []Name
	OpPos   Pos
	Op      ir.OpID // the domain as spelled
	Attrs   []*AttrDecl
	Inputs  []Name
}

// AttrDecl is an attribute: name[: kind] = value.
type AttrDecl struct {
	Notes *Notes
	Name  Name
	Kind  ir.AttrKind // as annotated, or found from the value; AttrUndefined for a reference without annotation
	Ref   string      // "@name": the function's attribute the value comes from
	// Value is an int64, float32, string, *TensorLit, *SparseLit, *GraphDecl or *ir.Type, or a slice of one of these, as
	// Kind says; nil for a reference.
	Value any
}

// TensorLit is a constant: its elements have been checked against its type and decoded.
type TensorLit struct {
	Notes    *Notes
	Pos      Pos
	Name     string
	Tensor   *ir.Tensor // without name and metadata
	External []ir.Prop  // where the elements are, if not in the text
	Sparse   *SparseLit // set for a sparse initializer
}

// SparseLit is a sparse constant in coordinate form: sparse_tensor(float[4,4]) {values, indices}.
type SparseLit struct {
	Pos             Pos
	Elem            ir.DType
	Dims            []int64
	Values, Indices *TensorLit
}

// FuncDecl is a model-local function.
type FuncDecl struct {
	Notes    *Notes
	Header   *Header
	Name     Name
	Attrs    []Name      // attributes without a default
	Defaults []*AttrDecl // attributes with a default
	Inputs   []*ValueDecl
	Outputs  []*ValueDecl
	Values   []*ValueDecl
	Nodes    []*NodeDecl
}

// TrainingDecl is an entry of training_info:
//
//	@training <initialization: ["w": "out"], update: ["w": "out"]> initialization graph algorithm graph
//
// Every part may be left out.
type TrainingDecl struct {
	Pos                       Pos
	Initialization, Algorithm *GraphDecl
	InitBinding               []ir.Prop
	UpdateBinding             []ir.Prop
}
