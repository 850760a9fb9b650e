// Package gemm makes what stands around a matrix product part of it, for ONNX Runtime.
package gemm

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes FusedGemm and FusedMatMul of com.microsoft.
var Pass = rewrite.Define(passes.Info{
	Name: "ort-gemm",
	Doc:  "makes activations, factors and transpositions part of the matrix products beside them",
	Long: `FusedGemm applies an activation, FusedMatMul a factor, and transposes the last two axes of its operands. ONNX Runtime's level 2 writes the
same. Only float is looked at.`,
}, activation, scaled, scaledOperand, transposed)

// Exporters write an activation as a node of its own:
//
//	x ── Gemm ── Relu ──   becomes   x ── FusedGemm(Relu) ──
var activation = &rewrite.Rule{
	Name:    "fused-gemm",
	Doc:     "makes an activation part of the Gemm before it",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		y = Gemm <...> (a, b, c?)
		z = {Relu, Sigmoid, Tanh, LeakyRelu, Elu, HardSigmoid, Selu, Softplus, Softsign, ThresholdedRelu} <...> (y)`),
	Where: func(m *rewrite.Match) error {
		if m.Opset("") < 7 {
			return errors.New("Gemm has another meaning before opset 7")
		}
		if err := contrib.Float(m, "a"); err != nil {
			return err
		}
		if err := contrib.Quantized(m.Value("a"), m.Value("b")); err != nil {
			return err
		}
		a, err := contrib.ReadActivation(m, m.Root())
		m.Keep = a
		return err
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		a := m.Keep.(*contrib.Activation)
		attrs := contrib.With(m.Node("y"), ir.StringAttr("activation", a.Name))
		names := []string{"activation_alpha", "activation_beta"}
		if a.Name == "Selu" {
			names[1] = "activation_gamma"
		}
		for i, p := range a.Params {
			attrs = append(attrs, ir.FloatAttr(names[i], p))
		}
		return []*ir.Value{contrib.Op(b, "FusedGemm", []*ir.Value{m.Value("a"), m.Value("b"), m.Value("c")}, attrs...)}
	},
}

// Attention divides its scores by the root of the head's size:
//
//	a ── MatMul ── Div ──   becomes   a ── FusedMatMul ──
//	b ─┘                              b ─┘
var scaled = &rewrite.Rule{
	Name:    "matmul-scale",
	Doc:     "makes a constant factor behind a matrix product part of it",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		y = {MatMul, com.microsoft.FusedMatMul} <...> (a, b)
		z = {Mul, Div} (y, k: scalar)`),
	Where: func(m *rewrite.Match) error {
		f := factor(m, m.Root())
		if y := m.Shape("y"); !y.Known() || m.Const("k").Rank() > len(y) {
			return errors.New("the factor may add axes")
		}
		m.Keep = f
		return usable(m, f)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{fused(b, m.Node("y"), m.Value("a"), m.Value("b"), "alpha", m.Keep.(float32))}
	},
}

// Others multiply an operand:
//
//	a ── Mul ── MatMul ──   becomes   a ── FusedMatMul ──
//	b ──────────┘                     b ─┘
var scaledOperand = &rewrite.Rule{
	Name:    "scale-matmul",
	Doc:     "makes a constant factor of an operand part of the matrix product",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		s = {Mul, Div} (a, k: scalar)
		y = {MatMul, com.microsoft.FusedMatMul} <...> (s, b)`, `
		s = {Mul, Div} (b, k: scalar)
		y = {MatMul, com.microsoft.FusedMatMul} <...> (a, s)`),
	Where: func(m *rewrite.Match) error {
		f := factor(m, m.Node("s"))
		for _, name := range []string{"a", "b"} {
			if x := m.Shape(name); !x.Known() || m.Const("k").Rank() > len(x) {
				return errors.New("the factor may add axes")
			}
		}
		m.Keep = f
		return usable(m, f)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{fused(b, m.Root(), m.Value("a"), m.Value("b"), "alpha", m.Keep.(float32))}
	},
}

// Products with a transposed matrix come from attention, and from linear layers with computed weights:
//
//	b ── Transpose ── MatMul ──   becomes   b ── FusedMatMul ──
//	a ────────────────┘                     a ─┘
var transposed = &rewrite.Rule{
	Name:    "transpose-matmul",
	Doc:     "makes a transposition of the last two axes of an operand part of the matrix product",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParse(`
		t = Transpose <perm = @perm> (a)
		y = {MatMul, com.microsoft.FusedMatMul} <...> (t, b)`, `
		t = Transpose <perm = @perm> (b)
		y = {MatMul, com.microsoft.FusedMatMul} <...> (a, t)`),
	Where: func(m *rewrite.Match) error {
		name := "transA"
		if m.Root().Operand(1) == m.Value("t") {
			name = "transB"
		}
		m.Keep = name
		if m.Root().Operand(0) == m.Root().Operand(1) {
			return errors.New("both operands are the transposed one")
		}
		rank := len(m.Shape("t"))
		perm := m.Attr("perm").Ints()
		if len(m.Shape("a")) < 2 || len(m.Shape("b")) < 2 {
			return errors.New("the operands are not surely matrices")
		}
		want := make([]int64, rank)
		for i := range want {
			want[i] = int64(i)
		}
		want[rank-1], want[rank-2] = want[rank-2], want[rank-1]
		if !slices.Equal(perm, want) && (m.Attr("perm") != nil || rank != 2) {
			return fmt.Errorf("it permutes axes as %v", perm)
		}
		if ops.Int(m.Root(), "transBatchA") != 0 || ops.Int(m.Root(), "transBatchB") != 0 {
			return errors.New("the product moves the batch")
		}
		if err := contrib.Quantized(m.Value("a"), m.Value("b")); err != nil {
			return err
		}
		return contrib.Float(m, "a")
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		name := m.Keep.(string)
		return []*ir.Value{fused(b, m.Root(), m.Value("a"), m.Value("b"), name, 0)}
	},
}

// factor is what n multiplies by.
func factor(m *rewrite.Match, n *ir.Node) float32 {
	f := spelled.Scalar(m, "k")
	if n.Is("Div") {
		f = 1 / f
	}
	return float32(f)
}

// usable says why a factor is not to go into a product of floats.
func usable(m *rewrite.Match, f float32) error {
	if a := math.Abs(float64(f)); !(a >= 1e-10 && a <= 1e10) {
		return fmt.Errorf("the factor is %v", f)
	}
	if err := contrib.Quantized(m.Value("a"), m.Value("b")); err != nil {
		return err
	}
	return contrib.Float(m, "a")
}

// fused is the product n of other operands with one attribute changed: alpha is multiplied, trans turned.
func fused(b *rewrite.Builder, n *ir.Node, x, y *ir.Value, name string, by float32) *ir.Value {
	alpha, trans := float32(1), map[string]int64{}
	if !n.Is("MatMul") {
		alpha = ops.Float(n, "alpha")
		for _, s := range []string{"transA", "transB", "transBatchA", "transBatchB"} {
			trans[s] = ops.Int(n, s)
		}
	}
	if name == "alpha" {
		alpha *= by
	} else {
		trans[name] = 1 - trans[name]
	}
	attrs := []*ir.Attr{ir.FloatAttr("alpha", alpha)}
	for _, s := range []string{"transA", "transB", "transBatchA", "transBatchB"} {
		if trans[s] != 0 {
			attrs = append(attrs, ir.IntAttr(s, trans[s]))
		}
	}
	return contrib.Op(b, "FusedMatMul", []*ir.Value{x, y}, attrs...)
}
