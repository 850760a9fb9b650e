// Package reshapes is the pass that merges operators that only change the shape.
package reshapes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
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
			Name: "around",
			Doc:  "removes a change of shape before an operator on single elements, and the one behind it that takes it back",
			Match: rewrite.MustParse(`
				y = {Reshape, Flatten, Squeeze, Unsqueeze} <...> (x, a...)
				e = {Abs, Cast, Ceil, Clip, Cos, Elu, Erf, Exp, Floor, Gelu, HardSigmoid, HardSwish, LeakyRelu, Log, Mish, Neg, Not, Reciprocal, Relu, Round, Selu, Sigmoid, Sign, Sin, Softplus, Softsign, Sqrt, Tanh} <...> (y, b...)
				z = {Reshape, Flatten, Squeeze, Unsqueeze} <...> (e, c...)`),
			Where: func(m *rewrite.Match) error {
				if !m.SameShape("x", "z") {
					return errors.New("the shapes may differ")
				}
				return nil
			},
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				in := slices.Clone(m.Node("e").Operands())
				in[0] = m.Value("x")
				return []*ir.Value{b.Like(m.Node("e"), in)}
			},
		}, {
			Name:    "constant-shape",
			Doc:     "gives a Reshape a constant shape instead of a computed one that inference proves",
			Match:   rewrite.MustParse(`z = Reshape <...> (x, shape)`),
			Where:   provesReshape,
			Replace: reshape,
		}, {
			Name:  "constant-expansion",
			Doc:   "gives an Expand a constant shape instead of a computed one that inference proves",
			Match: rewrite.MustParse(`z = Expand (x, shape)`),
			Where: proves(expandOperand),
			Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
				return []*ir.Value{b.Like(m.Root(), []*ir.Value{m.Value("x"), b.Ints("", m.Keep.([]int64)...)})}
			},
		}, sizeBefore,
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
	if dims, ok := reshapeOperand(m); ok {
		m.Keep = dims
	} else if ones, ok := onlyOnes(m); ok {
		m.Keep = ones
	} else {
		return errors.New("more than one dimension of the shape is not known")
	}
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
func proves(operand func(*rewrite.Match) ([]int64, bool)) func(*rewrite.Match) error {
	return func(m *rewrite.Match) error {
		if m.Const("shape") != nil {
			return errors.New("its shape is a constant already")
		}
		dims, ok := operand(m)
		if !ok {
			return errors.New("more of its shape is unknown than a constant can leave open")
		}
		m.Keep = dims
		return nil
	}
}

// reshapeOperand is the shape operand with which a Reshape makes z of x. A dimension may be left to be found where another one may be
// zero at run time only if z is not computed then anyway, because the model finds a dimension beside that one already.
func reshapeOperand(m *rewrite.Match) ([]int64, bool) {
	x, _ := m.Dims("x")
	z, ok := m.Dims("z")
	if !ok {
		return nil, false
	}
	return view.ReshapeUnless(x, z, func(d infer.Int) bool { return foundBeside(m, d) })
}

// looked bounds the nodes before a match among which foundBeside looks.
const looked = 64

// foundBeside reports whether the root, or one of the nodes that it depends on, is a Reshape that finds a dimension beside d.
func foundBeside(m *rewrite.Match, d infer.Int) bool {
	seen := map[*ir.Node]bool{m.Root(): true}
	for queue := []*ir.Node{m.Root()}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		if leaves(m, n, d) {
			return true
		}
		for _, v := range n.Operands() {
			if v == nil {
				continue
			}
			if before := v.Node(); before != nil && !seen[before] && len(seen) < looked {
				seen[before] = true
				queue = append(queue, before)
			}
		}
	}
	return false
}

// leaves reports whether n is a Reshape that finds one dimension, and has d among the others: where d is zero it fails.
func leaves(m *rewrite.Match, n *ir.Node, d infer.Int) bool {
	if !n.Is("Reshape") {
		return false
	}
	shape, ok := m.IntsOf(n.Operand(1))
	dims, ok2 := m.DimsOf(n.Result(0))
	if !ok || !ok2 || len(shape) != len(dims) || !slices.ContainsFunc(shape, func(e infer.Int) bool { return e.Is(-1) }) {
		return false
	}
	for i := range dims {
		if !shape[i].Is(-1) && dims[i].Same(d) {
			return true
		}
	}
	return false
}

// expandOperand is the shape operand with which an Expand makes z of x.
func expandOperand(m *rewrite.Match) ([]int64, bool) {
	x, _ := m.Dims("x")
	z, ok := m.Dims("z")
	if !ok {
		return nil, false
	}
	return view.Expand(x, z)
}

// provesReshape is proves for a Reshape, which may turn out to be a Squeeze or Unsqueeze.
func provesReshape(m *rewrite.Match) error {
	err := proves(reshapeOperand)(m)
	if err != nil && m.Const("shape") == nil {
		if ones, ok := onlyOnes(m); ok {
			m.Keep, err = ones, nil
		}
	}
	return err
}

// ones are axes of size one that z has and x does not (Unsqueeze), or the other way round (Squeeze).
type ones struct {
	op   string
	axes []int64
}

// onlyOnes finds out whether z is x with ones put in or taken away, which can be said whatever the other sizes are.
func onlyOnes(m *rewrite.Match) (ones, bool) {
	x, ok := m.Dims("x")
	z, ok2 := m.Dims("z")
	if !ok || !ok2 {
		return ones{}, false
	}
	if axes, ok := extra(x, z); ok {
		return ones{"Unsqueeze", axes}, true
	}
	axes, ok := extra(z, x)
	return ones{"Squeeze", axes}, ok
}

// extra lists the places of the ones by which more is longer than less, if nothing else is different.
func extra(less, more []infer.Int) (axes []int64, ok bool) {
	k := 0
	for i, d := range more {
		switch {
		case k < len(less) && less[k].Same(d):
			k++
		case d.Is(1):
			axes = append(axes, int64(i))
		default:
			return nil, false
		}
	}
	return axes, k == len(less) && len(axes) > 0
}

// reshape makes a Reshape of x to what the condition has kept, or a Squeeze or Unsqueeze. A Reshape at the root keeps its name.
func reshape(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	if k, ok := m.Keep.(ones); ok {
		if m.Opset("") < 13 {
			return []*ir.Value{b.Op(k.op, []*ir.Value{m.Value("x")}, ir.IntsAttr("axes", k.axes))}
		}
		return []*ir.Value{b.Op(k.op, []*ir.Value{m.Value("x"), b.Ints("", k.axes...)})}
	}
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
