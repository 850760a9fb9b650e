// Package convbn folds BatchNormalization into the convolution before it.
package convbn

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/convfold"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass folds BatchNormalization in inference mode into the Conv or ConvTranspose before it.
var Pass = rewrite.Define(passes.Info{
	Name: "conv-bn",
	Doc:  "folds BatchNormalization into the weights and bias of the convolution before it",
}, rule)

// With s = scale / sqrt(var + epsilon), batch normalization is (y - mean) * s + bias for each channel (Ioffe and Szegedy 2015), so that
//
//	bn(conv(x, w) + b) = conv(x, w*s) + (b - mean)*s + bias
//
//	x ── Conv ── BatchNormalization ──   becomes   x ── Conv ──
//
// PyTorch, Keras and TensorFlow exporters all leave this chain when they export without folding.
var rule = &rewrite.Rule{
	Name:    "conv-bn",
	Doc:     "folds an inference BatchNormalization into the Conv or ConvTranspose before it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
		z = BatchNormalization ` + affine.Attributes + ` (y, scale: const, bias: const, mean: const, var: const)`),
	Where: func(m *rewrite.Match) error {
		n, w := m.Node("y"), m.Const("w")
		if !weights.Supported(w.DType()) {
			return fmt.Errorf("the weights are of type %s", w.DType())
		}
		channels, _, err := convfold.Channels(n, w.Shape())
		if err != nil {
			return err
		}
		p, err := affine.ReadNorm(m.Root(), channels)
		if err != nil {
			return convfold.Refuse(m, err)
		}
		scale, shift := p.Affine()
		f, err := convfold.Fold(n, w, m.Const("b"), scale, shift)
		m.Keep = f
		return convfold.Refuse(m, err)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{convfold.Replace(b, m.Node("y"), m.Keep.(*convfold.Folded))}
	},
}
