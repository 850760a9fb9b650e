// Package convfill folds BatchNormalization into convolutions whose weights are all the same number.
package convfill

import (
	"fmt"

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
	Doc:  "folds BatchNormalization into convolutions with weights from ConstantOfShape, which stay as small as they are",
}, rule)

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

// filled is what the convolution gets: the number that its weights are, and a bias, nil if it has none and needs none.
type filled struct{ value, bias *ir.Tensor }

func fold(m *rewrite.Match) (*filled, error) {
	value := m.Node("w").Attr("value").Tensor()
	if value == nil {
		value = ir.TensorOf([]float32{0})
	}
	if !weights.Supported(value.DType()) || value.Len() != 1 {
		return nil, affine.Refuse("the weights are of type %s", value.DType())
	}
	shape, err := ir.Elements[int64](m.Const("shape"))
	if err != nil {
		return nil, err
	}
	channels, _, err := convfold.Channels(m.Node("y"), shape)
	if err != nil {
		return nil, affine.Refuse("%v", err)
	}
	p, err := affine.ReadNorm(m.Root(), channels)
	if err != nil {
		return nil, err
	}
	scale, shift := p.Affine()
	for i, s := range scale {
		if s != scale[0] {
			return nil, affine.Refuse("it scales channel %d by another factor than channel 0", i)
		}
	}
	if len(scale) == 0 {
		return nil, affine.Refuse("there are no channels")
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
