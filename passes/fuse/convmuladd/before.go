package convmuladd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/convfold"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// A convolution is linear in each channel of its operand, so that conv(x*s, w) = conv(x, w*s) with the weights of a channel multiplied by
// its s; padding stays zero. conv(x + d, w) = conv(x, w) + sum of w*d only where nothing is padded. Models that bring their
// preprocessing begin so: (x - mean) / std. A product or quotient before it may be the end of an activation or a normalization, as the half of
// Gelu is, which runtimes know as a whole: those keep it. PyTorch and Keras exporters write the preprocessing layers of a model so.
//
//	x ── Sub ── Div ── Conv ──   becomes   x ── Conv ──
var before = &rewrite.Rule{
	Name:    "mul-conv",
	Doc:     "folds Mul, Div, Add or Sub of a constant for each channel into the weights and bias of the convolution behind it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		y = {Mul, Div, Add, Sub} (x, c: const)
		z = {Conv, ConvTranspose} <...> (y, w: const, b?: const)`),
	Where: whereBefore,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		f, n := m.Keep.(*convfold.Folded), m.Root()
		in := slices.Clone(n.Operands())
		in[0] = m.Value("x")
		if f.Weight != m.Const("w") {
			in[1] = b.Const(m.Value("w").Name(), f.Weight)
		}
		if f.Bias != nil {
			name := m.Value("w").Name() + "_bias"
			if m.Has("b") {
				name = m.Value("b").Name()
			}
			in = append(in[:2:2], b.Const(name, f.Bias))
		}
		return []*ir.Value{b.Like(n, in)}
	},
}

func whereBefore(m *rewrite.Match) error {
	n, w := m.Root(), m.Const("w")
	switch {
	case m.Opset("") < 7:
		return errors.New("before opset 7 it broadcasts by attribute")
	case w.Rank() < 3 || w.Len() == 0 || !weights.Supported(w.DType()):
		return fmt.Errorf("the weights are %s", w.Type())
	case m.Value("w").NumUses() != 1:
		return errors.New("the weights have other uses")
	}
	if k := m.Value("x").Node(); k != nil && k.Is("Mul", "Div") {
		return errors.New("it may be the end of an activation or normalization, which a runtime knows as a whole")
	}
	groups := n.Int("group", 1)
	channels := w.Shape()[0]
	if n.Is("Conv") {
		channels = w.Shape()[1] * groups
	}
	x := m.Shape("x")
	if m.Const("c").Rank() > 0 && len(x) != w.Rank() || m.Const("c").Len() > 1 && !x[1].Same(ir.Static(channels)) {
		return fmt.Errorf("x has shape %s, not surely %d channels", x, channels)
	}
	scale, shift, err := affine.ReadArithmetic(m.Node("y"), m.Value("x"), channels, w.Rank())
	if err != nil {
		return convfold.Refuse(m, err)
	}
	f := &convfold.Folded{}
	switch {
	case n.Is("ConvTranspose"):
		f.Weight, err = weights.ScaleAxis(w, 0, scale)
	case groups == 1:
		f.Weight, err = weights.ScaleAxis(w, 1, scale)
	case groups < 1 || w.Shape()[0]%groups != 0:
		return fmt.Errorf("weights of shape %v do not fit %d groups", w.Shape(), groups)
	default:
		f.Weight, err = weights.Scale(w, spread(scale, w.Shape(), groups))
	}
	if err == nil && slices.ContainsFunc(shift, func(d float64) bool { return d != 0 }) {
		f.Bias, err = shifted(m, shift, groups)
	}
	m.Keep = f
	return convfold.Refuse(m, err)
}

// spread is a factor for each of the filters of each result channel of a Conv in groups, whose weights have that shape.
func spread(scale []float64, w []int64, groups int64) (r []float64) {
	for m := range w[0] {
		g := m / (w[0] / groups)
		r = append(r, scale[g*w[1]:(g+1)*w[1]]...)
	}
	return r
}

// shifted is the bias that a Conv without padding gets for a shift of each of its operand's channels.
func shifted(m *rewrite.Match, shift []float64, groups int64) (*ir.Tensor, error) {
	n, w := m.Root(), m.Const("w")
	auto := n.Str("auto_pad", "NOTSET")
	if !n.Is("Conv") || auto != "NOTSET" && auto != "VALID" || auto == "NOTSET" && slices.ContainsFunc(n.Ints("pads"), func(p int64) bool { return p != 0 }) {
		return nil, affine.Refuse("it shifts what is padded")
	}
	v, err := weights.Floats(w)
	if err != nil {
		return nil, err
	}
	out, in := int(w.Shape()[0]), int(w.Shape()[1])
	size := len(v) / (out * in)
	sum, one := make([]float64, out), make([]float64, out)
	for i, x := range v {
		k, c := i/(in*size), i/size%in
		sum[k] += float64(x * shift[k/(out/int(groups))*in+c])
	}
	for i := range one {
		one[i] = 1
	}
	return convfold.Bias(w.DType(), m.Const("b"), one, sum)
}
