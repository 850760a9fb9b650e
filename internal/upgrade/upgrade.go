// Package upgrade raises the operator set of the default domain that a model imports, where that changes no node's meaning.
//
// A version of an operator keeps the meaning of the one before it if the standard's schemas say so: the same operands and attributes with
// the same defaults, further ones optional, and no fewer types. Where attributes became operands, nodes are edited. The few
// versions that changed in meaning alone are listed. Everything else is refused.
package upgrade

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// changed are versions that mean something else though their schemas are alike: Softmax and its like are over one axis instead of all from it
// on, RoiAlign shifts its regions by half a pixel, GridSample renames its modes, GroupNormalization takes scales of channels instead
// of groups.
var changed = []struct {
	typ   string
	since int64
}{{"Softmax", 13}, {"LogSoftmax", 13}, {"Hardmax", 13}, {"RoiAlign", 16}, {"GridSample", 20}, {"GroupNormalization", 21}}

// Check says why m's opset of the default domain cannot be raised to that version: the first node that stands in the way. Calls of model-local
// functions do not, whose bodies have opsets of their own. types is what is known of a value's type, nil for
// nothing.
func Check(m *ir.Model, to int64, types func(*ir.Value) *ir.Type) error {
	from := m.Opset("")
	if from < 1 || to > schema.Newest("") {
		return fmt.Errorf("opset %d cannot be raised to %d", from, to)
	}
	return each(m, from, to, func(n *ir.Node, was, is *schema.Schema) error {
		if edit(n, was, is, types) != nil {
			return nil
		}
		if why := differs(n, was, is, types); why != "" {
			return fmt.Errorf("the opset cannot be raised from %d to %d for %s: %s", from, to, n, why)
		}
		return nil
	})
}

// Raise raises the opset of m to a version to which Check, with the same types, sees nothing in the way.
func Raise(m *ir.Model, to int64, types func(*ir.Value) *ir.Type) {
	_ = each(m, m.Opset(""), to, func(n *ir.Node, was, is *schema.Schema) error {
		if f := edit(n, was, is, types); f != nil {
			f()
		}
		return nil
	})
	m.SetOpset("", to)
}

// each calls f for every change of version of every node of the default domain outside of functions.
func each(m *ir.Model, from, to int64, f func(n *ir.Node, was, is *schema.Schema) error) error {
	for n := range m.Nodes() {
		if ir.Domain(n.Op().Domain) != "" || n.Graph().Function() != nil || m.Function(n.Op()) != nil {
			continue
		}
		was := schema.Lookup(n.Op(), from)
		if was == nil || n.HasRefs() {
			return fmt.Errorf("opset %d has no operator %s", from, n.Op())
		}
		versions := schema.Versions(n.Op())
		for i := range versions {
			if s := &versions[i]; s.Since() > from && s.Since() <= to {
				if err := f(n, was, s); err != nil {
					return err
				}
				was = s
			}
		}
	}
	return nil
}

// differs says what the version is does not have of what n, of version was, states or leaves to defaults.
func differs(n *ir.Node, was, is *schema.Schema, types func(*ir.Value) *ir.Type) string {
	if is.Deprecated() {
		return fmt.Sprintf("version %d withdrew it", is.Since())
	}
	for _, c := range changed {
		if n.Op().Type == c.typ && is.Since() == c.since {
			return fmt.Sprintf("version %d has another meaning", c.since)
		}
	}
	if mode := n.Str("coordinate_transformation_mode", ""); n.Op().Type == "Resize" && is.Since() == 13 && mode == "tf_half_pixel_for_nn" {
		return "version 13 does not have " + mode
	}
	for _, p := range []struct {
		what    string
		values  []*ir.Value
		was, is func(int) *schema.Param
	}{{"operand", n.Operands(), was.Input, is.Input}, {"result", n.Results(), was.Output, is.Output}} {
		for i, v := range p.values {
			if a, b := p.was(i), p.is(i); a == nil || b == nil || !strings.EqualFold(a.Name, b.Name) || !fits(v, a.Types(), b.Types(), types) {
				return fmt.Sprintf("%s %d is another in version %d", p.what, i, is.Since())
			}
		}
	}
	if least, _ := is.NumInputs(); n.NumOperands() < least {
		return fmt.Sprintf("version %d needs %d operands", is.Since(), least)
	}
	for i := range was.Attrs() {
		a := &was.Attrs()[i]
		b := is.Attr(a.Name)
		stated := n.Attr(a.Name) != nil
		switch {
		case b == nil && (stated || a.HasDefault()), b != nil && b.Kind != a.Kind, b != nil && !stated && !sameDefault(a, b):
			return fmt.Sprintf("attribute %s is another in version %d", a.Name, is.Since())
		}
	}
	for i := range is.Attrs() {
		if b := &is.Attrs()[i]; b.Required && n.Attr(b.Name) == nil {
			return fmt.Sprintf("version %d needs attribute %s", is.Since(), b.Name)
		}
	}
	return ""
}

// fits reports whether v, which may be of the types in was, is surely of one in is.
func fits(v *ir.Value, was, is *schema.TypeSet, types func(*ir.Value) *ir.Type) bool {
	if v == nil || covers(is, was) {
		return true
	}
	t := types(v)
	return t.DType() != ir.Undefined && is.Contains(t)
}

// covers reports whether every type of t is in s.
func covers(s, t *schema.TypeSet) bool {
	return t.Tensor&^s.Tensor == 0 && t.Seq&^s.Seq == 0 && t.Opt&^s.Opt == 0 && t.OptSeq&^s.OptSeq == 0 && t.Other&^s.Other == 0
}

func sameDefault(a, b *schema.AttrSpec) bool {
	return a.HasDefault() == b.HasDefault() && a.Int() == b.Int() && a.Float() == b.Float() && a.Str() == b.Str() &&
		slices.Equal(a.Ints(), b.Ints()) && slices.Equal(a.Strs(), b.Strs())
}

// operands are the attributes of lists that became operand 1, with the version that did it.
var operands = []struct {
	typ, attr string
	since     int64
}{
	{"ReduceSum", "axes", 13}, {"Squeeze", "axes", 13}, {"Unsqueeze", "axes", 13}, {"Split", "split", 13},
	{"ReduceL1", "axes", 18}, {"ReduceL2", "axes", 18}, {"ReduceLogSum", "axes", 18}, {"ReduceLogSumExp", "axes", 18}, {"ReduceMax", "axes", 18},
	{"ReduceMean", "axes", 18}, {"ReduceMin", "axes", 18}, {"ReduceProd", "axes", 18}, {"ReduceSumSquare", "axes", 18},
}

// edit is what makes n, of version was, one of version is; nil if n has to stay as it is, or cannot become one.
func edit(n *ir.Node, was, is *schema.Schema, types func(*ir.Value) *ir.Type) func() {
	for _, o := range operands {
		if n.Op().Type != o.typ || is.Since() != o.since || is.Attr(o.attr) != nil || n.NumOperands() != 1 {
			continue
		}
		list := n.Ints(o.attr)
		if len(list) == 0 {
			return nil
		}
		return func() {
			n.RemoveAttr(o.attr)
			n.AddOperand(n.Graph().Const(ir.TensorOf(list)))
		}
	}
	if n.Op().Type == "Split" && is.Since() == 18 && n.NumOperands() == 1 && n.Attr("split") == nil {
		return func() { n.SetAttr(ir.IntAttr("num_outputs", int64(n.NumResults()))) }
	}
	switch n.Op().Type {
	case "Softmax", "LogSoftmax", "Hardmax": // over all axes from one on before version 13, over one from then on
		if axis := n.Int("axis", 1); is.Since() == 13 && (axis == -1 || axis >= 0 && axis == int64(len(types(n.Operand(0)).TensorShape())-1)) {
			return func() { n.SetAttr(ir.IntAttr("axis", -1)) }
		}
	}
	return nil
}
