package schema

// Trait is a set of properties of an operator that passes rely on. They are declared by hand in ops/_gen/traits.tsv.
type Trait uint16

// The traits. Where a schema lacks one nothing follows.
const (
	// Unary: each element of result 0 depends on the element of operand 0 at its place, on attributes and on scalar operands only;
	// the shape is operand 0's.
	Unary Trait = 1 << iota
	// Broadcast: each element depends on the elements of all operands at its place after multidirectional (numpy) broadcasting.
	Broadcast
	// Commutative: operands 0 and 1 may be exchanged without changing a bit of the result (of NaNs and signs of zero the standard says
	// nothing).
	Commutative
	// Idempotent: f(f(x)) = f(x) for equal attributes and scalar operands.
	Idempotent
	// Involution: f(f(x)) = x. Integer overflow wraps.
	Involution
	// Movement: every element of a result is an unchanged element of an operand, or a constant that the node states.
	Movement
	// ShapeOnly: of operand 0 only type and shape are read.
	ShapeOnly
	// Random: two evaluations may differ. Dropout is random in training mode only; see ops.Deterministic.
	Random
	// Reduction: operand 0 is reduced along axes; keepdims and axes have their usual meaning.
	Reduction
	// Quantization: the node quantizes or dequantizes.
	Quantization
	// Control: the node evaluates subgraphs.
	Control
)
