// Package convfill folds BatchNormalization into convolutions whose weights are all the same number.
package convfill

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/convfold"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass folds BatchNormalization into Conv and ConvTranspose with weights from ConstantOfShape.
var Pass = rewrite.Define(passes.Info{
	Name: "conv-fill-bn",
	Doc:  "folds BatchNormalization into convolutions with weights from ConstantOfShape, which stay as small as they are where they can",
}, rule, written)

// The "light" models of the ONNX project, and models whose weights were taken out to share or to measure them, state weights as
//
//	ConstantOfShape ── Conv ── BatchNormalization ──   which becomes   ConstantOfShape ── Conv ──
//
// Where the normalization scales all channels alike, the scaled weights are again one number, so that the file need not hold
// them. See conv-bn for the arithmetic.
var rule = &rewrite.Rule{
	Name:    "conv-fill-bn",
	Doc:     "folds a BatchNormalization that scales all channels alike into a convolution with weights from ConstantOfShape",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		w: shared = ConstantOfShape <...> (shape: const)
		y = {Conv, ConvTranspose} <...> (x, w, b?: const)
		z = BatchNormalization ` + affine.Attributes + ` (y, scale: const, bias: const, mean: const, var: const)`),
	Where: func(m *rewrite.Match) error {
		f, err := fold(m)
		m.Keep = f
		return convfold.Refuse(m, err)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		f := m.Keep.(*filled)
		n := m.Node("y")
		in := []*ir.Value{m.Value("x"), b.Like(m.Node("w"), []*ir.Value{m.Value("shape")}, ir.TensorAttr("value", f.value)), n.Operand(2)}
		if f.bias != nil {
			name := ""
			if in[2] != nil {
				name = in[2].Name()
			}
			in[2] = b.Const(name, f.bias)
		}
		return []*ir.Value{b.Like(n, in)}
	},
}

// Where channels are scaled by different factors, the weights have to be written out, if they are not too many:
//
//	ConstantOfShape ── Conv ── BatchNormalization ──   becomes   w ── Conv ──
var written = &rewrite.Rule{
	Name:    "conv-written-bn",
	Doc:     "folds a BatchNormalization that scales channels by different factors, and writes up to 1 MB of weights out for it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rule.Match,
	Where: func(m *rewrite.Match) error {
		f, err := write(m)
		m.Keep = f
		return convfold.Refuse(m, err)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{convfold.Replace(b, m.Node("y"), m.Keep.(*convfold.Folded))}
	},
}

// most is the most bytes of weights that are written out.
const most = 1 << 20

func write(m *rewrite.Match) (*convfold.Folded, error) {
	value, shape, scale, shift, err := read(m)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(scale, func(s float64) bool { return s != scale[0] }) {
		return nil, affine.Refuse("it scales all channels alike, or rule conv-fill-bn says why not")
	}
	n, size := int64(1), int64(value.DType().Bits()/8)
	for _, d := range shape {
		if n *= d; d <= 0 || n > most/size {
			return nil, affine.Refuse("weights of shape %v take none or more than %d bytes", shape, most)
		}
	}
	one, err := value.Bytes()
	if err != nil {
		return nil, err
	}
	return convfold.Fold(m.Node("y"), ir.NewTensor(value.DType(), shape, bytes.Repeat(one, int(n))), m.Const("b"), scale, shift)
}

// filled is what the convolution gets: the number that its weights are, and a bias, nil if it has none and needs none.
type filled struct{ value, bias *ir.Tensor }

// read reads the weights' value and shape, and what the normalization does to a channel.
func read(m *rewrite.Match) (value *ir.Tensor, shape []int64, scale, shift []float64, err error) {
	if value = m.Node("w").Attr("value").Tensor(); value == nil {
		value = ir.TensorOf([]float32{0})
	}
	if !weights.Supported(value.DType()) || value.Len() != 1 {
		return nil, nil, nil, nil, affine.Refuse("the weights are of type %s", value.DType())
	}
	if shape, err = ir.Elements[int64](m.Const("shape")); err != nil {
		return nil, nil, nil, nil, err
	}
	channels, _, err := convfold.Channels(m.Node("y"), shape)
	if err != nil {
		return nil, nil, nil, nil, affine.Refuse("%v", err)
	}
	p, err := affine.ReadNorm(m.Root(), channels)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	if scale, shift = p.Affine(); len(scale) == 0 {
		return nil, nil, nil, nil, affine.Refuse("there are no channels")
	}
	return value, shape, scale, shift, nil
}

func fold(m *rewrite.Match) (*filled, error) {
	value, _, scale, shift, err := read(m)
	if err != nil {
		return nil, err
	}
	for i, s := range scale {
		if s != scale[0] {
			return nil, affine.Refuse("it scales channel %d by another factor than channel 0", i)
		}
	}
	v, err := weights.Floats(value)
	if err != nil {
		return nil, err
	}
	f := &filled{}
	if f.value, err = weights.Round(value.DType(), value.Shape(), []float64{v[0] * scale[0]}); err != nil {
		return nil, fmt.Errorf("the weights: %w", err)
	}
	f.bias, err = convfold.Bias(value.DType(), m.Const("b"), scale, shift)
	return f, err
}
