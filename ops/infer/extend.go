package infer

import "github.com/onnxopt/onnxopt/ir"

// Extend makes v known if it is the result of a node that was made after r, and before it what it depends on. What is known
// already stays: a rewrite does not change what a value computes. Nothing is added to the remarks.
func (r *Result) Extend(v *ir.Value) {
	if !r.lacks(v) {
		return
	}
	remarks := r.remarks
	todo := []*ir.Node{v.Node()}
	waits := map[*ir.Node]bool{}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		if !waits[n] {
			waits[n] = true
			todo = r.above(n, todo)
			continue
		}
		todo = todo[:len(todo)-1]
		if r.anyLacking(n) {
			r.shared.budget += callFactor
			inside := n.Graph().Outer() != nil // perhaps the body of a loop, in which names of sizes are not taken as they are
			a := &analysis{shared: r.shared, vals: r.vals, unsure: 1, generic: n.Graph().Function() != nil}
			if inside {
				a.loops = 1
			}
			a.node(n)
		}
	}
	r.remarks = remarks
}

// lacks reports whether v is the result of a living node that r has not seen.
func (r *Result) lacks(v *ir.Value) bool {
	if v == nil || v.Node() == nil || v.Dead() {
		return false
	}
	_, seen := r.vals.get(v)
	return !seen
}

func (r *Result) anyLacking(n *ir.Node) bool {
	for _, v := range n.Results() {
		if r.lacks(v) {
			return true
		}
	}
	return false
}

// above appends the nodes whose results n waits for and r lacks.
func (r *Result) above(n *ir.Node, list []*ir.Node) []*ir.Node {
	values := n.Operands()
	for _, s := range n.Subgraphs() {
		values = append(values, s.Captures()...)
	}
	for _, v := range values {
		if r.lacks(v) {
			list = append(list, v.Node())
		}
	}
	return list
}
