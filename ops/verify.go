package ops

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// VerifyError says where a model disagrees with the standard.
type VerifyError struct {
	Node   *ir.Node
	Detail string
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Node.Graph().Path(), e.Node, e.Detail)
}

// Verify checks every node against the schema of the operator set its graph imports: the number of operands and results,
// attributes and their kinds, and recorded types. A node of an unknown domain is opaque and accepted; an unknown operator of a domain
// whose operator set is known is an error. The first disagreement is returned as a *VerifyError.
func Verify(m *ir.Model) error {
	functions := map[ir.OpID]bool{}
	for _, f := range m.Functions {
		functions[f.ID()] = true
	}
	for _, g := range m.Graphs() {
		for n := range g.Nodes() {
			if functions[n.Op()] {
				continue
			}
			if err := verifyNode(n); err != nil {
				return &VerifyError{n, err.Error()}
			}
		}
	}
	return nil
}

func verifyNode(n *ir.Node) error {
	s := Of(n)
	if s == nil {
		return unknown(n)
	}
	if s.Deprecated() {
		return fmt.Errorf("the operator is withdrawn since opset %d", s.Since())
	}
	if err := verifyArity(n, s); err != nil {
		return err
	}
	if err := verifyAttrs(n, s); err != nil {
		return err
	}
	return verifyTypes(n, s)
}

// unknown is the error of an operator without a schema, nil if nothing can be said about its domain.
func unknown(n *ir.Node) error {
	op := n.Op()
	opset, newest := n.Graph().Opset(op.Domain), schema.Newest(op.Domain)
	if newest == 0 || opset == 0 || opset > newest || op.Overload != "" {
		return nil
	}
	if v := schema.Versions(op); len(v) > 0 {
		return fmt.Errorf("the operator came with opset %d, imported is %d", v[0].Since(), opset)
	}
	if op.Domain != "" {
		return nil // vendors add operators to these domains
	}
	var names []string
	for _, s := range schema.All() {
		if s.Op().Domain == "" {
			names = append(names, s.Op().Type)
		}
	}
	return errors.New("there is no such operator" + spell.Hint(op.Type, names))
}

func verifyArity(n *ir.Node, s *Schema) error {
	least, most := s.NumInputs()
	if k := n.NumOperands(); k < least || k > most && most != schema.Unbounded {
		return fmt.Errorf("it has %d operands, the schema wants %s", k, span(least, most))
	}
	for i, p := range s.Inputs() {
		if p.Option == schema.Single && n.Operand(i) == nil {
			return fmt.Errorf("operand %d (%s) is not optional", i, p.Name)
		}
	}
	least, most = s.NumOutputs()
	if k := n.NumResults(); k < least || k > most && most != schema.Unbounded {
		return fmt.Errorf("it has %d results, the schema wants %s", k, span(least, most))
	}
	return nil
}

func span(least, most int) string {
	switch {
	case most == schema.Unbounded:
		return fmt.Sprintf("at least %d", least)
	case least == most:
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

func verifyAttrs(n *ir.Node, s *Schema) error {
	seen := map[string]bool{}
	for _, a := range n.Attrs() {
		spec := s.Attr(a.Name)
		switch {
		case seen[a.Name]:
			return fmt.Errorf("attribute %q is given twice", a.Name)
		case spec == nil:
			var names []string
			for _, x := range s.Attrs() {
				names = append(names, x.Name)
			}
			return fmt.Errorf("the schema has no attribute %q%s", a.Name, spell.Hint(a.Name, names))
		case a.Kind != spec.Kind && a.Kind != ir.AttrUndefined:
			return fmt.Errorf("attribute %q is of kind %s, the schema wants %s", a.Name, a.Kind, spec.Kind)
		}
		seen[a.Name] = true
	}
	for _, spec := range s.Attrs() {
		if spec.Required && !seen[spec.Name] {
			return fmt.Errorf("attribute %q is missing", spec.Name)
		}
	}
	return nil
}

// verifyTypes holds recorded types to the sets of the schema, and values of one type variable to one type.
func verifyTypes(n *ir.Node, s *Schema) error {
	bound := map[string]*ir.Type{}
	check := func(what string, i int, v *ir.Value, p *schema.Param) error {
		if v == nil || p == nil || v.Type() == nil {
			return nil
		}
		t := elemOnly(v.Type())
		if !p.Types().Contains(t) {
			return fmt.Errorf("%s %d (%s) is a %s, the schema wants %s", what, i, p.Name, v.Type(), p.Types())
		}
		if p.Mixed {
			return nil
		}
		u, ok := bound[p.Var].Merge(t)
		if !ok {
			return fmt.Errorf("%s %d (%s) is a %s where another %s is a %s", what, i, p.Name, t, p.Var, bound[p.Var])
		}
		bound[p.Var] = u
		return nil
	}
	for i := range n.NumOperands() {
		if err := check("operand", i, n.Operand(i), s.Input(i)); err != nil {
			return err
		}
	}
	for i, v := range n.Results() {
		if err := check("result", i, v, s.Output(i)); err != nil {
			return err
		}
	}
	return nil
}

// elemOnly is t without shapes and denotations.
func elemOnly(t *ir.Type) *ir.Type {
	if t == nil {
		return nil
	}
	return &ir.Type{Kind: t.Kind, Elem: t.Elem, Of: elemOnly(t.Of), Domain: t.Domain, Name: t.Name}
}
