// Package instancenorm finds InstanceNormalization in the arithmetic that spells it out.
package instancenorm

import (
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass replaces chains that spell out instance normalization by InstanceNormalization, which every opset from 6 on has.
var Pass = rewrite.Define(passes.Info{
	Name: "instance-norm",
	Doc:  "finds InstanceNormalization in the arithmetic that spells it out",
	Long: `Only float is looked at. GroupNormalization is not written: ONNX Runtime 1.32 has no kernel for it on a CPU.`,
}, rule)

// Instance normalization (Ulyanov, Vedaldi and Lempitsky 2016) is (x - mean) / sqrt(variance + epsilon) * gamma + beta over the axes behind the
// channels. tf2onnx and hand-written layers of torch write
//
//	x ─┬─ ReduceMean ── Sub ─┬─ Pow 2 ── ReduceMean ── Add ── Sqrt ── Div ── Mul ── Add ──   becomes   x ── InstanceNormalization ──
//	   └────────────────┘    └────────────────────────────────────────┘
//
// with scale and bias for each channel, of [C,1,1] for two axes behind them, or [1,C,1,1].
var rule = &rewrite.Rule{
	Name:    "instance-norm",
	Doc:     "turns the arithmetic of instance normalization into InstanceNormalization",
	Promise: passes.Promise{RelTol: 1e-4},
	Match:   rewrite.MustParse(biased()...),
	Where: func(m *rewrite.Match) error {
		x := m.Shape("x")
		if m.Opset("") < 6 {
			return errors.New("InstanceNormalization has another form before opset 6")
		}
		if d := m.DType("x"); d != ir.Float32 || len(x) < 3 {
			return fmt.Errorf("x is a %s, not surely float of 3 axes or more", m.Type("x"))
		}
		axes, err := spelled.ReadAxes(m, len(x))
		if err != nil {
			return err
		}
		if len(axes) != len(x)-2 || axes[0] != 2 {
			return fmt.Errorf("the means are over axes %v of %d", axes, len(x))
		}
		if !x[1].IsStatic() {
			return errors.New("the number of channels is not known")
		}
		for _, name := range []string{"gamma", "beta"} {
			if t := m.Const(name); t.DType() != ir.Float32 || !perChannel(t.Shape(), x[1].Size, len(x)) {
				return fmt.Errorf("%s is a %s, not one number for each of %d channels", name, t.Type(), x[1].Size)
			}
		}
		epsilon, err := spelled.ReadEpsilon(m, len(x))
		m.Keep = epsilon
		return err
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		in := []*ir.Value{m.Value("x")}
		for _, name := range []string{"gamma", "beta"} {
			in = append(in, b.Const(m.Value(name).Name(), m.Const(name).Reshape([]int64{m.Const(name).Len()})))
		}
		return []*ir.Value{b.Op("InstanceNormalization", in, ir.FloatAttr("epsilon", m.Keep.(float32)))}
	},
}

// biased are the spellings up to the scale, with the addition behind them.
func biased() []string {
	var r []string
	for _, s := range spelled.LayerNorm() {
		const end = "z = Mul (n, gamma)"
		r = append(r, s[:len(s)-len(end)]+"y = Mul (n, gamma: const)\nz = Add (y, beta: const)")
	}
	return r
}

// perChannel reports whether shape broadcasts to rank axes as one number for each of n channels, which are axis 1.
func perChannel(shape []int64, n int64, rank int) bool {
	channel := len(shape) - rank + 1 // the axis that is broadcast to axis 1
	if channel < 0 || len(shape) > rank {
		return false
	}
	for i, d := range shape {
		if i == channel && d != n || i != channel && d != 1 {
			return false
		}
	}
	return true
}
