package ir

import (
	"fmt"
	"iter"
	"slices"
)

// Value is an SSA value: a graph's input, an initializer, or a node's result. Its name is a hint.
type Value struct {
	Meta  *Meta
	Extra Extra // the reader's record of value_info or initializer

	graph  *Graph
	def    *Node // nil for inputs and initializers
	name   string
	typ    *Type
	tensor *Tensor // initializers: the constant; inputs: the default
	origin *Origin // initializers
	uses   []Use
	index  int32
	result int32
	input  bool
	dead   bool
	stated bool // see Declare
}

// Use is operand Index of Node. A graph's outputs are the operands of its Return node.
type Use struct {
	Node  *Node
	Index int
}

// Name is the name the value came with or was given; it may be empty, and the writer may have to choose another.
func (v *Value) Name() string { return v.name }

// SetName suggests a name.
func (v *Value) SetName(s string) {
	v.name = s
	v.graph.touch(Metadata)
}

// Index numbers the values of a model in the order in which they were made, for tables by value. It belongs to v for life; a copy of the
// model numbers its values anew.
func (v *Value) Index() int { return int(v.index) }

// Graph is the graph that defines v.
func (v *Value) Graph() *Graph { return v.graph }

// Def is the node that v is a result of and which one; nil for inputs and initializers.
func (v *Value) Def() (n *Node, result int) { return v.def, int(v.result) }

// Node is the node that v is a result of, nil for inputs and initializers.
func (v *Value) Node() *Node { return v.def }

// IsInput reports whether v is an input of its graph.
func (v *Value) IsInput() bool { return v.input }

// IsInitializer reports whether v is an initializer that no caller can override.
func (v *Value) IsInitializer() bool { return v.def == nil && !v.input }

// Default is the default of an input, nil if it has none.
func (v *Value) Default() *Tensor {
	if v.input {
		return v.tensor
	}
	return nil
}

// SetDefault gives an input a default, or takes it away (nil).
func (v *Value) SetDefault(t *Tensor) {
	if !v.input {
		panic("ir: SetDefault on a value that is no input")
	}
	v.tensor = t
	v.graph.touch(Consts)
}

// Const is the value's tensor if it is a constant: an initializer, or the result of a Constant node of any of its forms.
// Defaults of inputs are not constants. It is safe on nil.
func (v *Value) Const() *Tensor {
	switch {
	case v == nil || v.input:
		return nil
	case v.def == nil:
		return v.tensor
	case v.def.op.Type == "Constant" && v.def.op.Domain == "" && len(v.def.attrs) == 1:
		return constantTensor(v.def.attrs[0])
	}
	return nil
}

func constantTensor(a *Attr) *Tensor {
	if a.Ref != "" {
		return nil
	}
	switch a.Name {
	case "value":
		return a.Tensor()
	case "value_float":
		return ScalarOf(a.Float())
	case "value_int":
		return ScalarOf(a.Int())
	case "value_string":
		return NewStringTensor([]int64{}, []string{a.Str()})
	case "value_floats":
		return TensorOf(a.Floats())
	case "value_ints":
		return TensorOf(a.Ints())
	case "value_strings":
		return NewStringTensor([]int64{int64(len(a.Strs()))}, a.Strs())
	}
	return nil
}

// Type is what is recorded of the value's type, nil if nothing is.
func (v *Value) Type() *Type {
	if v.typ == nil && v.def == nil && v.tensor != nil {
		return v.tensor.Type()
	}
	return v.typ
}

// Refine adds what t states to the recorded type. A contradiction is an error and changes nothing.
func (v *Value) Refine(t *Type) error {
	m, ok := v.typ.Merge(t)
	if !ok {
		return fmt.Errorf("value %q is recorded as %s and found to be %s", v.name, v.typ, t)
	}
	if m != v.typ {
		v.SetType(m)
	}
	return nil
}

// SetType replaces the recorded type; nil forgets it.
func (v *Value) SetType(t *Type) {
	v.typ = t
	v.graph.touch(Types)
}

// Declare is SetType, and makes writers state the type of a value of which the source said nothing, which they otherwise leave to whoever
// reads the model. A later SetType(nil) takes that back.
func (v *Value) Declare(t *Type) {
	v.SetType(t)
	v.stated = t != nil
}

// Declared reports whether Declare gave v its type.
func (v *Value) Declared() bool { return v.stated && v.typ != nil }

// Uses yields the uses of v, graph outputs and captures included. It is a snapshot.
func (v *Value) Uses() iter.Seq[Use] {
	return slices.Values(slices.Clone(v.uses))
}

// Use is use i of NumUses, in no order that has a meaning. Unlike Uses it is no snapshot.
func (v *Value) Use(i int) Use { return v.uses[i] }

// NumUses is the number of uses; it is safe on nil.
func (v *Value) NumUses() int {
	if v == nil {
		return 0
	}
	return len(v.uses)
}

// OnlyUse is v's single use; ok is false if there is none or more than one.
func (v *Value) OnlyUse() (u Use, ok bool) {
	if len(v.uses) == 1 {
		return v.uses[0], true
	}
	return Use{}, false
}

// IsOutput reports whether a graph output returns v.
func (v *Value) IsOutput() bool {
	return slices.ContainsFunc(v.uses, func(u Use) bool { return u.Node.IsReturn() })
}

// Dead reports whether the value was erased, or the node it is a result of.
func (v *Value) Dead() bool { return v.dead }

// Origin says what the value stands for: its node's origin, or that of an initializer made by a rewrite.
func (v *Value) Origin() *Origin {
	if v.def != nil {
		return v.def.origin
	}
	return v.origin
}

// SetOrigin sets the origin of an initializer.
func (v *Value) SetOrigin(o *Origin) { v.origin = o }
