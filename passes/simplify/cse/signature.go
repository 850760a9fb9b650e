package cse

import (
	"encoding/binary"
	"hash/fnv"
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

// stated lists the attributes of n that differ from their default, by name.
func stated(n *ir.Node, s *ops.Schema) []*ir.Attr {
	var r []*ir.Attr
	for _, a := range n.Attrs() {
		if d := s.Attr(a.Name).Default(); d == nil || !same.Attrs(a, d) {
			r = append(r, a)
		}
	}
	slices.SortStableFunc(r, func(a, b *ir.Attr) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// hash is equal for equal signatures. Values of attributes are left out where they may be large.
func (s *signature) hash(id func(*ir.Value) uint64) uint64 {
	b := append([]byte(s.schema.Op().Domain+"\x00"+s.schema.Op().Type), byte(s.node.NumResults()))
	for _, v := range s.in {
		b = binary.LittleEndian.AppendUint64(b, id(v))
	}
	for _, a := range s.attrs {
		b = append(append(b, a.Name...), byte(a.Kind))
		b = binary.LittleEndian.AppendUint64(b, uint64(a.Int()))
		for _, x := range a.Ints() {
			b = binary.LittleEndian.AppendUint64(b, uint64(x))
		}
	}
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// equal reports whether nodes with these signatures compute the same.
func (s *signature) equal(t *signature) bool {
	return s.schema == t.schema && slices.Equal(s.in, t.in) && slices.EqualFunc(s.attrs, t.attrs, same.Attrs) &&
		slices.EqualFunc(s.node.Results(), t.node.Results(), func(v, w *ir.Value) bool { return (v == nil) == (w == nil) })
}
