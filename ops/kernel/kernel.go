// Package kernel holds the numerics of the operators as plain functions over tensors. They are the specification of the
// fast kernels and the portable path: plain loops, explicit rounding after each operation (no fused multiply-add), own
// elementary functions and a fixed order of summation, so that every machine computes the same bits.
//
// Lookup finds the kernel of an operator; one serves all versions. What they share:
//
//   - Elements are read in a compute type (computeType): floats below 32 bits as float32, integers below 8 bits as int8 or
//     uint8. Results are rounded to the element type once an operator, to nearest even.
//   - Matrix products and convolutions sum in the compute type in order of rising depth (gemm). Elementary functions,
//     reductions, normalisations and recurrent layers compute in float64 and round once.
//   - Integers wrap; a quotient that does not exist is an error. NaN results are one quiet NaN of positive sign.
//   - Operators that only move data (array) keep the bits of every element, for all types, strings among them.
//   - Everything that depends on data is checked: shapes, axes, indices and sizes before the memory for them is allocated
//     (Call.Limit), and the context every few milliseconds of work (tick).
package kernel

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/onnxopt/onnxopt/ir"
)

// Call is one evaluation of an operator.
type Call struct {
	Ctx   context.Context
	Op    ir.OpID
	Opset int64      // version of the operator's domain that is in force
	In    []ir.Datum // operands; nil stands for an omitted one
	Out   []bool     // which results are wanted; its length is the number of results of the node
	Limit int64      // bytes one evaluation may allocate for its results and scratch; 0: defaultLimit
	attrs func(name string) *ir.Attr
	used  int64 // bytes allocated so far
	work  int   // operations since the context was last asked
	// Lend, if not nil, lends memory for n words of 32 bits, of any value, which the caller takes back when no result of the call
	// that begins there is needed any more.
	Lend func(n int) []float32
	// Body evaluates a subgraph with the given values for its inputs; operators with subgraphs use it.
	Body func(g *ir.Graph, in []ir.Datum) ([]ir.Datum, error)
	// Type, which may be nil, tells what is known of an output of a subgraph that was not evaluated, beyond what the slot declares.
	Type func(*ir.Slot) *ir.Type
}

// defaultLimit is what an evaluation may allocate where Limit is 0: enough for any model that fits a machine, and small
// enough that a shape computed from bad data is an error instead of the end of the process.
const defaultLimit = 1 << 36

// Func evaluates an operator. It returns one value a result; those not wanted may be nil. It never changes its operands and
// may return them. Bad data is an error, never a panic.
type Func func(c *Call) ([]ir.Datum, error)

// NewCall prepares the evaluation of n; attr resolves an attribute by name and returns nil where the node has none (references
// to a function's attributes are resolved by it).
func NewCall(ctx context.Context, op ir.OpID, opset int64, attr func(string) *ir.Attr, in []ir.Datum, results int) *Call {
	c := &Call{Ctx: ctx, Op: op, Opset: opset, In: in, Out: make([]bool, results), attrs: attr}
	for i := range c.Out {
		c.Out[i] = true
	}
	return c
}

// Attr is the attribute of that name, nil if the node has none; its accessors are safe on nil.
func (c *Call) Attr(name string) *ir.Attr { return c.attrs(name) }

// Tensor is operand i as a tensor; nil if it is omitted.
func (c *Call) Tensor(i int) (*ir.Tensor, error) {
	if i >= len(c.In) || c.In[i] == nil {
		return nil, nil
	}
	t, ok := c.In[i].(*ir.Tensor)
	if !ok {
		return nil, fmt.Errorf("operand %d is a %s, not a tensor", i, c.In[i].Type())
	}
	if t == nil {
		return nil, nil
	}
	if !sane(t.Shape()) {
		return nil, fmt.Errorf("operand %d has shape %v, which is negative or too large", i, t.Shape())
	}
	return t, nil
}

// Need is operand i as a tensor; an error if it is omitted.
func (c *Call) Need(i int) (*ir.Tensor, error) {
	t, err := c.Tensor(i)
	if err == nil && t == nil {
		err = fmt.Errorf("operand %d is missing", i)
	}
	return t, err
}

// LimitError is the error of an evaluation that would allocate more than Call.Limit.
type LimitError struct {
	Elements int64
	Size     int // bytes an element
	Limit    int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%d elements of %d bytes exceed the limit of %d bytes", e.Elements, e.Size, e.Limit)
}

func (c *Call) limit() int64 {
	if c.Limit == 0 {
		return defaultLimit
	}
	return c.Limit
}

// reserve counts n elements of the given number of bytes against the limit before anybody allocates them.
func (c *Call) reserve(n int64, size int) error {
	limit := c.limit()
	if n < 0 || n > limit/int64(size) || c.used+n*int64(size) > limit {
		return &LimitError{n, size, limit}
	}
	c.used += n * int64(size)
	return nil
}

// sane reports whether a shape has no negative dimension and the product of those that are not zero stays below 2**48, so
// that no product of some of its dimensions overflows.
func sane(shape []int64) bool {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 1<<48 || n > (1<<48)/max(d, 1) {
			return false
		}
		n *= max(d, 1)
	}
	return true
}

// alloc makes a zeroed slice for a tensor of that shape. A shape that exceeds the limit is an error that names it.
func alloc[T any](c *Call, shape []int64) ([]T, error) {
	if !sane(shape) {
		return nil, fmt.Errorf("shape %v is negative or too large", shape)
	}
	n := ir.NumElements(shape)
	var z T
	if err := c.reserve(n, max(1, int(unsafe.Sizeof(z)))); err != nil {
		return nil, fmt.Errorf("shape %v: %w", shape, err)
	}
	return make([]T, n), nil
}

// result is alloc for what becomes a result as a whole. It may be lent.
func result[T any](c *Call, shape []int64) ([]T, error) {
	const least = 1 << 10 // elements that are worth it
	var z T
	n := ir.NumElements(shape)
	if c.Lend == nil || unsafe.Sizeof(z) != 4 || n < least || !sane(shape) {
		return alloc[T](c, shape)
	}
	if err := c.reserve(n, 4); err != nil {
		return nil, fmt.Errorf("shape %v: %w", shape, err)
	}
	v := c.Lend(int(n))
	clear(v)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v))), len(v)), nil
}

// tick counts n elementary operations and asks the context each few million of them, which is some milliseconds.
func (c *Call) tick(n int) error {
	if c.work += n; c.work < 1<<23 {
		return nil
	}
	c.work = 0
	if c.Ctx == nil {
		return nil
	}
	return c.Ctx.Err()
}

// int is an INT attribute or its default.
func (c *Call) int(name string, def int64) int64 {
	if a := c.Attr(name); a != nil && a.Kind == ir.AttrInt {
		return a.Int()
	}
	return def
}

// float is a FLOAT attribute or its default.
func (c *Call) float(name string, def float32) float32 {
	if a := c.Attr(name); a != nil && a.Kind == ir.AttrFloat {
		return a.Float()
	}
	return def
}

// str is a STRING attribute or its default.
func (c *Call) str(name, def string) string {
	if a := c.Attr(name); a != nil && a.Kind == ir.AttrString {
		return a.Str()
	}
	return def
}

// wants reports whether the node has result i and it is used.
func (c *Call) wants(i int) bool { return i < len(c.Out) && c.Out[i] }

// given is the number of operands up to the last that is not omitted.
func (c *Call) given() int {
	n := len(c.In)
	for n > 0 && c.In[n-1] == nil {
		n--
	}
	return n
}

// badType is the error for an operand whose element type the operator does not take.
func (c *Call) badType(d ir.DType) error {
	return fmt.Errorf("%s does not take elements of type %s", c.Op, d)
}

// one wraps the only result of an operator.
func one(t *ir.Tensor, err error) ([]ir.Datum, error) {
	if err != nil {
		return nil, err
	}
	return []ir.Datum{t}, nil
}

// badOperand is the error for an operand whose type or shape does not fit the others.
func (c *Call) badOperand(i int, t *ir.Tensor) error {
	return fmt.Errorf("operand %d has type %s, which does not fit", i, t.Type())
}
