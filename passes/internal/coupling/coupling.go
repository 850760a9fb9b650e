// Package coupling finds which elements of a model's dimensions have to go together: if channel 3 of a convolution's result goes, so does
// element 3 of its bias and of the normalization after it, of whatever is added to it, and the slices of the weights that read it.
//
// It knows no shapes of networks. Each operator states how the dimensions of its operands and results are related (rules.go and the files
// beside it): that elements correspond one to one, or that a dimension is the product of others, as Reshape, grouped convolutions and gates
// make them. What corresponds is one class (union-find); products make units of classes: a Reshape of 384 into 12 by 32 leaves 12 units of 32
// elements (heads) and 32 units of 12. An operator that nobody described is a barrier: all dimensions that touch it stay.
//
// Removing a unit gives what the model computed with the unit's contributions at zero: wherever an operator adds up over a dimension that
// shrinks, the terms left out are those of the unit. Operators that look at a whole dimension in another way (Softmax, LayerNormalization,
// means, sorting) keep theirs.
//
// The idea of closing a removal over dependencies between layers is that of Fang, Ma, Song, Mi and Wang (DepGraph: towards any structural
// pruning, CVPR 2023); here it is one of elements and not of layers, so that concatenations, shuffles and heads need no special case.
package coupling

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// Facts is what has to be known of values; *facts.Facts and *infer.Result are such.
type Facts interface {
	Dims(v *ir.Value) ([]infer.Int, bool)
	Ints(v *ir.Value) ([]infer.Int, bool)
	Known(v *ir.Value) *ir.Tensor
}

// Role is what a dimension of a weight is to the node that multiplies with it.
type Role uint8

// The roles. Sums go over dimensions with the role In.
const (
	None Role = iota
	Out
	In
)

// Axis is a dimension that may lose elements: one of a value, of a constant as one operand sees it, or one that only an operator has, such
// as the groups of a convolution.
type Axis struct {
	Value   *ir.Value // nil for the other two
	Node    *ir.Node  // of a constant's use or an operator's own dimension
	Operand int       // of the use; -1 for an operator's own
	Dim     int
	Size    int

	base int // its first element
}

// Const is the constant of a use, nil for other axes.
func (a *Axis) Const() *ir.Value {
	if a.Node == nil || a.Operand < 0 {
		return nil
	}
	return a.Node.Operand(a.Operand)
}

// String names the axis for messages.
func (a *Axis) String() string {
	switch {
	case a.Value != nil:
		return fmt.Sprintf("%s[%d]", Label(a.Value), a.Dim)
	case a.Operand >= 0:
		return fmt.Sprintf("%s[%d] of %s", Label(a.Const()), a.Dim, NodeLabel(a.Node))
	}
	return fmt.Sprintf("%d of %s", a.Dim, NodeLabel(a.Node))
}

// Label is the value's name, or that of the node that makes it.
func Label(v *ir.Value) string {
	if v.Name() != "" {
		return v.Name()
	}
	if n := v.Node(); n != nil {
		return "a result of " + NodeLabel(n)
	}
	return "a constant"
}

// NodeLabel is the operator and the node's name or that of its first named result.
func NodeLabel(n *ir.Node) string {
	name := n.Name()
	for _, v := range n.Results() {
		if name == "" && v != nil {
			name = v.Name()
		}
	}
	if name == "" {
		return n.Op().String()
	}
	return fmt.Sprintf("%s %q", n.Op(), name)
}

const (
	unit    int32 = -1 // an axis of one element, which may be repeated where it meets another
	unknown int32 = -2 // of unknown or no size: whatever meets it stays
)

// maxAxis is the longest dimension that is looked at element by element; longer ones stay as they are.
const maxAxis = 1 << 17

// product says that index i of whole stands for indices (i0, i1, ...) of the parts, the last one running fastest.
type product struct {
	whole  int32
	parts  []int32
	stride []int
}

// Contraction is a node that adds up over a dimension of weights.
type Contraction struct {
	Node    *ir.Node
	Operand int    // that of the weights
	Roles   []Role // of the dimensions of the weights
	Data    int    // the operand that is multiplied with them; -1: the state of a recurrent node
	DataDim []int  // by dimension of the weights that is summed over: that of the data; else -1
	OutDim  int    // the dimension of result 0 that the weights' Out dimension becomes; -1: none
}

// Graph is the coupling of the main graph of a model.
type Graph struct {
	Contractions []Contraction

	model    *ir.Model
	facts    Facts
	axes     []*Axis
	values   map[*ir.Value][]int32
	uses     map[ir.Use][]int32
	parent   []int32 // union-find over elements
	products []product
	reasons  []string // why an element stays; 0: it need not
	why      []int32  // by element while relations are stated, then by class
	fixups   map[*ir.Node]func(*removal) error
	elements []int32 // axis of each element
	met      []int   // by axis: the last node that said something of it
	nodes    int
}

// New states the relations of all nodes of m's main graph. Dimensions of values that subgraphs capture stay.
func New(m *ir.Model, f Facts) *Graph {
	g := &Graph{model: m, facts: f, values: map[*ir.Value][]int32{}, uses: map[ir.Use][]int32{}, reasons: []string{""}, fixups: map[*ir.Node]func(*removal) error{}}
	for _, s := range m.Main.Inputs() {
		why := fmt.Sprintf("%q is an input of the model", s.Name())
		if s.Value().Default() != nil {
			why += " with a default (--freeze-defaults makes it a constant)"
		}
		g.fixAll(g.ofValue(s.Value()), why)
	}
	for n := range m.Main.Nodes() {
		g.relate(n)
	}
	for i, s := range m.Main.Outputs() {
		g.fixAll(g.operand(m.Main.Return(), i), fmt.Sprintf("%q is an output of the model", s.Name()))
	}
	g.spread()
	return g
}

// ofValue are the axes of v by dimension, nil if its rank is not known.
func (g *Graph) ofValue(v *ir.Value) []int32 {
	if v == nil {
		return nil
	}
	a, ok := g.values[v]
	if !ok {
		if dims, ranked := g.facts.Dims(v); ranked {
			a = make([]int32, len(dims))
			for i, d := range dims {
				n, known := d.Const()
				a[i] = g.axis(Axis{Value: v, Dim: i}, n, known)
			}
		}
		g.values[v] = a
	}
	return a
}

// operand are the axes of operand i of n: those of the value, or if it is a constant, those of this use of it.
func (g *Graph) operand(n *ir.Node, i int) []int32 {
	v := n.Operand(i)
	t := v.Const()
	if t == nil {
		return g.ofValue(v)
	}
	u := ir.Use{Node: n, Index: i}
	a, ok := g.uses[u]
	if !ok {
		a = make([]int32, t.Rank())
		whole := t.DType() != ir.String && t.DType().Bits()%8 == 0 // elements are bytes that can be left out
		for d, size := range t.Shape() {
			a[d] = g.axis(Axis{Node: n, Operand: i, Dim: d}, size, whole)
		}
		g.uses[u] = a
	}
	return a
}

// own makes a dimension that only the operator n has.
func (g *Graph) own(n *ir.Node, size int) int32 {
	return g.axis(Axis{Node: n, Operand: -1}, int64(size), true)
}

func (g *Graph) axis(a Axis, size int64, known bool) int32 {
	switch {
	case !known || size < 1 || size > maxAxis:
		return unknown
	case size == 1:
		return unit
	}
	a.Size, a.base = int(size), len(g.parent)
	id := int32(len(g.axes))
	for range a.Size {
		g.parent = append(g.parent, int32(len(g.parent)))
		g.elements = append(g.elements, id)
		g.why = append(g.why, 0)
	}
	g.axes, g.met = append(g.axes, &a), append(g.met, -1)
	return id
}

func (g *Graph) find(e int32) int32 {
	for g.parent[e] != e {
		g.parent[e] = g.parent[g.parent[e]]
		e = g.parent[e]
	}
	return e
}

// join makes two elements one class. The older one is its root, so that results do not depend on the order of relations.
func (g *Graph) join(a, b int32) {
	g.met[g.elements[a]], g.met[g.elements[b]] = g.nodes, g.nodes
	a, b = g.find(a), g.find(b)
	if a == b {
		return
	}
	if b < a {
		a, b = b, a
	}
	g.parent[b] = a
	if g.why[a] == 0 {
		g.why[a] = g.why[b]
	}
}

// element is element i of an axis.
func (g *Graph) element(axis int32, i int) int32 { return int32(g.axes[axis].base + i) }

// fix makes all elements of an axis stay.
func (g *Graph) fix(axis int32, reason string) { g.fixAll([]int32{axis}, reason) }

func (g *Graph) fixAll(axes []int32, reason string) {
	k := int32(-1)
	for _, a := range axes {
		if a < 0 {
			continue
		}
		if k < 0 {
			k = int32(len(g.reasons))
			g.reasons = append(g.reasons, reason)
		}
		g.met[a] = g.nodes
		for i := range g.axes[a].Size {
			if e := g.find(g.element(a, i)); g.why[e] == 0 {
				g.why[e] = k
			}
		}
	}
}

// barrier makes all that n touches stay.
func (g *Graph) barrier(n *ir.Node, why string) {
	reason := fmt.Sprintf("%s %s", NodeLabel(n), why)
	for i := range n.NumOperands() {
		if n.Operand(i) != nil {
			g.fixAll(g.operand(n, i), reason)
		}
	}
	for _, v := range n.Results() {
		g.fixAll(g.ofValue(v), reason)
	}
	for _, s := range n.Subgraphs() {
		for _, v := range s.Captures() {
			g.fixAll(g.ofValue(v), reason)
		}
	}
}

// equal relates two axes element by element. Where one is of one element or not known, there is nothing to relate: the other stays if that
// may matter.
func (g *Graph) equal(n *ir.Node, a, b int32) {
	switch {
	case a >= 0 && b >= 0 && g.axes[a].Size == g.axes[b].Size:
		g.pairs(a, 0, b, 0, g.axes[a].Size)
	case a == unit || b == unit:
		if a == unknown || b == unknown || a == b {
			return
		}
		g.fix(max(a, b), NodeLabel(n)+" gives it a dimension of one element")
	default:
		g.fixAll([]int32{a, b}, NodeLabel(n)+" relates it to a dimension that is not known")
	}
}

// broadcast is equal for operators that repeat dimensions of one element.
func (g *Graph) broadcast(n *ir.Node, in, out int32) {
	if in == unit {
		return
	}
	g.equal(n, in, out)
}

// pairs relates count elements of a from i on to those of b from j on.
func (g *Graph) pairs(a int32, i int, b int32, j, count int) {
	for k := range count {
		g.join(g.element(a, i+k), g.element(b, j+k))
	}
}

// product states that whole is made of parts, slowest first. Parts of one element say nothing; one part alone is the whole itself.
func (g *Graph) product(n *ir.Node, whole int32, parts ...int32) {
	var p []int32
	size := 1
	for _, a := range parts {
		switch a {
		case unit:
		case unknown:
			g.fixAll(append([]int32{whole}, parts...), NodeLabel(n)+" makes it of dimensions that are not known")
			return
		default:
			p = append(p, a)
			size *= g.axes[a].Size
		}
	}
	switch {
	case whole == unknown:
		g.fixAll(p, NodeLabel(n)+" makes a dimension of it that is not known")
	case whole == unit:
	case size != g.axes[whole].Size:
		g.fixAll(append(p, whole), NodeLabel(n)+" makes it of dimensions whose sizes do not fit")
	case len(p) == 1:
		g.equal(n, whole, p[0])
	default:
		stride := make([]int, len(p))
		s := 1
		for i := len(p) - 1; i >= 0; i-- {
			stride[i] = s
			s *= g.axes[p[i]].Size
		}
		g.products = append(g.products, product{whole, p, stride})
		for _, a := range append(p, whole) {
			g.met[a] = g.nodes
		}
	}
}
