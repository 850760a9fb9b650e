// Package activation finds the activation functions that exporters spell out in arithmetic.
package activation

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass replaces chains that spell out an activation function by the operator of that name.
var Pass = rewrite.Define(passes.Info{
	Name: "activations",
	Doc:  "finds HardSigmoid, HardSwish, Gelu and Mish in the arithmetic that spells them out",
	Long: `Operators that the model's opset does not have are not used: HardSwish needs opset 14, Mish 18, Gelu 20. Only float is
looked at, since ONNX Runtime computes these operators on the CPU in no other type.`,
}, hardSigmoid, hardSwish, hardSwishOfSigmoid, gelu, geluTanh, mish)

// tolerance is what the operators' own order of operations may make of the result.
var tolerance = passes.Promise{RelTol: 1e-4}

// plain says why a chain does not compute an activation of x element by element: x is not surely float, or a constant that the
// pattern calls one of names would add axes to the result.
func plain(m *rewrite.Match, names ...string) error {
	if d := m.DType("x"); d != ir.Float32 {
		return fmt.Errorf("x is of type %s, not surely float", d)
	}
	rank := 0
	if s := m.Shape("x"); s.Known() {
		rank = len(s)
	}
	for _, name := range names {
		if m.Has(name) && m.Const(name).Rank() > rank {
			return fmt.Errorf("the constant %s has rank %d, and x not surely", name, m.Const(name).Rank())
		}
	}
	return nil
}

// scalar is the number that the pattern calls by that name, which it has seen to be a constant of one element.
func scalar(m *rewrite.Match, name string) float64 {
	v, ok, err := rewrite.Scalar(m.Const(name))
	m.Fail(err)
	if !ok {
		return math.NaN()
	}
	return v
}

// is reports whether the number called name is want up to a few units in the last place of a float: exporters write 1.4142135 and
// 1.4142135381698608 for the root of 2.
func is(m *rewrite.Match, name string, want float64) bool {
	return math.Abs(scalar(m, name)-want) <= 1e-6*math.Abs(want)
}

// constants says why one of the named constants, as far as the match has it, is not the number wanted of it.
func constants(m *rewrite.Match, want map[string]float64, names ...string) error {
	for _, name := range names {
		if m.Has(name) && !is(m, name, want[name]) {
			return fmt.Errorf("%s is %v and not %v", name, scalar(m, name), want[name])
		}
	}
	return plain(m, names...)
}
