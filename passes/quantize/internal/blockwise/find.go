package blockwise

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// use is a place where a weight is multiplied or looked up.
type use struct {
	node      *ir.Node // MatMul, Gemm, Gather
	operand   int      // of node
	transpose *ir.Node // between the weight and node, nil if there is none
}

// gathers reports whether the weight is a table whose rows are looked up.
func (u use) gathers() bool { return u.node.Is("Gather") }

// target is a weight that can be quantized, with all its uses.
type target struct {
	w      *ir.Value
	inputs int // the axis that is summed, or that of a row of a table
	uses   []use
	head   bool // gives the scores of a vocabulary
	why    string
}

func (t *target) embedding() bool {
	for _, u := range t.uses {
		if u.gathers() {
			return true
		}
	}
	return false
}

// name is what messages call the weight.
func (t *target) name() string {
	if t.w.Name() != "" {
		return t.w.Name()
	}
	return "of " + t.uses[0].node.String()
}

// find lists the weights of products and the tables of lookups, in the order of their first use. A weight that cannot be quantized
// has a reason why.
func find(f *facts.Facts, m *ir.Model) []*target {
	var r []*target
	seen := map[*ir.Value]bool{}
	for n := range m.Nodes() {
		for i, v := range n.Operands() {
			if t := v.Const(); t == nil || seen[v] || t.Rank() != 2 || !float(t.DType()) || !product(n, i) && !lookup(n, i) && !turned(n) {
				continue
			}
			seen[v] = true
			r = append(r, look(f, v))
		}
	}
	return r
}

func float(d ir.DType) bool { return d == ir.Float32 || d == ir.Float16 || d == ir.BFloat16 }

// product reports whether operand i of n is the second factor of a product.
func product(n *ir.Node, i int) bool { return i == 1 && n.Is("MatMul", "Gemm") }

func lookup(n *ir.Node, i int) bool { return i == 0 && n.Is("Gather") && n.Int("axis", 0) == 0 }

// turned reports whether n exchanges the axes of a matrix for a product.
func turned(n *ir.Node) bool {
	p := n.Ints("perm")
	if !n.Is("Transpose") || p != nil && (len(p) != 2 || p[0] != 1) {
		return false
	}
	for u := range n.Result(0).Uses() {
		if product(u.Node, u.Index) {
			return true
		}
	}
	return false
}

// look finds the uses of a weight and the axis that all of them sum.
func look(f *facts.Facts, w *ir.Value) *target {
	t := &target{w: w, inputs: -1}
	add := func(n *ir.Node, i int, transpose *ir.Node, inputs int) {
		if t.inputs >= 0 && t.inputs != inputs {
			t.why = fmt.Sprintf("it is used with different axes, by %s too", n)
		}
		t.inputs = inputs
		t.uses = append(t.uses, use{n, i, transpose})
		t.head = t.head || product(n, i) && scores(w.Const().Shape(), inputs) && last(n)
	}
	for u := range w.Uses() {
		n := u.Node
		switch {
		case product(n, u.Index):
			add(n, u.Index, nil, int(n.Int("transB", 0)))
		case lookup(n, u.Index):
			add(n, u.Index, nil, 1)
		case turned(n):
			for v := range n.Result(0).Uses() {
				if !product(v.Node, v.Index) || v.Node.Int("transB", 0) != 0 {
					t.why = fmt.Sprintf("%s uses its transposition", v.Node)
					continue
				}
				add(v.Node, v.Index, n, 1)
			}
		default:
			t.why = fmt.Sprintf("%s uses it, too", n)
		}
		if n.Graph().Function() != nil {
			t.why = "it is in a function"
		}
	}
	return t
}

// scores reports whether a matrix has the shape of one that scores a vocabulary.
func scores(shape []int64, inputs int) bool {
	return shape[1-inputs] >= 1000 && shape[1-inputs] >= 2*shape[inputs]
}

// last reports whether the results of n lead to outputs without another product.
func last(n *ir.Node) bool {
	todo, seen := []*ir.Node{n}, map[*ir.Node]bool{n: true}
	for len(todo) > 0 && len(seen) < 64 {
		k := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, v := range k.Results() {
			if v == nil {
				continue
			}
			for u := range v.Uses() {
				switch {
				case u.Node.IsReturn() && u.Node.Graph().Outer() == nil:
					return true
				case u.Node.Is("MatMul", "Gemm", "Conv"):
					return false
				case !seen[u.Node]:
					seen[u.Node] = true
					todo = append(todo, u.Node)
				}
			}
		}
	}
	return false
}

// Any reports whether a model has a weight of at least so many elements that may be quantized, those that callers may override included.
func Any(m *ir.Model, least int64) bool {
	for n := range m.Nodes() {
		for i, v := range n.Operands() {
			if v == nil || !product(n, i) && !lookup(n, i) && !turned(n) {
				continue
			}
			t := v.Const()
			if t == nil {
				t = v.Default()
			}
			if t != nil && t.Rank() == 2 && float(t.DType()) && t.Len() >= least {
				return true
			}
		}
	}
	return false
}
