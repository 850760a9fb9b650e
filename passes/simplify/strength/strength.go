// Package strength is the pass that replaces operations by cheaper ones.
package strength

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/weights"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Options are the options of strength.
type Options struct {
	Exact  bool `opt:"exact" doc:"leaves out rules that round differently"`
	ArgMax bool `opt:"arg-max" doc:"takes ArgMax before Softmax, too: where rounding made two places equal, it is then another one"`
}

// Promise implements passes.Promiser.
func (o Options) Promise() passes.Promise { return rounding.Unless(o.Exact) }

// rounding is the promise of rules that round once where it was done twice, or the other way round.
var rounding = passes.Promise{RelTol: 1e-6}

// Pass replaces operations by cheaper ones: fewer passes over the data, or cheaper elements.
var Pass = passes.Define(all.Describe(passes.Info{
	Name:    "strength",
	Doc:     "replaces operations by cheaper ones",
	Example: "strength{exact=true}",
}), Options{}, func(c *passes.Context, m *ir.Model, o Options) error {
	switch {
	case o.Exact:
		return exact.Apply(c, m)
	case o.ArgMax:
		return all.Apply(c, m)
	}
	return usual.Apply(c, m)
})

var (
	all   = rewrite.New(notWhere, powHalf, powMinusOne, reciprocal, factors, terms, argMax)
	usual = rewrite.New(notWhere, powHalf, powMinusOne, reciprocal, factors, terms)
	exact = usual.Exact()
)

var notWhere = &rewrite.Rule{
	Name: "not-where",
	Doc:  "exchanges the choices of a Where instead of negating its condition",
	Match: rewrite.MustParse(`
		n: shared = Not (c)
		z = Where (n, x, y)`),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Like(m.Root(), []*ir.Value{m.Value("c"), m.Value("y"), m.Value("x")})}
	},
}

// A root is an instruction, a power a call for each element. Of -Inf the power is +Inf and the root NaN, so that what is below zero must be out
// of the question; of -0 they are 0 and -0.
var powHalf = &rewrite.Rule{
	Name:    "pow-half",
	Doc:     "makes a power of one half a Sqrt",
	Promise: rounding,
	Match:   rewrite.MustParse(`z = Pow (x, k: scalar)`),
	Where: func(m *rewrite.Match) error {
		if err := power(0.5)(m); err != nil {
			return err
		}
		if !nonNegative(m.Value("x"), 6) {
			return errors.New("what it is of may be below zero, and -Inf has a power but no root")
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Sqrt", []*ir.Value{m.Value("x")})}
	},
}

var powMinusOne = &rewrite.Rule{
	Name:    "pow-minus-one",
	Doc:     "makes a power of minus one a Reciprocal",
	Promise: rounding,
	Match:   rewrite.MustParse(`z = Pow (x, k: scalar)`),
	Where:   power(-1),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Reciprocal", []*ir.Value{m.Value("x")})}
	},
}

// power accepts a power of floats with that exponent, which may be of another type.
func power(want float64) func(*rewrite.Match) error {
	return func(m *rewrite.Match) error {
		k, ok, err := rewrite.Scalar(m.Const("k"))
		m.Fail(err)
		r := m.Const("k").Rank()
		switch {
		case !ok || k != want:
			return fmt.Errorf("the exponent is %v", k)
		case m.DType("x") != ir.Float32 && m.DType("x") != ir.Float64:
			return errors.New("it is no power of floats")
		case m.Opset("") < 7:
			return errors.New("before opset 7 it broadcasts by attribute")
		case r > 0 && r > len(m.Shape("x")):
			return errors.New("the exponent may add axes")
		}
		return nil
	}
}

// A quotient of values of one shape takes one pass over them, a reciprocal and a product two. Where the divisor is smaller than the other factor
// the product is left, since a division takes longer.
var reciprocal = &rewrite.Rule{
	Name:    "reciprocal",
	Doc:     "makes a product with a reciprocal a quotient, if both have one shape",
	Promise: rounding,
	Match: rewrite.MustParse(`
		r = Div (1, x)
		z = Mul (y, r)`, `
		r = Reciprocal (x)
		z = Mul (y, r)`),
	Where: func(m *rewrite.Match) error {
		if m.Opset("") < 7 || !m.SameShape("x", "y") || !m.SameShape("y", "z") {
			return errors.New("the shapes may differ")
		}
		if d := m.DType("x"); !weights.Supported(d) {
			return fmt.Errorf("x is of type %s", d)
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Div", []*ir.Value{m.Value("y"), m.Value("x")})}
	},
}

// factors and terms: (x*a)*b = x*(a*b), and the like of sums.
var factors = &rewrite.Rule{
	Name:    "factors",
	Doc:     "joins products with two constants, one after the other",
	Promise: rounding,
	Match: rewrite.MustParse(`
		y = {Mul, Div} (x, a: const)
		z = {Mul, Div} (y, b: const)`),
	Where: joins(func(first, second string, a, b float64) float64 {
		switch {
		case first == second:
			return a * b
		case first == "Mul":
			return a / b
		}
		return b / a // x/a*b, as a product
	}),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		op := "Mul"
		if m.Node("y").Is("Div") && m.Root().Is("Div") {
			op = "Div"
		}
		return []*ir.Value{b.Op(op, []*ir.Value{m.Value("x"), b.Const("", m.Keep.(*ir.Tensor))})}
	},
}

var terms = &rewrite.Rule{
	Name:    "terms",
	Doc:     "joins sums with two constants, one after the other",
	Promise: rounding,
	Match: rewrite.MustParse(`
		y = {Add, Sub} (x, a: const)
		z = {Add, Sub} (y, b: const)`),
	Where: joins(func(first, second string, a, b float64) float64 {
		if first == "Sub" {
			a = -a
		}
		if second == "Sub" {
			b = -b
		}
		return a + b
	}),
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Op("Add", []*ir.Value{m.Value("x"), b.Const("", m.Keep.(*ir.Tensor))})}
	},
}

// longest is the number of elements up to which constants are joined.
const longest = 1 << 20

// small is the number of elements of a constant that may be there twice.
const small = 64

// kept reports whether a constant of that shape stays for another use.
func kept(v *ir.Value, shape []int64) bool {
	return v.NumUses() > 1 && slices.Equal(v.Const().Shape(), shape)
}

// joins accepts two constants of which one is as large as both together, and keeps what f makes of them.
func joins(f func(first, second string, a, b float64) float64) func(*rewrite.Match) error {
	return func(m *rewrite.Match) error {
		a, b := m.Const("a"), m.Const("b")
		if k := m.Value("x").Node(); k != nil && k.Op() == m.Node("y").Op() {
			return errors.New("it may be the end of an activation or normalization, which a runtime knows as a whole")
		}
		if m.Opset("") < 7 || !weights.Supported(a.DType()) || a.DType() != b.DType() || a.Len() < 1 || b.Len() < 1 || max(a.Len(), b.Len()) > longest {
			return fmt.Errorf("the constants are %s and %s", a.Type(), b.Type())
		}
		shape := a.Shape()
		if a.Len() == 1 && a.Rank() <= b.Rank() {
			shape = b.Shape()
		} else if !slices.Equal(a.Shape(), b.Shape()) && (b.Len() != 1 || b.Rank() > a.Rank()) {
			return fmt.Errorf("the constants have shapes %v and %v", a.Shape(), b.Shape())
		}
		if ir.NumElements(shape) > small && (kept(m.Value("a"), shape) || kept(m.Value("b"), shape)) {
			return errors.New("a large constant has other uses, too, and would be there twice")
		}
		va, err := weights.Floats(a)
		m.Fail(err)
		vb, err2 := weights.Floats(b)
		m.Fail(err2)
		if err != nil || err2 != nil {
			return errors.Join(err, err2)
		}
		r := make([]float64, ir.NumElements(shape))
		for i := range r {
			r[i] = f(m.Node("y").Op().Type, m.Root().Op().Type, va[i%len(va)], vb[i%len(vb)])
		}
		t, err := weights.Round(a.DType(), shape, r)
		m.Keep = t
		return err
	}
}

// Softmax keeps the order of what is beside each other along its axis. What differs by less than its rounding may become equal by it, and
// then the first counts: an index is another, which no tolerance covers, so that the rule has to be asked for.
var argMax = &rewrite.Rule{
	Name:    "arg-max",
	Doc:     "takes ArgMax of what goes into a Softmax or LogSoftmax along the same axis",
	Promise: rounding,
	Match: rewrite.MustParse(`
		y = {Softmax, LogSoftmax} <...> (x)
		z = ArgMax <...> (y)`),
	Where: func(m *rewrite.Match) error {
		x := m.Shape("x")
		if m.Opset("") < 13 || x == nil {
			return errors.New("the axes are not known")
		}
		a, b := ops.Int(m.Node("y"), "axis"), ops.Int(m.Root(), "axis")
		if (a-b)%int64(len(x)) != 0 {
			return fmt.Errorf("the axes are %d and %d", a, b)
		}
		return nil
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return []*ir.Value{b.Like(m.Root(), []*ir.Value{m.Value("x")})}
	},
}
