// Package convbn folds BatchNormalization into the convolution before it.
package convbn

import (
	"errors"
	"fmt"
	"math"
	"slices"

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
		z = BatchNormalization <epsilon = @epsilon, momentum = @momentum, is_test = @test, consumed_inputs = @consumed>
			(y, scale: const, bias: const, mean: const, var: const)`),
	Where: func(m *rewrite.Match) error {
		if err := inference(m); err != nil {
			return err
		}
		n, w := m.Node("y"), m.Const("w")
		if !weights.Supported(w.DType()) {
			return fmt.Errorf("the weights are of type %s", w.DType())
		}
		channels, _, err := convfold.Channels(n, w)
		if err != nil {
			return err
		}
		var p [4][]float64
		for i, name := range []string{"scale", "bias", "mean", "var"} {
			t := m.Const(name)
			if !slices.Equal(t.Shape(), []int64{int64(channels)}) || !weights.Supported(t.DType()) {
				return fmt.Errorf("%s is a %s for %d channels", name, t.Type(), channels)
			}
			if p[i], err = weights.Floats(t); err != nil {
				m.Fail(err)
				return err
			}
		}
		epsilon := float64(m.Attr("epsilon").Float())
		scale, shift := affine(p[0], p[1], p[2], p[3], epsilon)
		f, err := convfold.Fold(n, w, m.Const("b"), scale, shift)
		m.Keep = f
		return convfold.Refuse(m, err)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{convfold.Replace(b, m.Node("y"), m.Keep.(*convfold.Folded))}
	},
}

// inference checks that the node normalizes with the given statistics. Versions before 7 say so by an attribute, versions
// 7 to 13 by having no result but the first, later ones by training_mode, which the pattern leaves at its default 0.
func inference(m *rewrite.Match) error {
	opset := m.Opset("")
	given := 0
	for _, v := range m.Root().Results() {
		if v != nil {
			given++
		}
	}
	if opset < 7 && m.Attr("test").Int() == 0 || opset < 14 && given > 1 {
		return errors.New("it normalizes in training mode")
	}
	return nil
}

// affine gives normalization as x*s + t for each channel. A variance that is negative, or zero without epsilon, gives what is
// not finite and is refused when it is rounded.
func affine(scale, bias, mean, variance []float64, epsilon float64) (s, t []float64) {
	s, t = make([]float64, len(scale)), make([]float64, len(scale))
	for i := range scale {
		s[i] = scale[i] / math.Sqrt(variance[i]+epsilon)
		t[i] = bias[i] - float64(mean[i]*s[i])
	}
	return s, t
}
