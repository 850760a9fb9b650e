// Package reshapes is the pass that merges operators that only change the shape.
package reshapes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
	"github.com/onnxopt/onnxopt/passes/simplify/internal/view"
)

// Pass merges chains of Reshape, Flatten, Squeeze and Unsqueeze into one Reshape or nothing, and gives Reshape and Expand constant
// shapes where inference proves the computed ones.
var Pass = rewrite.Define(passes.Info{
	Name: "reshapes",
	Doc:  "merges chains of Reshape, Flatten, Squeeze and Unsqueeze",
}, rules()...)

func rules() []*rewrite.Rule {
	return []*rewrite.Rule{
		{
			Name: "undone",
			Doc:  "removes two changes of shape of which the second restores the first shape",
			Match: rewrite.MustParse(`
				y: shared = {Reshape, Flatten, Squeeze, Unsqueeze} <...> (x, a...)
				z = {Reshape, Flatten, Squeeze, Unsqueeze} <...> (y, b...)`),
			Where: func(m *rewrite.Match) error {
				if !m.SameShape("x", "z") {
					return errors.New("the shapes may differ")
				}
				return nil
			},
			Replace: func(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value { return []*ir.Value{m.Value("x")} },
		}, {
			Name: "pair",
			Doc:  "merges two changes of shape into one Reshape, where the first is used by such only",
			Match: rewrite.MustParse(`
				y: shared = {Reshape, Flatten, Squeeze, Unsqueeze} <...> (x, a...)
				z = {Reshape, Flatten, Squeeze, Unsqueeze} <...> (y, b...)`),
			Where:   merges,
			Replace: reshape,
		}, {
			Name:    "constant-shape",
			Doc:     "gives a Reshape a constant shape instead of a computed one that inference proves",
			Match:   rewrite.MustParse(`z = Reshape <...> (x, shape)`),
			Where:   proves(view.Reshape),
			Replace: reshape,
		}, {
			Name:  "constant-expansion",
			Doc:   "gives an Expand a constant shape instead of a computed one that inference proves",
			Match: rewrite.MustParse(`z = Expand (x, shape)`),
			Where: proves(view.Expand),
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				return []*ir.Value{b.Like(m.Root(), []*ir.Value{m.Value("x"), b.Ints("", m.Keep.([]int64)...)})}
			},
		},
	}
}

// merges decides the shape operand of the Reshape that takes the place of both: a value, where the second is a Reshape to a shape
// that does not refer to its operand's, or a list.
func merges(m *rewrite.Match) error {
	if why := onlyViews(m.Value("y")); why != nil {
		return why
	}
	if m.Opset("") < 5 {
		return errors.New("before opset 5 Reshape takes no operand for the shape")
	}
	if n := m.Root(); n.Is("Reshape") && copiesNothing(m, n) {
		m.Keep = n.Operand(1)
		return nil
	}
	dims, ok := shapeOperand(m, view.Reshape)
	if !ok {
		return errors.New("more than one dimension of the shape is not known")
	}
	m.Keep = dims
	return nil
}

// onlyViews refuses a value with uses that do not merge with what makes it, so that it would stay.
func onlyViews(y *ir.Value) error {
	for u := range y.Uses() {
		if u.Index != 0 || u.Node.Graph() != y.Graph() || !u.Node.Is("Reshape", "Flatten", "Squeeze", "Unsqueeze") {
			return fmt.Errorf("the first result is also used by %s", u.Node)
		}
	}
	return nil
}

// copiesNothing reports whether the shape of a Reshape is a constant that means the same for any operand.
func copiesNothing(m *rewrite.Match, n *ir.Node) bool {
	t := n.Operand(1).Const()
	if t == nil || n.Int("allowzero", 0) != 0 {
		return false
	}
	dims, err := ir.Elements[int64](t)
	m.Fail(err)
	return err == nil && !slices.Contains(dims, 0)
}

// proves accepts a computed shape operand that can be written as a constant.
func proves(operand view.Operand) func(*rewrite.Match) error {
	return func(m *rewrite.Match) error {
		if m.Const("shape") != nil {
			return errors.New("its shape is a constant already")
		}
		dims, ok := shapeOperand(m, operand)
		if !ok {
			return errors.New("more of its shape is unknown than a constant can leave open")
		}
		m.Keep = dims
		return nil
	}
}

// shapeOperand is the shape operand with which x becomes z.
func shapeOperand(m *rewrite.Match, operand view.Operand) ([]int64, bool) {
	x, _ := m.Dims("x")
	z, ok := m.Dims("z")
	if !ok {
		return nil, false
	}
	return operand(x, z)
}

// reshape makes a Reshape of x to what the condition has kept. A Reshape at the root keeps its name.
func reshape(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	shape, ok := m.Keep.(*ir.Value)
	if !ok {
		shape = b.Ints("", m.Keep.([]int64)...)
	}
	in := []*ir.Value{m.Value("x"), shape}
	if n := m.Root(); n.Is("Reshape") && n.Attr("allowzero") == nil {
		return []*ir.Value{b.Like(n, in)}
	}
	return []*ir.Value{b.Op("Reshape", in)}
}
