// Package layernorm finds LayerNormalization in the arithmetic that spells it out.
package layernorm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass replaces chains that spell out layer normalization by LayerNormalization, which needs opset 17.
var Pass = rewrite.Define(passes.Info{
	Name: "layer-norm",
	Doc:  "finds LayerNormalization in the arithmetic that spells it out",
	Long: `Only float is looked at. ONNX Runtime does the same to a model when it loads it; other runtimes do not.`,
}, scale, bias)

// Layer normalization (Ba, Kiros and Hinton 2016) is (x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axes. torch.onnx
// before opset 17, tf2onnx and PaddlePaddle write
//
//	x ─┬─ ReduceMean ── Sub ─┬─ Pow 2 ── ReduceMean ── Add ── Sqrt ── Div ── Mul ── Add ──
//	   └────────────────┘    └────────────────────────────────────────┘
//
// with Mul in place of Pow, or Reciprocal and Mul in place of Div. What comes of it is
//
//	x ── LayerNormalization ── Add ──
//
// and the other rule takes the Add.
var scale = &rewrite.Rule{
	Name:    "layer-norm",
	Doc:     "turns the arithmetic of layer normalization up to its scale into LayerNormalization",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParse(spellings()...),
	Where: func(m *rewrite.Match) error {
		if !m.Supports("LayerNormalization") {
			return errors.New("there is no LayerNormalization before opset 17")
		}
		f, err := read(m)
		m.Keep = f
		return err
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		f := m.Keep.(*found)
		return []*ir.Value{b.Op("LayerNormalization", []*ir.Value{m.Value("x"), m.Value("gamma")},
			ir.IntAttr("axis", f.axis), ir.FloatAttr("epsilon", f.epsilon))}
	},
}

// bias makes the beta of the normalization an operand:
//
//	x ── LayerNormalization ── Add ──   becomes   x ── LayerNormalization ──
var bias = &rewrite.Rule{
	Name:    "layer-norm-bias",
	Doc:     "makes what is added to a LayerNormalization without bias its bias",
	Promise: passes.Promise{RelTol: 1e-5},
	Match: rewrite.MustParse(`
		y = LayerNormalization <axis = @axis, epsilon = @epsilon> (x, gamma)
		z = Add (y, beta)`),
	Where: func(m *rewrite.Match) error {
		gamma, beta := m.Shape("gamma"), m.Shape("beta")
		if _, static := gamma.Ints(); !static || !gamma.Equal(beta) || m.DType("beta") != m.DType("gamma") {
			return fmt.Errorf("what is added is a %s, not surely like the scale, a %s", m.Type("beta"), m.Type("gamma"))
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Like(m.Node("y"), []*ir.Value{m.Value("x"), m.Value("gamma"), m.Value("beta")})}
	},
}

// spellings are the alternatives of the pattern: axes by attribute before opset 18 and by operand from then on, the square, and
// the division.
func spellings() []string {
	var r []string
	for _, axes := range [][2]string{
		{"m = ReduceMean <axes = @axes> (x)", "v = ReduceMean <axes = @axes> (p)"},
		{"m = ReduceMean (x, axes: const)", "v = ReduceMean (p, axes2: const)"},
	} {
		for _, square := range []string{"p = Pow (d, 2)", "p = Mul (d, d)"} {
			for _, divide := range []string{"n = Div (d, s)", "i = Reciprocal (s)\nn = Mul (d, i)"} {
				r = append(r, axes[0]+"\nd = Sub (x, m)\n"+square+"\n"+axes[1]+
					"\nw = Add (v, epsilon: scalar)\ns = Sqrt (w)\n"+divide+"\nz = Mul (n, gamma)")
			}
		}
	}
	return r
}

// found is what the attributes of LayerNormalization are.
type found struct {
	axis    int64
	epsilon float32
}

func read(m *rewrite.Match) (*found, error) {
	x, gamma := m.Shape("x"), m.Shape("gamma")
	if d := m.DType("x"); d != ir.Float32 || !x.Known() {
		return nil, fmt.Errorf("x is a %s, not surely float of known rank", m.Type("x"))
	}
	k, err := lastAxes(m, len(x))
	if err != nil {
		return nil, err
	}
	last, static := x[len(x)-k:].Ints()
	if g, ok := gamma.Ints(); !static || !ok || !slices.Equal(last, g) || m.DType("gamma") != ir.Float32 {
		return nil, fmt.Errorf("the scale is a %s, not surely as large as the normalized axes %s", m.Type("gamma"), x[len(x)-k:])
	}
	epsilon, _, err := rewrite.Scalar(m.Const("epsilon"))
	m.Fail(err)
	if e := m.Const("epsilon"); !(epsilon >= 0) || epsilon > 1 || e.Rank() > len(x) {
		return nil, fmt.Errorf("epsilon is a %s with value %v", e.Type(), epsilon)
	}
	return &found{int64(-k), float32(epsilon)}, nil
}

// lastAxes is how many axes both means are taken over, if those are the last ones of the given rank.
func lastAxes(m *rewrite.Match, rank int) (int, error) {
	first, err := axes(m, "axes", rank)
	if err != nil {
		return 0, err
	}
	second := first
	if m.Has("axes2") {
		if second, err = axes(m, "axes2", rank); err != nil {
			return 0, err
		}
	}
	if !slices.Equal(first, second) {
		return 0, fmt.Errorf("the means are over axes %v and %v", first, second)
	}
	for i, a := range first {
		if a != int64(rank-len(first)+i) {
			return 0, fmt.Errorf("the means are over axes %v of %d", first, rank)
		}
	}
	return len(first), nil
}

// axes are the sorted axes of a mean, counted from the first axis.
func axes(m *rewrite.Match, name string, rank int) ([]int64, error) {
	var list []int64
	if m.Has("axes") {
		v, ok, err := rewrite.Ints(m.Const(name))
		m.Fail(err)
		if !ok {
			return nil, errors.New("the axes of a mean are not known")
		}
		list = v
	} else {
		list = m.Attr("axes").Ints()
	}
	if len(list) == 0 {
		return nil, errors.New("a mean is over all axes or none")
	}
	r := slices.Clone(list)
	for i, a := range r {
		if a < 0 {
			r[i] += int64(rank)
		}
		if r[i] < 0 || r[i] >= int64(rank) {
			return nil, fmt.Errorf("there is no axis %d", a)
		}
	}
	slices.Sort(r)
	if len(slices.Compact(slices.Clone(r))) < len(r) {
		return nil, fmt.Errorf("axes %v stand twice", list)
	}
	return r, nil
}
