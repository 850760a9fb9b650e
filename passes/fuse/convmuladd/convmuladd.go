// Package convmuladd folds arithmetic on the channels of a convolution's result into the convolution.
package convmuladd

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/convfold"
	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass folds Mul, Div, Add and Sub with a constant for each channel into the Conv or ConvTranspose before them.
var Pass = rewrite.Define(passes.Info{
	Name: "conv-mul-add",
	Doc:  "folds multiplication by and addition of channel constants into the convolution before it",
}, mul, add)

// TensorFlow exporters leave a batch normalization that was taken apart as Mul and Add behind the convolution, and a bias as an
// Add of a constant [1, M, 1, 1].
var mul = &rewrite.Rule{
	Name:    "conv-mul",
	Doc:     "folds Mul or Div by a constant for each channel into the weights and bias of the convolution before it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
		z = {Mul, Div} (y, c: const)`),
	Where: func(m *rewrite.Match) error {
		return where(m, func(c float64) (scale, shift float64) {
			if m.Root().Op().Type == "Div" {
				return 1 / c, 0
			}
			return c, 0
		})
	},
	Replace: replace,
}

var add = &rewrite.Rule{
	Name:    "conv-add",
	Doc:     "folds Add or Sub of a constant for each channel into the bias of the convolution before it",
	Promise: passes.Promise{RelTol: 1e-4},
	Match: rewrite.MustParse(`
		y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
		z = {Add, Sub} (y, c: const)`, `
		y = {Conv, ConvTranspose} <...> (x, w: const, b?: const)
		z = Sub (c: const, y)`),
	Where: func(m *rewrite.Match) error {
		return where(m, func(c float64) (scale, shift float64) {
			switch {
			case m.Root().Op().Type == "Add":
				return 1, c
			case m.Root().Operand(0) == m.Value("y"):
				return 1, -c
			}
			return -1, c
		})
	},
	Replace: replace,
}

// where folds the operation that turns the constant c of a channel into a scale and a shift.
func where(m *rewrite.Match, affine func(c float64) (scale, shift float64)) error {
	n, w := m.Node("y"), m.Const("w")
	if !weights.Supported(w.DType()) {
		return fmt.Errorf("the weights are of type %s", w.DType())
	}
	channels, _, err := convfold.Channels(n, w)
	if err != nil {
		return err
	}
	c := m.Const("c")
	if !perChannel(c.Shape(), channels, w.Rank()) {
		return fmt.Errorf("c has shape %v, which is not one number for each of %d channels", c.Shape(), channels)
	}
	v, err := weights.Floats(c)
	if err != nil {
		m.Fail(err)
		return err
	}
	scale, shift := make([]float64, channels), make([]float64, channels)
	for i := range scale {
		scale[i], shift[i] = affine(v[i%len(v)])
	}
	f, err := convfold.Fold(n, w, m.Const("b"), scale, shift)
	m.Keep = f
	return convfold.Refuse(m, err)
}

// perChannel reports whether a constant of that shape, broadcast to a result [N, channels, ...] of the given rank, holds one
// number for each channel, or one for all, and does not make the result larger.
func perChannel(shape []int64, channels, rank int) bool {
	if len(shape) > rank {
		return false
	}
	for i, d := range shape {
		axis := i + rank - len(shape)
		if d != 1 && (axis != 1 || d != int64(channels)) {
			return false
		}
	}
	return true
}

func replace(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	return []*ir.Value{convfold.Replace(b, m.Node("y"), m.Keep.(*convfold.Folded))}
}
