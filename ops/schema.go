// Package ops is what operators mean: the schemas of the standard with the traits that passes rely on, and Verify, which checks a
// model against them. Types, shapes and known values are in ops/infer, numerics in ops/kernel.
package ops

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// Schema is one version of an operator.
type Schema = schema.Schema

// Trait is a set of properties of an operator.
type Trait = schema.Trait

// The traits; package schema says what each of them promises.
const (
	Unary        = schema.Unary
	Broadcast    = schema.Broadcast
	Commutative  = schema.Commutative
	Idempotent   = schema.Idempotent
	Involution   = schema.Involution
	Movement     = schema.Movement
	ShapeOnly    = schema.ShapeOnly
	Random       = schema.Random
	Reduction    = schema.Reduction
	Quantization = schema.Quantization
	Control      = schema.Control
)

// Lookup is the schema of op that an import of version opset of its domain puts in force, nil if the operator is unknown.
func Lookup(op ir.OpID, opset int64) *Schema { return schema.Lookup(op, opset) }

// Of is the schema of n in the operator set that n's graph imports. It is nil where nothing is known of n: for an unknown operator, a
// call of a model-local function, an operator set newer than the table.
func Of(n *ir.Node) *Schema { return schema.Of(n) }

// Has reports whether n is an operator with all traits of t.
func Has(n *ir.Node, t Trait) bool { return Of(n).Has(t) }

// Int is an INT attribute of n or the schema's default for it, 0 if there is neither. The attribute must not be a reference to a
// function's: callers ask ir.Node.Is or HasRefs first. The same holds for the other accessors.
func Int(n *ir.Node, name string) int64 {
	if a := n.Attr(name); a != nil {
		return a.Int()
	}
	return Of(n).Attr(name).Int()
}

// Float is a FLOAT attribute of n or the schema's default for it.
func Float(n *ir.Node, name string) float32 {
	if a := n.Attr(name); a != nil {
		return a.Float()
	}
	return Of(n).Attr(name).Float()
}

// Str is a STRING attribute of n or the schema's default for it.
func Str(n *ir.Node, name string) string {
	if a := n.Attr(name); a != nil {
		return a.Str()
	}
	return Of(n).Attr(name).Str()
}

// Ints is an INTS attribute of n or the schema's default for it. The caller must not change it.
func Ints(n *ir.Node, name string) []int64 {
	if a := n.Attr(name); a != nil {
		return a.Ints()
	}
	return Of(n).Attr(name).Ints()
}

// Strs is a STRINGS attribute of n or the schema's default for it. The caller must not change it.
func Strs(n *ir.Node, name string) []string {
	if a := n.Attr(name); a != nil {
		return a.Strs()
	}
	return Of(n).Attr(name).Strs()
}

// Deterministic reports whether every evaluation of n gives the same results for the same operands. A node of unknown meaning is
// not deterministic; one with subgraphs is if all nodes in them are. Random operators with a fixed seed count as random: the
// standard does not say which numbers the seed gives. A call of a model-local function is as its body.
func Deterministic(n *ir.Node) bool {
	if s := Of(n); s != nil && !s.Has(Random) && len(n.Subgraphs()) == 0 {
		return true
	}
	return deterministic(n, map[*ir.Function]bool{})
}

func deterministic(n *ir.Node, known map[*ir.Function]bool) bool {
	s := Of(n)
	if s == nil {
		f := n.Graph().Model().Function(n.Op())
		if f == nil {
			return false
		}
		r, ok := known[f]
		if !ok {
			known[f] = false // while the body is looked at, against recursion
			r = deterministicGraph(f.Graph, known)
			known[f] = r
		}
		return r
	}
	if s.Has(Random) && !(s.Op().Type == "Dropout" && dropsNothing(n, s)) {
		return false
	}
	for _, g := range n.Subgraphs() {
		if !deterministicGraph(g, known) {
			return false
		}
	}
	return true
}

func deterministicGraph(g *ir.Graph, known map[*ir.Function]bool) bool {
	for n := range g.Nodes() {
		if !deterministic(n, known) {
			return false
		}
	}
	return true
}

// dropsNothing reports whether a Dropout is surely in inference mode. Before opset 7 is_test says so (default 0, training), from 7
// to 11 the operator has no other mode, from 12 operand training_mode says so and its absence means inference.
func dropsNothing(n *ir.Node, s *Schema) bool {
	switch {
	case s.Since() < 7:
		return Int(n, "is_test") != 0 && !n.HasRefs()
	case s.Since() < 12 || n.Operand(2) == nil:
		return true
	}
	t := n.Operand(2).Const()
	if t == nil || t.DType() != ir.Bool || t.Len() != 1 {
		return false
	}
	b, err := t.Bytes()
	return err == nil && b[0] == 0
}
