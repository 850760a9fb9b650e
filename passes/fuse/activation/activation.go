// Package activation finds the activation functions that exporters spell out in arithmetic.
package activation

import (
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass replaces chains that spell out an activation function by the operator of that name.
var Pass = rewrite.Define(passes.Info{
	Name: "activations",
	Doc:  "finds HardSigmoid, HardSwish, Gelu and Mish in the arithmetic that spells them out",
	Long: `Operators that the model's opset does not have are not used: HardSwish needs opset 14, Mish 18, Gelu 20. Swish of opset 24 is not written: ONNX Runtime
1.32 has no kernel for it, takes it apart on loading, and is slower with it than with Sigmoid and Mul. Only float is
looked at, since ONNX Runtime computes these operators on the CPU in no other type.`,
}, hardSigmoid, hardSwish, hardSwishOfSigmoid, gelu, geluTanh, mish)

// tolerance is what the operators' own order of operations may make of the result.
var tolerance = passes.Promise{RelTol: 1e-4}
