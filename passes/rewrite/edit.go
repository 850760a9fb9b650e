package rewrite

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
)

// edit is one application of a rule.
type edit struct {
	d *driver
	m *Match

	made     []*ir.Node
	consts   []*ir.Value
	changed  []*ir.Node
	released []*ir.Value // lost a use
	erased   int

	failed  error // of the data: ends the pass
	refused error // why the replacement does not do
}

// run builds the replacement, checks it and puts it in place. If it returns false the graph is as before.
func (e *edit) run() bool {
	b := newBuilder(e.m)
	to := e.m.rule.Replace(b, e.m)
	from := make([]*ir.Value, len(e.m.tree.replaced))
	for i, r := range e.m.tree.replaced {
		from[i] = e.m.nodes[r.node].Result(r.result)
	}
	if e.failed = e.m.err; e.failed == nil {
		e.failed = b.failed
	}
	if e.refused = b.refused; e.refused == nil && e.failed == nil {
		if err := e.contract(from, to); err != nil {
			e.takeBack()
			panic("rewrite: rule " + e.m.rule.Name + ": " + err.Error())
		}
		e.refused = e.types(from, to)
	}
	if e.failed != nil || e.refused != nil {
		e.takeBack()
		return false
	}
	for i, v := range from {
		if v != to[i] {
			v.ReplaceUses(to[i])
		}
	}
	e.clean()
	return true
}

// takeBack erases what was made.
func (e *edit) takeBack() {
	for _, n := range slices.Backward(e.made) {
		if !n.Dead() { // with the node whose subgraph it stood in
			n.Graph().Erase(n)
		}
	}
	for _, v := range e.consts {
		v.Graph().EraseConst(v)
	}
}

// clean erases matched nodes that are not used any more, consumers first, and constants among their operands that thereby
// lost their last use.
func (e *edit) clean() {
	var operands []*ir.Value
	for _, n := range slices.Backward(e.m.nodes) {
		if !n.Dead() && !n.Used() {
			operands = append(operands, n.Operands()...)
			n.Graph().Erase(n)
		}
	}
	for _, v := range operands {
		if v == nil || v.Dead() || v.NumUses() > 0 {
			continue
		}
		switch n := v.Node(); {
		case n != nil && v.Const() != nil && !n.Used():
			n.Graph().Erase(n)
		case v.IsInitializer() && len(e.d.m.Training) == 0: // training_info may refer to an initializer by name
			v.Graph().EraseConst(v)
		}
	}
	for _, n := range e.made {
		e.rename(n)
	}
}

// rename takes the name of a node away from its copy if both are there now.
func (e *edit) rename(n *ir.Node) {
	if n.Name() != "" && slices.ContainsFunc(e.m.nodes, func(o *ir.Node) bool { return !o.Dead() && o.Name() == n.Name() }) {
		n.SetName("")
	}
}

// contract says what is wrong with a replacement that no rule may build: it has another number of values, or it is made of
// values from elsewhere than above the match, so that it might form a cycle. Captures, operands and results of matched nodes,
// constants and graph inputs in sight, and what is made of these, are above.
func (e *edit) contract(from, to []*ir.Value) error {
	if len(to) != len(from) {
		return fmt.Errorf("the replacement has %d values instead of %d", len(to), len(from))
	}
	for i, v := range to {
		switch {
		case v == nil || v.Dead():
			return fmt.Errorf("value %d of the replacement is missing", i)
		case v == from[i] && v.Node() == e.m.Root():
			return fmt.Errorf("value %d of the replacement is what it is to replace", i)
		}
	}
	known := e.known(from, to)
	g := e.m.Root().Graph()
	use := func(v *ir.Value) error {
		if v == nil || known[v] || v.Node() == nil && v.Graph().Encloses(g) {
			return nil
		}
		return fmt.Errorf("the replacement uses value %q, which is not part of the match or is to be replaced", v.Name())
	}
	for _, n := range e.made {
		if n.Graph() != g {
			continue // inside a subgraph that the rule made; what it captures is checked with its owner
		}
		above := n.Operands()
		for _, s := range n.Subgraphs() {
			above = append(above, s.Captures()...)
		}
		for _, v := range above {
			if err := use(v); err != nil {
				return err
			}
		}
	}
	for _, v := range to {
		if err := use(v); err != nil {
			return err
		}
	}
	return nil
}

// known are the values that a replacement may be made of.
func (e *edit) known(from, to []*ir.Value) map[*ir.Value]bool {
	known := map[*ir.Value]bool{}
	for _, n := range append(slices.Clone(e.m.nodes), e.made...) {
		for _, v := range n.Results() {
			known[v] = true
		}
	}
	for _, n := range e.m.nodes {
		for _, v := range n.Operands() {
			known[v] = true
		}
	}
	for i, v := range from {
		if v != to[i] {
			delete(known, v)
		}
	}
	return known
}

// types checks that what is known of a replaced value and of its replacement does not contradict.
func (e *edit) types(from, to []*ir.Value) error {
	f, err := e.d.known()
	if err != nil {
		e.failed = err
		return nil
	}
	for i, v := range from {
		was, is := f.Type(v), f.Type(to[i])
		if _, ok := was.Merge(is); !ok {
			return fmt.Errorf("result %q of type %s would become one of type %s", v.Name(), was, is)
		}
	}
	return nil
}
