package rewrite

import "github.com/onnxopt/onnxopt/ir"

// Alternative is what one text of a pattern says, for tools that make models which match. It is a copy.
type Alternative struct {
	Nodes    []PatternNode
	Captures []PatternCapture
	Attrs    []string // names of captured attributes
	Replaced []string // names of what a replacement gives, in order
}

// PatternNode is a node of a pattern.
type PatternNode struct {
	Ops      []ir.OpID
	Attrs    []PatternAttr
	Results  []string // "" for one without a name
	Operands []PatternOperand
}

// PatternAttr is an attribute that a pattern mentions: a value, or the name that it is captured under.
type PatternAttr struct {
	Name    string
	Value   *ir.Attr
	Capture string
}

// PatternOperand is an operand: a name, a number, or omitted if both are missing.
type PatternOperand struct {
	Name   string
	Number *float64
}

// PatternCapture is an operand that no node of the pattern defines.
type PatternCapture struct {
	Name                                 string
	Constant, Scalar, Optional, Variadic bool
}

// Alternatives describes the pattern.
func (p *Pattern) Alternatives() (r []Alternative) {
	all := p.alternatives()
	for i := range all {
		t := all[i].must()
		a := Alternative{Attrs: append([]string{}, t.attrs...)}
		for _, c := range t.captures {
			a.Captures = append(a.Captures, PatternCapture{c.name, c.constant, c.scalar, c.optional, c.variadic})
		}
		for _, x := range t.replaced {
			a.Replaced = append(a.Replaced, t.nodes[x.node].results[x.result].name)
		}
		for _, n := range t.nodes {
			d := PatternNode{Ops: append([]ir.OpID{}, n.ops...)}
			for _, x := range n.attrs {
				pa := PatternAttr{Name: x.name, Value: x.want}
				if x.capture >= 0 {
					pa.Capture = t.attrs[x.capture]
				}
				d.Attrs = append(d.Attrs, pa)
			}
			for _, x := range n.results {
				d.Results = append(d.Results, x.name)
			}
			for _, o := range n.operands {
				d.Operands = append(d.Operands, t.describe(o))
			}
			a.Nodes = append(a.Nodes, d)
		}
		r = append(r, a)
	}
	return r
}

func (t *tree) describe(o operand) PatternOperand {
	switch o.kind {
	case captured:
		return PatternOperand{Name: t.captures[o.capture].name}
	case interior:
		return PatternOperand{Name: t.nodes[o.ref.node].results[o.ref.result].name}
	case literal:
		return PatternOperand{Number: &o.value}
	}
	return PatternOperand{}
}
