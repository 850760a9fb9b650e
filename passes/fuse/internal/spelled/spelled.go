// Package spelled holds the patterns of functions that exporters spell out in arithmetic, for passes that write them in different forms.
package spelled

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Elementwise says why a chain does not compute a function of x element by element: x is not surely float, or a constant that the
// pattern calls one of names would add axes to the result.
func Elementwise(m *rewrite.Match, names ...string) error {
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

// Scalar is the number that the pattern calls by that name, which it has seen to be a constant of one element.
func Scalar(m *rewrite.Match, name string) float64 {
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
	return math.Abs(Scalar(m, name)-want) <= 1e-6*math.Abs(want)
}

// Constants says why one of the named constants, as far as the match has it, is not the number wanted of it.
func Constants(m *rewrite.Match, want map[string]float64, names ...string) error {
	for _, name := range names {
		if m.Has(name) && !is(m, name, want[name]) {
			return fmt.Errorf("%s is %v and not %v", name, Scalar(m, name), want[name])
		}
	}
	return Elementwise(m, names...)
}
