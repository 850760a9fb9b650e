package cse

import (
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/same"
)

// signature is a node in the form in which equal nodes are equal.
type signature struct {
	schema *ops.Schema
	node   *ir.Node
	in     []*ir.Value // commutative operands in the order of their numbers, no omitted ones at the end
	attrs  []*ir.Attr  // without those that state the default, by name
}

// signed makes s the signature of n, in the memory that s has. It is false for nodes that are never merged.
func signed(n *ir.Node, s *signature) bool {
	s.schema, s.node, s.in, s.attrs = ops.Of(n), n, s.in[:0], s.attrs[:0]
	if s.schema == nil || len(n.Subgraphs()) > 0 || !ops.Deterministic(n) || n.Op() == ir.Op("Constant") {
		return false
	}
	for i := range n.NumOperands() {
		s.in = append(s.in, n.Operand(i))
	}
	for len(s.in) > 0 && s.in[len(s.in)-1] == nil {
		s.in = s.in[:len(s.in)-1]
	}
	if s.schema.Has(ops.Commutative) && len(s.in) >= 2 && number(s.in[0]) > number(s.in[1]) {
		s.in[0], s.in[1] = s.in[1], s.in[0]
	}
	for _, a := range n.Attrs() {
		if d := s.schema.Attr(a.Name).Default(); d == nil || !same.Attrs(a, d) {
			s.attrs = append(s.attrs, a)
		}
	}
	slices.SortStableFunc(s.attrs, func(a, b *ir.Attr) int { return strings.Compare(a.Name, b.Name) })
	return true
}

// number tells values apart; an omitted operand is 0.
func number(v *ir.Value) uint64 {
	if v == nil {
		return 0
	}
	return uint64(v.Index()) + 1
}

// hash is equal for equal signatures of one model. Values of attributes are left out where they may be large.
func (s *signature) hash() uint64 {
	h := fnv(14695981039346656037)
	h.add(uint64(s.node.Kind()))
	h.add(uint64(s.node.NumResults()))
	for _, v := range s.in {
		h.add(number(v))
	}
	for _, a := range s.attrs {
		for _, c := range []byte(a.Name) {
			h.add(uint64(c))
		}
		h.add(uint64(a.Kind))
		h.add(uint64(a.Int()))
		for _, x := range a.Ints() {
			h.add(uint64(x))
		}
	}
	return uint64(h)
}

// fnv is the hash FNV-1a of 64 bits, taken over numbers instead of bytes.
type fnv uint64

func (h *fnv) add(x uint64) { *h = (*h ^ fnv(x)) * 1099511628211 }

// equal reports whether nodes with these signatures compute the same.
func (s *signature) equal(t *signature) bool {
	return s.schema == t.schema && slices.Equal(s.in, t.in) && slices.EqualFunc(s.attrs, t.attrs, same.Attrs) &&
		slices.EqualFunc(s.node.Results(), t.node.Results(), func(v, w *ir.Value) bool { return (v == nil) == (w == nil) })
}
