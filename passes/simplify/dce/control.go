package dce

import (
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
)

// control removes unused results of If, Loop and Scan.
func (e *eliminator) control(n *ir.Node) {
	switch {
	case !n.Used():
	case n.Is("If"):
		e.branches(n)
	case n.Is("Loop"):
		body := n.Attr("body").Graph()
		if body != nil {
			e.rounds(&iteration{n: n, body: body, states: n.NumOperands() - 2, operand: 2, input: 2, output: 1})
		}
	case n.Is("Scan") && ops.Of(n).Since() >= 9:
		body := n.Attr("body").Graph()
		if scanned := int(n.Int("num_scan_inputs", 0)); body != nil && scanned > 0 {
			e.rounds(&iteration{n: n, body: body, states: n.NumOperands() - scanned, scanned: scanned})
		}
	}
}

// branches removes the results of an If that are not used, and the outputs of both branches for them.
func (e *eliminator) branches(n *ir.Node) {
	then, other := n.Attr("then_branch").Graph(), n.Attr("else_branch").Graph()
	if then == nil || other == nil || len(then.Outputs()) != n.NumResults() || len(other.Outputs()) != n.NumResults() {
		return
	}
	var idle []int
	for i, v := range n.Results() {
		if v.NumUses() == 0 {
			idle = append(idle, i)
		}
	}
	if len(idle) == 0 {
		return
	}
	e.c.Rewrite("branches", n, nil, func() {
		for _, i := range slices.Backward(idle) {
			n.RemoveResult(i)
			then.RemoveOutput(i)
			other.RemoveOutput(i)
		}
	})
}

// iteration is a Loop or a Scan. States are carried from round to round: operand `operand`+i is the first value of state i, input `input`+i
// the value in a round, output `output`+i that for the next, result i the last one. A Scan has operands and inputs after those of the
// states, along which it goes; results and outputs after those of the states are collected.
type iteration struct {
	n                      *ir.Node
	body                   *ir.Graph
	states, scanned        int
	operand, input, output int

	state map[*ir.Value]int // by input
	keep  []bool            // states that matter
	live  map[*ir.Node]bool // nodes of the body that matter
}

// wellFormed reports whether the numbers of operands, inputs, outputs and results fit together.
func (t *iteration) wellFormed() bool {
	return t.states >= 0 && len(t.body.Inputs()) == t.input+t.states+t.scanned && len(t.body.Outputs()) >= t.output+t.states &&
		t.n.NumResults() <= len(t.body.Outputs())-t.output
}

// rounds removes from a Loop or Scan what serves results that are not used.
func (e *eliminator) rounds(t *iteration) {
	if !t.wellFormed() {
		return
	}
	t.mark(e)
	if least, _ := ops.Of(t.n).NumInputs(); t.states > 0 && t.operand+t.scanned < least && !slices.Contains(t.keep, true) {
		t.mark(e, 0) // a Loop before opset 11 needs one
	}
	var states, collected, sequences []int
	for i, keep := range t.keep {
		if !keep {
			states = append(states, i)
		}
	}
	for i := t.states; i < len(t.body.Outputs())-t.output; i++ {
		if t.n.Result(i).NumUses() == 0 {
			collected = append(collected, i)
		}
	}
	for i := range t.scanned {
		if !t.reads(t.input + t.states + i) {
			sequences = append(sequences, i)
		}
	}
	if len(sequences) == t.scanned && t.scanned > 0 {
		sequences = sequences[1:] // one has to say how many rounds there are
	}
	if len(states)+len(collected)+len(sequences) == 0 {
		return
	}
	e.c.Rewrite("rounds", t.n, nil, func() { t.remove(states, collected, sequences) })
}

// mark finds the states and the nodes of the body on which depend: the results that are used, the decision whether to go on, and nodes with
// effects that nobody knows. The listed states count as used.
func (t *iteration) mark(e *eliminator, used ...int) {
	t.keep, t.live, t.state = make([]bool, t.states), map[*ir.Node]bool{}, map[*ir.Value]int{}
	for i := range t.states {
		t.state[t.body.Inputs()[t.input+i].Value()] = i
	}
	var todo []*ir.Value
	outs := t.body.Outputs()
	for i := range t.output {
		todo = append(todo, outs[i].Value())
	}
	for i := t.output; i < len(outs); i++ {
		if t.n.Result(i-t.output).NumUses() == 0 && !slices.Contains(used, i-t.output) {
			continue
		}
		todo = append(todo, outs[i].Value())
		if i-t.output < t.states {
			t.keep[i-t.output] = true
		}
	}
	need := func(n *ir.Node) {
		if t.live[n] {
			return
		}
		t.live[n] = true
		todo = append(todo, n.Operands()...)
		for _, s := range n.Subgraphs() {
			todo = append(todo, s.Captures()...)
		}
	}
	for n := range t.body.Nodes() {
		if !e.pure(n) {
			need(n)
		}
	}
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch i, carried := t.state[v]; {
		case v == nil || v.Graph() != t.body:
		case v.Node() != nil:
			need(v.Node())
		case carried && !t.keep[i]:
			t.keep[i] = true
			todo = append(todo, outs[t.output+i].Value())
		}
	}
}

// reads reports whether something that matters reads input i of the body.
func (t *iteration) reads(i int) bool {
	for u := range t.body.Inputs()[i].Value().Uses() {
		n := u.Node
		for n.Graph() != t.body { // a capture
			n = n.Graph().Owner()
		}
		if !n.IsReturn() && t.live[n] {
			return true
		}
		if n.IsReturn() && t.returns(u.Index) {
			return true
		}
	}
	return false
}

// returns reports whether output i of the body matters.
func (t *iteration) returns(i int) bool {
	switch k := i - t.output; {
	case k < 0:
		return true
	case k < t.states:
		return t.keep[k]
	default:
		return t.n.Result(k).NumUses() > 0
	}
}

// remove takes states, collected results and scanned sequences away, and the nodes of the body that served only them.
func (t *iteration) remove(states, collected, sequences []int) {
	for _, i := range slices.Backward(slices.Concat(states, collected)) {
		t.body.RemoveOutput(t.output + i)
		if i < t.n.NumResults() {
			t.n.RemoveResult(i)
		}
	}
	for n := range t.body.Backward() {
		if !t.live[n] && !n.Used() {
			t.body.Erase(n)
		}
	}
	for _, i := range slices.Backward(sequences) {
		if k := t.input + t.states + i; t.body.Inputs()[k].Value().NumUses() == 0 {
			t.body.RemoveInput(k)
			t.n.RemoveOperand(t.operand + t.states + i)
			t.scanned--
			t.forget("scan_input_axes", i)
			t.forget("scan_input_directions", i)
		}
	}
	for _, i := range slices.Backward(states) {
		t.body.RemoveInput(t.input + i)
		t.n.RemoveOperand(t.operand + i)
	}
	for _, i := range slices.Backward(collected) {
		t.forget("scan_output_axes", i-t.states)
		t.forget("scan_output_directions", i-t.states)
	}
	if len(sequences) > 0 {
		t.n.SetAttr(ir.IntAttr("num_scan_inputs", int64(t.scanned)))
	}
}

// forget takes entry i out of a list attribute, if there is one.
func (t *iteration) forget(name string, i int) {
	if v := t.n.Ints(name); i < len(v) {
		t.n.SetAttr(ir.IntsAttr(name, slices.Delete(slices.Clone(v), i, i+1)))
	}
}
