// Package convmuladd folds arithmetic on the channels of a convolution's result into the convolution.
package convmuladd

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/affine"
	"github.com/onnxopt/onnxopt/internal/convfold"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass folds Mul, Div, Add and Sub with a constant for each channel into the Conv or ConvTranspose before or behind them.
var Pass = rewrite.Define(passes.Info{
	Name: "conv-mul-add",
	Doc:  "folds multiplication by and addition of channel constants into the convolution beside it",
}, mul, add, before)

// TensorFlow exporters leave a batch normalization that was taken apart as Mul and Add behind the convolution, and a bias as an
// Add of a constant [1, M, 1, 1]; PyTorch writes a learned scale behind a convolution (LayerScale) so, too.
//
//	x ── Conv ── Mul ──   becomes   x ── Conv ──
var mul = &rewrite.Rule{
	Name:    "conv-mul",
	Doc:     "folds Mul or Div by a constant for each channel into the weights and bias of the convolution before it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
		z = {Mul, Div} (y, c: const)`),
	Where:   where,
	Replace: replace,
}

// The bias of TensorFlow's and Keras's convolutions is a node of its own, BiasAdd, which tf2onnx writes as an Add:
//
//	x ── Conv ── Add ──   becomes   x ── Conv ──
var add = &rewrite.Rule{
	Name:    "conv-add",
	Doc:     "folds Add or Sub of a constant for each channel into the bias of the convolution before it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
		z = {Add, Sub} (y, c: const)`, `
		y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
		z = Sub (c: const, y)`),
	Where:   where,
	Replace: replace,
}

func where(m *rewrite.Match) error {
	n, w := m.Node("y"), m.Const("w")
	if !weights.Supported(w.DType()) {
		return fmt.Errorf("the weights are of type %s", w.DType())
	}
	channels, _, err := convfold.Channels(n, w.Shape())
	if err != nil {
		return err
	}
	scale, shift, err := affine.ReadArithmetic(m.Root(), m.Value("y"), channels, w.Rank())
	if err != nil {
		return convfold.Refuse(m, err)
	}
	f, err := convfold.Fold(n, w, m.Const("b"), scale, shift)
	m.Keep = f
	return convfold.Refuse(m, err)
}

func replace(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	return []*ir.Value{convfold.Replace(b, m.Node("y"), m.Keep.(*convfold.Folded))}
}
