package rewrite

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// attributes checks the attributes of the node bound to p and binds those that the pattern captures.
func (m *Match) attributes(p *node) error {
	n := m.nodes[p.index]
	for _, a := range p.attrs {
		got := stated(n, a.name)
		switch {
		case a.capture < 0:
			if !sameAttr(a.want, got) {
				return fmt.Errorf("attribute %s of %s is %s, not %s", a.name, n, attrText(got), attrText(a.want))
			}
		case m.attrsBound[a.capture]:
			if first := m.attrs[a.capture]; !sameAttr(first, got) {
				return fmt.Errorf("attribute %s of %s is %s, not %s", a.name, n, attrText(got), attrText(first))
			}
		default:
			m.attrs[a.capture], m.attrsBound[a.capture] = got, true
		}
	}
	if p.open {
		return nil
	}
	for _, a := range n.Attrs() {
		mentioned := slices.ContainsFunc(p.attrs, func(q attrPattern) bool { return q.name == a.Name })
		if !mentioned && !sameAttr(a, defaultAttr(n, a.Name)) {
			return fmt.Errorf("%s has attribute %s=%s", n, a.Name, attrText(a))
		}
	}
	return nil
}

// stated is the attribute of n or its default in the schema in force, nil if there is neither.
func stated(n *ir.Node, name string) *ir.Attr {
	if a := n.Attr(name); a != nil {
		return a
	}
	return defaultAttr(n, name)
}

func defaultAttr(n *ir.Node, name string) *ir.Attr {
	return schema.Of(n).Attr(name).Default()
}

// sameAttr reports whether two attributes are there, or both are not, and have the same value. A whole number written in a pattern equals a
// float of that value. Attributes that hold tensors, graphs or types are never the same.
func sameAttr(a, b *ir.Attr) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind {
		x, xok := number(a)
		y, yok := number(b)
		return xok && yok && x == y
	}
	switch a.Kind {
	case ir.AttrInt:
		return a.Int() == b.Int()
	case ir.AttrFloat:
		return math.Float32bits(a.Float()) == math.Float32bits(b.Float())
	case ir.AttrString:
		return a.Str() == b.Str()
	case ir.AttrInts:
		return slices.Equal(a.Ints(), b.Ints())
	case ir.AttrFloats:
		return slices.EqualFunc(a.Floats(), b.Floats(), func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
	case ir.AttrStrings:
		return slices.Equal(a.Strs(), b.Strs())
	}
	return false
}

func number(a *ir.Attr) (float64, bool) {
	switch a.Kind {
	case ir.AttrInt:
		return float64(a.Int()), true
	case ir.AttrFloat:
		return float64(a.Float()), true
	}
	return 0, false
}

// attrText is an attribute's value for a remark.
func attrText(a *ir.Attr) string {
	if a == nil {
		return "absent"
	}
	switch a.Kind {
	case ir.AttrInt:
		return fmt.Sprint(a.Int())
	case ir.AttrFloat:
		return fmt.Sprint(a.Float())
	case ir.AttrString:
		return fmt.Sprintf("%q", a.Str())
	case ir.AttrInts:
		return fmt.Sprint(a.Ints())
	case ir.AttrFloats:
		return fmt.Sprint(a.Floats())
	case ir.AttrStrings:
		return fmt.Sprintf("%q", a.Strs())
	}
	return "a " + a.Kind.String()
}
