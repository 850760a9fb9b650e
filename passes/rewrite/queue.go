package rewrite

import "github.com/onnxopt/onnxopt/ir"

// queue holds the nodes that are to be visited, each once, first in first out.
type queue struct {
	nodes   []*ir.Node
	head    int
	waiting map[*ir.Node]bool
}

// enqueue puts n in line if it may be the root of a match.
func (d *driver) enqueue(n *ir.Node) {
	if len(d.candidates(n)) > 0 && !d.waiting[n] {
		d.waiting[n] = true
		d.nodes = append(d.nodes, n)
	}
}

// pop takes the next living node out of the line, nil if there is none.
func (d *driver) pop() *ir.Node {
	for d.head < len(d.nodes) {
		n := d.nodes[d.head]
		d.nodes[d.head] = nil
		d.head++
		delete(d.waiting, n)
		if !n.Dead() {
			return n
		}
	}
	d.nodes, d.head = d.nodes[:0], 0
	return nil
}

// listener collects what an edit touches. Edits are not acted upon before they are finished.
func (d *driver) listener() *ir.Listener {
	return &ir.Listener{
		Made: func(n *ir.Node) {
			if d.edit != nil {
				d.edit.made = append(d.edit.made, n)
			}
		},
		Const: func(v *ir.Value) {
			if d.edit != nil {
				d.edit.consts = append(d.edit.consts, v)
			}
		},
		Erased: func(n *ir.Node) {
			if d.edit != nil {
				d.edit.erased++
				d.edit.released = append(d.edit.released, n.Operands()...)
			}
		},
		Operand: func(n *ir.Node, _ int, old *ir.Value) {
			if d.edit != nil {
				d.edit.changed = append(d.edit.changed, n)
				d.edit.released = append(d.edit.released, old)
			}
		},
		Attr: func(n *ir.Node) {
			if d.edit != nil {
				d.edit.changed = append(d.edit.changed, n)
			}
		},
	}
}

// hub is the number of uses above which a value's users are not visited again because of a change above it: the sum over all
// changes would not be linear.
const hub = 256

// settle puts in line what may match now: nodes that were made or changed, users of values that lost uses, and what lies
// below either within the reach of a pattern.
func (d *driver) settle(e *edit) {
	for _, n := range e.made {
		d.below(n, d.depth)
	}
	for _, n := range e.changed {
		d.below(n, d.depth)
	}
	for _, v := range e.released {
		// A value may have become one that only a match uses.
		if v != nil && !v.Dead() && v.NumUses() <= d.maxUses {
			d.users(v, d.depth-1)
		}
	}
}

// below puts n and, as far as a pattern of the given depth reaches, its users in line.
func (d *driver) below(n *ir.Node, depth int) {
	if depth <= 0 || n.Dead() || n.IsReturn() {
		return
	}
	d.enqueue(n)
	most := d.maxUses
	if d.shared {
		most = hub
	}
	for _, v := range n.Results() {
		if v.NumUses() <= most {
			d.users(v, depth-1)
		}
	}
}

func (d *driver) users(v *ir.Value, depth int) {
	if v == nil || depth <= 0 {
		return
	}
	for i := range v.NumUses() { // nothing is edited meanwhile
		if u := v.Use(i); u.Node.Graph() == v.Graph() {
			d.below(u.Node, depth)
		}
	}
}
