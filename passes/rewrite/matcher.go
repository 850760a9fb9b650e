package rewrite

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// matcher searches the ways in which a tree fits below a root. The structure is bound first, operators and operands, going
// back where a commutative operator fits in either order; what the pattern says of the bound values is checked on each
// complete binding. So a near miss can be told from a node that has nothing to do with the rule.
type matcher struct {
	d    *driver
	m    *Match
	tree *tree
	try  func() error // called on each binding of the structure; nil accepts it
	why  error        // why the first complete binding was refused
}

// matched reports whether there is a binding that try accepts; if not, why says what was wrong with the first one.
func (s *matcher) matched(root *ir.Node) bool {
	return s.node(s.tree.root(), root, func() bool {
		err := s.m.constraints()
		if err == nil {
			err = s.try()
		}
		if err != nil && s.why == nil {
			s.why = err
		}
		return err == nil || s.m.err != nil
	})
}

// node binds p to n and goes on with next.
func (s *matcher) node(p *node, n *ir.Node, next func() bool) bool {
	if bound := s.m.nodes[p.index]; bound != nil {
		return bound == n && next()
	}
	if !slices.Contains(p.ops, n.Op()) || !s.d.plain(n) || !resultsFit(p, n) {
		return false
	}
	s.m.nodes[p.index] = n
	s.m.swapped[p.index] = false
	ok := s.operands(p, n, 0, next)
	if !ok && len(p.operands) == 2 && n.NumOperands() == 2 && n.Operand(0) != n.Operand(1) && commutative(n) {
		s.m.swapped[p.index] = true
		ok = s.operands(p, n, 0, next)
	}
	if !ok {
		s.m.nodes[p.index] = nil
	}
	return ok
}

// resultsFit reports whether n has a result for each that p names and no use of another. Interior results are looked at
// once everything is bound.
func resultsFit(p *node, n *ir.Node) bool {
	for i, v := range n.Results() {
		named := i < len(p.results) && p.results[i].name != ""
		if named && v == nil || !named && v.NumUses() > 0 {
			return false
		}
	}
	for i := n.NumResults(); i < len(p.results); i++ {
		if p.results[i].name != "" {
			return false
		}
	}
	return true
}

// operands binds operand i of p and those after it.
func (s *matcher) operands(p *node, n *ir.Node, i int, next func() bool) bool {
	if i == len(p.operands) {
		for ; i < n.NumOperands(); i++ {
			if n.Operand(i) != nil {
				return false
			}
		}
		return next()
	}
	o := p.operands[i]
	rest := func() bool { return s.operands(p, n, i+1, next) }
	v := s.m.operand(p, i)
	switch o.kind {
	case omitted:
		return v == nil && rest()
	case interior:
		if v == nil {
			return false
		}
		def, result := v.Def()
		return def != nil && result == o.ref.result && def.Graph() == n.Graph() && s.node(s.tree.nodes[o.ref.node], def, rest)
	case literal:
		return v.Const() != nil && v.Const().Len() == 1 && rest()
	}
	return s.capture(o.capture, n, i, v, next, rest)
}

// capture binds a capture to v; a variadic one to the operands of n from i on.
func (s *matcher) capture(index int, n *ir.Node, i int, v *ir.Value, next, rest func() bool) bool {
	c := s.tree.captures[index]
	b := &s.m.bindings[index]
	if c.variadic {
		list := n.Operands()[min(i, n.NumOperands()):]
		if b.bound {
			return slices.Equal(b.list, list) && next()
		}
		*b = binding{bound: true, list: list}
		return next() || b.release()
	}
	if v == nil && !c.optional {
		return false
	}
	if b.bound {
		return b.value == v && rest()
	}
	*b = binding{bound: true, value: v}
	return rest() || b.release()
}

// binding is what a capture stands for.
type binding struct {
	bound bool
	value *ir.Value
	list  []*ir.Value
}

// release forgets the binding. It is false, for use behind ||.
func (b *binding) release() bool {
	*b = binding{}
	return false
}

// commutative reports whether the schema in force lets operands 0 and 1 be exchanged.
func commutative(n *ir.Node) bool {
	return schema.Of(n).Has(schema.Commutative)
}

// constraints checks what the pattern says of attributes, constants and interior values.
func (m *Match) constraints() error {
	clear(m.attrsBound)
	for _, p := range m.tree.nodes {
		if err := m.attributes(p); err != nil {
			return err
		}
	}
	for i, c := range m.tree.captures {
		if err := m.constant(c, m.bindings[i]); err != nil {
			return err
		}
	}
	for _, p := range m.tree.nodes {
		if err := m.literal(p); err != nil {
			return err
		}
	}
	for i, r := range m.tree.replaced {
		for _, q := range m.tree.replaced[:i] {
			if m.nodes[r.node] == m.nodes[q.node] && r.result == q.result {
				return fmt.Errorf("%s and %s are one value", m.tree.nodes[q.node].results[q.result].name, m.tree.nodes[r.node].results[r.result].name)
			}
		}
	}
	if err := m.interior(); err != nil {
		return err
	}
	return m.acyclic()
}

// constant checks the marks const and scalar. An omitted operand satisfies them.
func (m *Match) constant(c capture, b binding) error {
	if !c.constant {
		return nil
	}
	list := b.list
	if b.value != nil {
		list = []*ir.Value{b.value}
	}
	for _, v := range list {
		t := v.Const()
		switch {
		case t == nil:
			return fmt.Errorf("%s is no constant", c.name)
		case c.scalar && t.Len() != 1:
			return fmt.Errorf("%s is a constant of %d elements, not one", c.name, t.Len())
		}
	}
	return nil
}

// operand is the value that stands for operand i of p.
func (m *Match) operand(p *node, i int) *ir.Value {
	if m.swapped[p.index] {
		i = 1 - i
	}
	return m.nodes[p.index].Operand(i)
}

// literal checks the operands that the pattern gives by value.
func (m *Match) literal(p *node) error {
	for i, o := range p.operands {
		if o.kind != literal {
			continue
		}
		ok, err := equalsScalar(m.operand(p, i).Const(), o.value)
		m.Fail(err)
		if !ok {
			return fmt.Errorf("operand %d of %s is not %v", i, m.nodes[p.index], o.value)
		}
	}
	return nil
}

// interior checks that interior values have no use outside the match.
func (m *Match) interior() error {
	root := len(m.tree.nodes) - 1
	for i, p := range m.tree.nodes[:root] {
		for j, r := range p.results {
			if r.name == "" || r.shared || r.replaced {
				continue
			}
			for u := range m.nodes[i].Result(j).Uses() {
				if !slices.Contains(m.nodes, u.Node) {
					return fmt.Errorf("%s is also used by %s", r.name, u.Node)
				}
			}
		}
	}
	return nil
}
