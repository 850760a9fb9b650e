package ir

// Datum is a run-time value: *Tensor, *Sequence, *Optional or *Map.
type Datum interface {
	// Type is the type of the value with static shapes.
	Type() *Type
}

// Sequence is a list of values of one type.
type Sequence struct {
	Elem  *Type // element type as declared; item shapes may differ
	Items []Datum
}

// Type is the sequence's type.
func (s *Sequence) Type() *Type { return SequenceOf(s.Elem) }

// Optional holds a value or nothing (Item nil).
type Optional struct {
	Elem *Type
	Item Datum
}

// Type is the optional's type.
func (o *Optional) Type() *Type { return OptionalOf(o.Elem) }

// Map maps integer or string keys to values: ONNX's map(K, V). Keys is a vector, Values holds one value a key.
type Map struct {
	Keys   *Tensor
	Values []Datum
	Of     *Type
}

// Type is the map's type.
func (m *Map) Type() *Type { return MapOf(m.Keys.DType(), m.Of) }
