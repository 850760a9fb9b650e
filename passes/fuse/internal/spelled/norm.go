package spelled

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// LayerNorm is layer normalization (Ba, Kiros and Hinton 2016) up to its scale, (x - mean) / sqrt(variance + epsilon) * gamma. torch.onnx
// before opset 17, tf2onnx and PaddlePaddle write
//
//	x ─┬─ ReduceMean ── Sub ─┬─ Pow 2 ── ReduceMean ── Add ── Sqrt ── Div ── Mul ──
//	   └────────────────┘    └────────────────────────────────────────┘
//
// with Mul in place of Pow, or Reciprocal and Mul in place of Div. Axes are attributes before opset 18 and operands from then on. The operand
// is x and the root z.
func LayerNorm() []string { return scaled(PlainLayerNorm()) }

// PlainLayerNorm is LayerNorm without its scale, which models have that learn none: those of OLMo (Groeneveld et al. 2024) and DiT (Peebles and
// Xie 2023). The root is n.
func PlainLayerNorm() []string {
	var r []string
	for _, axes := range reductions {
		for _, square := range []string{"p = Pow (d, 2)", "p = Mul (d, d)"} {
			for _, divide := range []string{"n = Div (d, s)", "i = Reciprocal (s)\nn = Mul (d, i)"} {
				r = append(r, axes[0]+"\nd = Sub (x, m)\n"+square+"\n"+axes[1]+
					"\nw = Add (v, epsilon: scalar)\ns = Sqrt (w)\n"+divide)
			}
		}
	}
	return r
}

// scaled are the patterns with the scale of n after each.
func scaled(patterns []string) []string {
	for i := range patterns {
		patterns[i] += "\nz = Mul (n, gamma)"
	}
	return patterns
}

// LayerNormBatch is layer normalization with its bias as Keras computes it, by the formula of batch normalization:
//
//	x ─┬─ ReduceMean ─┬─ Sub ── Mul ── ReduceMean ── Add ── Sqrt ── Reciprocal ── Mul gamma ─┬─ Mul ── Add ──
//	   ├──────────────│──┘                                                                   │  │      │
//	   └──────────────│──────────────────────────────────────────────────────────────────────│──┘      │
//	                  └──────────────────────────────────────────────────────────────────────┴ Mul ─ beta Sub
func LayerNormBatch() []string {
	var r []string
	for _, axes := range reductions {
		for _, square := range []string{"p = Pow (d, 2)", "p = Mul (d, d)"} {
			r = append(r, axes[0]+"\nd = Sub (x, m)\n"+square+"\n"+axes[1]+
				"\nw = Add (v, epsilon: scalar)\ns = Sqrt (w)\ni = Reciprocal (s)\ng = Mul (i, gamma)\na = Mul (x, g)\nc = Mul (m, g)\ne = Sub (beta, c)\nz = Add (a, e)")
		}
	}
	return r
}

// RMSNorm is normalization by the root of the mean square (Zhang and Sennrich 2019), x / sqrt(mean(x²) + epsilon) * gamma. torch.onnx writes for
// the models of the Llama family
//
//	x ─┬─ Pow 2 ── ReduceMean ── Add ── Sqrt ── Reciprocal ── Mul ── Mul ──
//	   └──────────────────────────────────────────────────────┘
//
// with Div in place of Reciprocal and Mul, or 1/ in place of Reciprocal.
func RMSNorm() []string { return scaled(PlainRMSNorm()) }

// PlainRMSNorm is RMSNorm without its scale. The root is n.
func PlainRMSNorm() []string {
	var r []string
	for _, axes := range reductions {
		for _, square := range []string{"p = Pow (x, 2)", "p = Mul (x, x)"} {
			for _, divide := range []string{"n = Div (x, s)", "i = Reciprocal (s)\nn = Mul (x, i)", "i = Div (1, s)\nn = Mul (x, i)"} {
				r = append(r, square+"\n"+strings.Replace(axes[1], "axes2", "axes", 1)+"\nw = Add (v, epsilon: scalar)\ns = Sqrt (w)\n"+divide)
			}
		}
	}
	return r
}

// reductions are the means of x and of the squares p: axes by attribute before opset 18 and by operand from then on.
var reductions = [][2]string{
	{"m = ReduceMean <axes = @axes> (x)", "v = ReduceMean <axes = @axes> (p)"},
	{"m = ReduceMean (x, axes: const)", "v = ReduceMean (p, axes2: const)"},
}

// Norm is what the attributes of a normalization are. Axis is negative.
type Norm struct {
	Axis    int64
	Epsilon float32
	Sizes   []int64 // of the axes normalized, which are those of the scale
}

// ReadNorm reads the axes and epsilon of a match of LayerNorm or RMSNorm, or says why it is no normalization of float x over its last
// axes with a scale as large as them.
func ReadNorm(m *rewrite.Match) (*Norm, error) {
	f, err := readNorm(m)
	if err != nil {
		return nil, err
	}
	if !f.scales(m, m.Value("gamma")) {
		return nil, fmt.Errorf("the scale is a %s, not surely as large as the normalized axes %v", m.Type("gamma"), f.Sizes)
	}
	return f, nil
}

// ReadPlainNorm is ReadNorm for a match of PlainLayerNorm or PlainRMSNorm. One with a scale after it is refused.
func ReadPlainNorm(m *rewrite.Match) (*Norm, error) {
	f, err := readNorm(m)
	if err != nil {
		return nil, err
	}
	if u, ok := m.Value("n").OnlyUse(); ok && u.Node != nil && u.Node.Is("Mul") {
		if gamma := u.Node.Operand(1 - u.Index); f.scales(m, gamma) {
			return nil, errors.New("there is a scale after it")
		}
	}
	return f, nil
}

func readNorm(m *rewrite.Match) (*Norm, error) {
	x := m.Shape("x")
	if d := m.DType("x"); d != ir.Float32 || !x.Known() {
		return nil, fmt.Errorf("x is a %s, not surely float of known rank", m.Type("x"))
	}
	k, err := lastAxes(m, len(x))
	if err != nil {
		return nil, err
	}
	last, static := x[len(x)-k:].Ints()
	if !static {
		return nil, fmt.Errorf("the sizes of the normalized axes, %s, are not numbers", x[len(x)-k:])
	}
	epsilon, err := ReadEpsilon(m, len(x))
	if err != nil {
		return nil, err
	}
	return &Norm{int64(-k), epsilon, last}, nil
}

// scales reports whether v surely has the shape of a scale.
func (f *Norm) scales(m *rewrite.Match, v *ir.Value) bool {
	t := m.TypeOf(v)
	sizes, ok := t.TensorShape().Ints()
	return ok && slices.Equal(sizes, f.Sizes) && t.DType() == ir.Float32
}

// Ones is the scale of a normalization that has none.
func (f *Norm) Ones() *ir.Tensor {
	v := make([]float32, ir.NumElements(f.Sizes))
	for i := range v {
		v[i] = 1
	}
	return ir.NewTensor(ir.Float32, f.Sizes, ir.AsBytes(v))
}

// ReadEpsilon reads the epsilon of a match, which must not add axes to a value of that rank.
func ReadEpsilon(m *rewrite.Match, rank int) (float32, error) {
	epsilon, _, err := rewrite.Scalar(m.Const("epsilon"))
	m.Fail(err)
	if e := m.Const("epsilon"); !(epsilon >= 0) || epsilon > 1 || e.Rank() > rank {
		return 0, fmt.Errorf("epsilon is a %s with value %v", e.Type(), epsilon)
	}
	return float32(epsilon), nil
}

// ReadAxes are the axes, counted from the first and sorted, that both means of a match are taken over, for a value of that rank.
func ReadAxes(m *rewrite.Match, rank int) ([]int64, error) {
	first, err := axes(m, "axes", rank)
	if err != nil {
		return nil, err
	}
	if m.Has("axes2") {
		second, err := axes(m, "axes2", rank)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(first, second) {
			return nil, fmt.Errorf("the means are over axes %v and %v", first, second)
		}
	}
	return first, nil
}

// lastAxes is how many axes both means are taken over, if those are the last ones of the given rank.
func lastAxes(m *rewrite.Match, rank int) (int, error) {
	first, err := ReadAxes(m, rank)
	if err != nil {
		return 0, err
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
