// Package skipnorm makes the addition before a normalization part of it, for ONNX Runtime.
package skipnorm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/fuse/internal/spelled"
	"github.com/onnxopt/onnxopt/passes/internal/contrib"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// Pass writes SkipLayerNormalization and SkipSimplifiedLayerNormalization of com.microsoft.
var Pass = passes.Define(always.Describe(passes.Info{
	Name: "ort-skip-norm",
	Doc:  "makes a residual connection, and the bias before it, part of the layer normalization after it",
	Long: `The operators need no opset, so that normalization that is spelled out is found in models below opset 17, too, which have no
LayerNormalization (opset 23 for RMSNormalization). Only float is looked at.

On a CPU, ONNX Runtime 1.32 computes SkipLayerNormalization several times slower than Add and LayerNormalization: 133 µs instead of about
40 for 64 rows of 384. Its level 2 writes it all the same where it knows the shapes, the operands of the addition have three axes and the same
sizes, and the sum has no other use. By default the pass does so, too, only there, where the file loses nothing. With always=true it
writes them wherever they are right, as is good for a GPU, where they save a pass over memory.`,
}), Options{}, func(c *passes.Context, m *ir.Model, o Options) error {
	if o.Always {
		return always.Apply(c, m)
	}
	return byDefault.Apply(c, m)
})

// Options are the pass's.
type Options struct {
	Always bool `opt:"always" doc:"write them wherever they are right, even where ONNX Runtime's CPU is slower with them"`
}

var (
	always    = rewrite.New(skipLayer, skipRMS)
	byDefault = rewrite.New(restricted())
)

// restricted is skipLayer where ONNX Runtime would do the same.
func restricted() *rewrite.Rule {
	r := *skipLayer
	r.Where = func(m *rewrite.Match) error {
		if err := skipLayer.Where(m); err != nil {
			return err
		}
		switch f := m.Keep.(*found); {
		case usedOutside(m):
			return errors.New("the sum has other uses, and ONNX Runtime's CPU is faster with two nodes")
		case len(m.Shape("x")) != 3 || !plain(f.input, m.TypeOf(f.input)) || !plain(f.skip, m.TypeOf(f.skip)) || !m.TypeOf(f.input).TensorShape().Same(m.TypeOf(f.skip).TensorShape()):
			return errors.New("ONNX Runtime does not see operands of the same three sizes, and its CPU is faster with two nodes")
		}
		return nil
	}
	return &r
}

// plain reports whether a value's shape is static or written in the file, so that any runtime sees it.
func plain(v *ir.Value, t *ir.Type) bool {
	_, static := t.TensorShape().Ints()
	s := v.Type().TensorShape()
	return static || s.Same(s)
}

// A transformer (Vaswani et al. 2017) normalizes a sum, and may use the sum again (pre-norm). Every exporter writes
//
//	x ── Add bias ─┬─ Add ─┬─ LayerNormalization ──   becomes   x ── SkipLayerNormalization ─┬─
//	skip ──────────┘       └───────────────────────             skip ┘                       └─ (the sum)
//
// with or without the bias, and with LayerNormalization or what spells it out.
var skipLayer = &rewrite.Rule{
	Name:    "skip-layer-norm",
	Doc:     "makes what is added before a layer normalization part of it",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParseFor("Add", func() []string {
		return sums(append([]string{"z = LayerNormalization <axis = @axis, epsilon = @e> (x, gamma, beta?)"},
			append(spelled.LayerNormBatch(), biased(spelled.LayerNorm())...)...))
	}),
	Where: func(m *rewrite.Match) error {
		if m.Has("beta") {
			if g, b := m.Shape("gamma"), m.Shape("beta"); !g.Equal(b) || m.DType("beta") != ir.Float32 {
				return fmt.Errorf("the bias is a %s, not surely like the scale, a %s", m.Type("beta"), m.Type("gamma"))
			}
		}
		return where(m)
	},
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return replace(b, m, "SkipLayerNormalization", "beta")
	},
}

// The same for normalization by the root of the mean square, as the models of the Llama family have it.
var skipRMS = &rewrite.Rule{
	Name:    "skip-rms-norm",
	Doc:     "makes what is added before an RMS normalization part of it",
	Promise: contrib.Tolerance,
	Match: rewrite.MustParseFor("Add", func() []string {
		return sums(append([]string{"z = RMSNormalization <axis = @axis, epsilon = @e> (x, gamma)"}, spelled.RMSNorm()...))
	}),
	Where: where,
	Replace: func(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
		return replace(b, m, "SkipSimplifiedLayerNormalization")
	},
}

// biased are spellings, whose root is z, with an addition behind them.
func biased(spellings []string) []string {
	var r []string
	for _, s := range spellings {
		r = append(r, s[:len(s)-len("z = Mul (n, gamma)")]+"y = Mul (n, gamma)\nz = Add (y, beta)")
	}
	return r
}

// sums are the patterns with the sum x before them.
func sums(norms []string) []string {
	var r []string
	for _, s := range []string{"biased = Add (left, bias: const)\nx: result = Add (biased, right)\n", "x: result = Add (left, right)\n"} {
		for _, n := range norms {
			r = append(r, s+n)
		}
	}
	return r
}

// found is a normalization, and the operands of the addition: skip may lack leading axes or have 1 in place of the batch.
type found struct {
	input, skip *ir.Value
	epsilon     float32
}

func where(m *rewrite.Match) error {
	f := &found{input: m.Value("left"), skip: m.Value("right")}
	x, gamma := m.Shape("x"), m.Shape("gamma")
	if m.Has("w") {
		n, err := spelled.ReadNorm(m)
		if err != nil {
			return err
		}
		if n.Axis != -1 {
			return fmt.Errorf("it normalizes over %d axes", -n.Axis)
		}
		f.epsilon = n.Epsilon
	} else {
		if err := contrib.Float(m, "x"); err != nil {
			return err
		}
		if axis := m.Attr("axis").Int(); axis != -1 && axis != int64(len(x))-1 {
			return fmt.Errorf("it normalizes from axis %d on", axis)
		}
		f.epsilon = m.Attr("e").Float()
	}
	if !(f.epsilon >= 0) {
		return fmt.Errorf("ONNX Runtime does not take epsilon %v", f.epsilon)
	}
	if len(x) != 2 && len(x) != 3 {
		return fmt.Errorf("the sum is a %s, not surely of 2 or 3 axes", m.Type("x"))
	}
	if g, ok := gamma.Ints(); !ok || len(g) != 1 || !x[len(x)-1].Same(gamma[0]) || m.DType("gamma") != ir.Float32 {
		return fmt.Errorf("the scale is a %s, not surely as long as the last axis of %s", m.Type("gamma"), m.Type("x"))
	}
	if m.Has("bias") {
		if s := m.Shape("bias"); len(s) != 1 || !s[0].Same(gamma[0]) {
			return fmt.Errorf("the bias is a %s", m.Type("bias"))
		}
	}
	m.Keep = f
	if !fits(m, f.input, f.skip) {
		if f.input, f.skip = f.skip, f.input; m.Has("bias") || !fits(m, f.input, f.skip) {
			return errors.New("the operands of the addition are not surely of the same shape, nor one [1,S,H] or [S,H]")
		}
	}
	return nil
}

// fits reports whether input has the shape of the sum, and skip that shape, or it without the batch or with 1 in its place.
func fits(m *rewrite.Match, input, skip *ir.Value) bool {
	x, ok := m.Dims("x")
	in, ok2 := m.DimsOf(input)
	s, ok3 := m.DimsOf(skip)
	same := func(s, t []infer.Int) bool { return slices.EqualFunc(s, t, infer.Int.Same) }
	if !ok || !ok2 || !ok3 || !same(x, in) {
		return false
	}
	if len(x) == 3 && len(s) == 3 && s[0].Is(1) {
		x, s = x[1:], s[1:]
	}
	return same(x, s) || len(x) == 3 && same(x[1:], s)
}

func replace(b *rewrite.Builder, m *rewrite.Match, op string, optional ...string) []*ir.Value {
	f := m.Keep.(*found)
	in := []*ir.Value{f.input, f.skip, m.Value("gamma")}
	for _, name := range append(optional, "bias") {
		if m.Has(name) {
			in = append(in, m.Value(name))
		} else {
			in = append(in, nil)
		}
	}
	sum, results := m.Value("x"), 1
	if usedOutside(m) {
		results = 4
	}
	n := contrib.Node(b, op, in, results, ir.FloatAttr("epsilon", f.epsilon))
	if results == 4 {
		n.OmitResult(1)
		n.OmitResult(2)
		sum = n.Result(3)
	}
	return []*ir.Value{n.Result(0), sum}
}

// usedOutside reports whether the sum has uses other than those by the normalization.
func usedOutside(m *rewrite.Match) bool {
	for u := range m.Value("x").Uses() {
		inside := u.Node == m.Root()
		for _, name := range []string{"m", "d", "p", "n", "a"} {
			if m.Has("w") && m.Has(name) && m.Value(name).Node() == u.Node {
				inside = true
			}
		}
		if !inside {
			return true
		}
	}
	return false
}
