// Package randomize is the pass that replaces weights by random numbers.
package randomize

import (
	"hash/fnv"
	"strconv"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/consts"
)

// Options of the pass.
type Options struct {
	Seed int64 `opt:"seed" doc:"seed of the numbers"`
	Keep int64 `opt:"keep" doc:"constants of at most so many elements stay as they are"`
}

// Pass replaces weights.
var Pass = passes.Define(passes.Info{
	Name: "randomize",
	Doc:  "replaces weights by random numbers, to share a model without what it has learned",
	Long: `Constants of floating-point numbers become uniformly distributed numbers of the same type and shape, of about the same
mean and variance, and between the same bounds, so that variances stay positive. NaN and infinities stay where they
are. So do weights of eight bits, and biases of 32, that a quantized operator or DequantizeLinear takes. Everything else stays: other
integers, scales of quantizers, what Resize, Clip, Pad and the like take as an option, float8 and smaller types, sparse
constants, and attributes, in which the operators of ai.onnx.ml have their coefficients. Names and metadata stay, too: see strip and rename.`,
	Promise: passes.Promise{Lossy: true},
	Rules: []passes.RuleDoc{
		{Name: "float", Doc: "replaces a constant of floating-point numbers", Promise: passes.Promise{Lossy: true}},
		{Name: "quantized", Doc: "replaces the integers of a quantized weight", Promise: passes.Promise{Lossy: true}},
	},
	Example: "randomize{seed=1}",
}, Options{Seed: 1, Keep: 1}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	r := &randomizer{c: c, o: o, options: choices(m, f), weights: quantized(m)}
	for _, g := range m.Graphs() {
		for _, s := range g.Inputs() {
			if err := r.constant(s.Value(), s.Value().Default()); err != nil {
				return err
			}
		}
		for _, v := range g.Consts() {
			if err := r.constant(v, v.Const()); err != nil {
				return err
			}
		}
		for n := range g.Nodes() {
			if n.Is("Constant") && len(n.Attrs()) == 1 && n.Attrs()[0].Name == "value" {
				if err := r.constant(n.Result(0), n.Result(0).Const()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type randomizer struct {
	c       *passes.Context
	o       Options
	options map[*ir.Value]bool
	weights map[*ir.Value]bool
	count   int
}

// constant replaces t, which v holds, if it is a weight.
func (r *randomizer) constant(v *ir.Value, t *ir.Tensor) error {
	r.count++
	rule := "float"
	switch {
	case t == nil:
		return nil
	case r.weights[v]:
		rule = "quantized"
	case !t.DType().IsFloat():
		return nil
	}
	user := user(v)
	switch {
	case t.Len() <= r.o.Keep || !r.c.Enabled(rule, user):
		return nil
	case r.options[v]:
		r.c.Remark(user, rule, "the constant is an option of an operator, not a weight")
		return nil
	case !known(t.DType()):
		r.c.Remark(user, rule, "there are no random numbers of type "+t.DType().String())
		return nil
	}
	if _, sparse := t.Payload().(keep.Sparse); sparse {
		r.c.Remark(user, rule, "the constant is sparse")
		return nil
	}
	d, err := measure(t)
	if err != nil {
		return err
	}
	if d.low == d.high {
		r.c.Remark(user, rule, "all elements are equal")
		return nil
	}
	d.seed = r.seed(v)
	r.c.Rewrite(rule, user, nil, func() { consts.Replace(v, ir.NewLazyTensor(t.DType(), t.Shape(), d)) })
	return nil
}

// seed is different for each constant and does not depend on which others are replaced.
func (r *randomizer) seed(v *ir.Value) uint64 {
	h := fnv.New64a()
	h.Write([]byte(strconv.FormatInt(r.o.Seed, 10) + "/" + strconv.Itoa(r.count) + "/" + v.Name()))
	return h.Sum64()
}

// user is the node that only= and except= look at: the first that takes v.
func user(v *ir.Value) *ir.Node {
	for u := range v.Uses() {
		if !u.Node.IsReturn() {
			return u.Node
		}
	}
	return v.Node()
}

// place is an operand of an operator.
type place struct {
	op string
	i  int
}

// optional are operands that say what an operator does rather than with which weights.
var optional = map[place]bool{
	{"Resize", 1}: true, {"Resize", 2}: true, {"Upsample", 1}: true, {"Range", 0}: true, {"Range", 1}: true, {"Range", 2}: true,
	{"OneHot", 2}: true, {"Pad", 2}: true, {"Clip", 1}: true, {"Clip", 2}: true, {"NonMaxSuppression", 3}: true, {"NonMaxSuppression", 4}: true,
	{"QuantizeLinear", 1}: true, {"DequantizeLinear", 1}: true, {"QLinearConv", 1}: true, {"QLinearConv", 4}: true, {"QLinearConv", 6}: true,
	{"QLinearMatMul", 1}: true, {"QLinearMatMul", 4}: true, {"QLinearMatMul", 6}: true,
}

// few bounds the size of what an option may be computed from.
const few = 64

// choices are the constants on which such operands depend, and those that become integers, which are sizes or indices.
func choices(m *ir.Model, f *facts.Facts) map[*ir.Value]bool {
	r := map[*ir.Value]bool{}
	var mark func(v *ir.Value)
	mark = func(v *ir.Value) {
		if v == nil || r[v] {
			return
		}
		r[v] = true
		n := v.Node()
		if n == nil || n.Is("Shape", "Size") {
			return
		}
		for _, o := range n.Operands() {
			if o != nil && small(f, o) {
				mark(o)
			}
		}
	}
	for n := range m.Nodes() {
		op := n.Op()
		for i, v := range n.Operands() {
			switch {
			case v == nil:
			case optional[place{op.Type, i}]:
				mark(v)
			case n.Is("Cast") && v.Node() == nil && ir.DType(n.Int("to", 0)).IsInt():
				mark(v)
			}
		}
	}
	return r
}

func small(f *facts.Facts, v *ir.Value) bool {
	n, ok := f.Shape(v).Ints()
	return ok && ir.NumElements(n) <= few
}

// integer are the operands in which quantized operators take weights and biases.
var integer = map[place]bool{
	{"DequantizeLinear", 0}: true, {"QLinearConv", 3}: true, {"QLinearConv", 8}: true, {"QLinearMatMul", 3}: true,
	{"ConvInteger", 1}: true, {"MatMulInteger", 1}: true, {"MatMulInteger", 0}: true,
}

// quantized are the integer constants that nothing but such operands take.
func quantized(m *ir.Model) map[*ir.Value]bool {
	r, other := map[*ir.Value]bool{}, map[*ir.Value]bool{}
	for n := range m.Nodes() {
		for i, v := range n.Operands() {
			if v == nil || !v.IsInitializer() && v.Const() == nil {
				continue
			}
			if d := v.Const().DType(); n.Op().Domain == "" && integer[place{n.Op().Type, i}] && (d == ir.Int8 || d == ir.Uint8 || d == ir.Int32) {
				r[v] = true
			} else {
				other[v] = true
			}
		}
	}
	for v := range other {
		delete(r, v)
	}
	return r
}
