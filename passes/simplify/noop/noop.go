// Package noop is the pass that removes operators that change nothing.
package noop

import (
	"bytes"
	"errors"
	"math"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Options are the options of noop.
type Options struct {
	Exact bool `opt:"exact" doc:"leaves out rules that may turn -0 into 0, or that differ for infinities in a neighbouring element"`
}

// Promise implements passes.Promiser.
func (o Options) Promise() passes.Promise { return signOfZero.Unless(o.Exact) }

// signOfZero is the promise of rules that replace a sum that starts from zero, or is weighted with zeros: it makes -0 a 0, and of an
// infinity times zero a NaN.
var signOfZero = passes.Promise{RelTol: 1e-7}

// Pass removes operators whose result is an operand of theirs, or that repeat or undo what was done before.
var Pass = passes.Define(all.Describe(passes.Info{
	Name:    "noop",
	Doc:     "removes operators that change nothing",
	Example: "noop{exact=true}",
}), Options{}, func(c *passes.Context, m *ir.Model, o Options) error {
	if o.Exact {
		return exact.Apply(c, m)
	}
	return all.Apply(c, m)
})

var (
	all   = rewrite.New(rules()...)
	exact = all.Exact()
)

func rules() []*rewrite.Rule {
	return slices.Concat(arithmeticRules(), movementRules(), repeatedRules(), windowRules())
}

// toX is the replacement by the value that the pattern calls x.
func toX(_ *rewrite.Builder, m *rewrite.Match) []*ir.Value { return []*ir.Value{m.Value("x")} }

var (
	errShape   = errors.New("it may change the shape")
	errType    = errors.New("it may change the type")
	errMode    = errors.New("its mode changes elements")
	errElement = errors.New("its operand changes elements")
)

// sameShape refuses a match unless x and y surely have one shape.
func sameShape(m *rewrite.Match) error {
	if m.SameShape("x", "y") {
		return nil
	}
	return errShape
}

// filled reports whether every element of a constant is k; 0 and -0 differ. Large constants are not looked at.
func filled(m *rewrite.Match, t *ir.Tensor, k float64) bool {
	if t == nil || t.DType().Bits() < 8 || t.Len() < 1 || t.ByteLen() > maxRead {
		return false
	}
	b, err := t.Bytes()
	if err != nil {
		m.Fail(err)
		return false
	}
	size := t.DType().Bits() / 8
	if !bytes.Equal(b[size:], b[:len(b)-size]) {
		return false
	}
	v, ok, err := rewrite.Scalar(ir.NewTensor(t.DType(), []int64{}, b[:size]))
	m.Fail(err)
	return ok && v == k && math.Signbit(v) == math.Signbit(k)
}

// maxRead bounds the bytes of constants that are read to see whether they are all one or all zero.
const maxRead = 1 << 18
