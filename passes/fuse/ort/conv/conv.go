// Package conv makes an activation behind a convolution part of it, for ONNX Runtime.
package conv

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass replaces Conv and an activation by FusedConv of com.microsoft.
var Pass = rewrite.Define(passes.Info{
	Name: "ort-conv",
	Doc:  "makes an activation part of the convolution before it, as ONNX Runtime's FusedConv",
	Long: `ONNX Runtime's level 2 does the same to a model when it loads it, and its level 3 turns both FusedConv and Conv into its own layout of
blocks of channels, so that nothing is lost where a file states it. Only float is looked at.`,
}, activation)

// Every exporter writes an activation as a node of its own:
//
//	x ── Conv ── Relu ──   becomes   x ── FusedConv(Relu) ──
//
// Relu, Sigmoid, Tanh, LeakyRelu, HardSigmoid and Clip with constant bounds are those of which ONNX Runtime's convolution has a form.
var activation = &rewrite.Rule{
	Name:    "fused-conv",
	Doc:     "makes an activation part of the convolution before it",
	Promise: passes.Promise{RelTol: 1e-5},
	Match: rewrite.MustParse(`
		y = Conv <...> (x, w, b?)
		z = {Relu, Sigmoid, Tanh, LeakyRelu, HardSigmoid} <...> (y)`, `
		y = Conv <...> (x, w, b?)
		z = Clip <...> (y, low?, high?)`),
	Where: func(m *rewrite.Match) error {
		if err := contrib.Float(m, "x"); err != nil {
			return err
		}
		if err := contrib.Quantized(m.Value("x"), m.Value("w")); err != nil {
			return err
		}
		a, err := contrib.ReadActivation(m, m.Root())
		m.Keep = a
		return err
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		a := m.Keep.(*contrib.Activation)
		attrs := contrib.With(m.Node("y"), ir.StringAttr("activation", a.Name))
		if a.Params != nil {
			attrs = append(attrs, ir.FloatsAttr("activation_params", a.Params))
		}
		return []*ir.Value{contrib.Op(b, "FusedConv", []*ir.Value{m.Value("x"), m.Value("w"), m.Value("b")}, attrs...)}
	},
}
