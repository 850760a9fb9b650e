package tvm

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/targets"
	"github.com/onnxopt/onnxopt/targets/internal/slow"
)

// slowly says what TVM runs slower than it could.
func slowly(_ *passes.Context, m *ir.Model, report func(targets.Finding)) error {
	slow.Layout(m, report)
	slow.Unfused(m, "BatchNormalization", "Conv", "conv-bn", report)
	n := 0
	for x := range m.Nodes() {
		if x.Is("Conv", "ConvTranspose", "MatMul", "Gemm") {
			n++
		}
	}
	if n > 0 {
		report(targets.Finding{
			Kind: targets.Slow, Rule: "untuned", Op: "Conv, MatMul, Gemm", Count: n,
			Why: "loops that are not tuned run many times slower than in other runtimes; tune with tvm.s_tir.meta_schedule",
		})
	}
	return nil
}
