// Package relayout is the pass that changes the order of axes of inputs and outputs.
package relayout

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
	"github.com/onnxopt/onnxopt/passes/internal/layout"
)

// Options of the pass.
type Options struct {
	Layouts map[string]string `opt:"*" doc:"name=nhwc, nchw or a permutation [0,2,3,1], as Transpose takes it, of an input or output"`
}

// Pass changes layouts at the interface.
var Pass = passes.Define(passes.Info{
	Name: "relayout",
	Doc:  "changes the order of axes of inputs and outputs, and moves the Transposes that takes to where they cancel",
	Long: `x=nhwc says that input or output x, which is batch, channel, then space (of one, two or three axes), is to have its channels
last; x=nchw the other way round. A Transpose at the border would do. It is moved over what computes the same in any order of
axes (elementwise operators with constants or with each other, Concat, Pad, Slice, Split, Quantize- and DequantizeLinear,
Softmax, reductions) as long as fewer Transposes are left in the end: those that are in the model cancel, as they do in
models that were converted from channels-last frameworks. What needs its axes in a certain order, a Conv above all, keeps one
Transpose before or behind it.`,
	Promise: passes.Promise{RelTol: 1e-5},
	Rules: []passes.RuleDoc{
		{Name: "relayout", Doc: "changes layouts and moves the Transposes"},
		{Name: "relayout-sums", Doc: "the same where a reduction or Softmax is moved over, which may then sum in another order", Promise: passes.Promise{RelTol: 1e-5}},
	},
	Example: "relayout{x=nhwc}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	r := layout.New(c.Context(), m.Main, f)
	for _, name := range slices.Sorted(maps.Keys(o.Layouts)) {
		if err := option(r, m, f, name, o.Layouts[name]); err != nil {
			return err
		}
	}
	if len(r.Inputs)+len(r.Outputs) == 0 {
		return nil
	}
	r.Choose()
	rule := "relayout"
	if r.Sums() {
		rule = "relayout-sums"
	}
	c.Rewrite(rule, nil, nil, func() {
		c.Border(r.Border())
		err = r.Apply()
	})
	return err
}

// option reads one option. Input and output of one name are one value.
func option(r *layout.Layout, m *ir.Model, f *facts.Facts, name, text string) error {
	found := false
	var names []string
	for _, s := range m.Main.Inputs() {
		names = append(names, s.Name())
		if s.Name() == name {
			if s.Value().Default() != nil {
				return fmt.Errorf("input %q has a default, whose layout cannot be changed", name)
			}
			p, err := permutation(text, f.Shape(s.Value()))
			if err != nil {
				return fmt.Errorf("input %q: %w", name, err)
			}
			if found = true; !slices.IsSorted(p) {
				r.Inputs[s.Value()] = p
			}
		}
	}
	for i, s := range m.Main.Outputs() {
		names = append(names, s.Name())
		if s.Name() == name {
			shape := f.Shape(s.Value())
			if shape == nil {
				shape = s.Type().TensorShape()
			}
			p, err := permutation(text, shape)
			if err != nil {
				return fmt.Errorf("output %q: %w", name, err)
			}
			if found = true; !slices.IsSorted(p) {
				r.Outputs[i] = p
			}
		}
	}
	if !found {
		return fmt.Errorf("there is no input or output %q%s", name, spell.Hint(name, names))
	}
	return nil
}

// permutation is what a layout's name means for a value of that shape.
func permutation(text string, shape ir.Shape) ([]int64, error) {
	rank := len(shape)
	if shape == nil {
		return nil, fmt.Errorf("its rank is not known")
	}
	named := func(channel int) ([]int64, error) {
		if rank < 3 {
			return nil, fmt.Errorf("%s is for three axes and more, and it has the shape %s", text, shape)
		}
		p := []int64{0}
		for i := 1; i < rank-1; i++ {
			p = append(p, int64(i)+int64(channel))
		}
		if channel == 1 {
			return append(p, 1), nil
		}
		return slices.Insert(p, 1, int64(rank-1)), nil
	}
	switch strings.ToLower(text) {
	case "nhwc":
		return named(1)
	case "nchw":
		return named(0)
	}
	if !strings.HasPrefix(text, "[") || !strings.HasSuffix(text, "]") {
		return nil, fmt.Errorf("%q is neither nhwc nor nchw nor a permutation like [0,2,3,1]%s", text, spell.Hint(text, []string{"nhwc", "nchw"}))
	}
	var p []int64
	for _, s := range strings.Split(text[1:len(text)-1], ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil || n < 0 || n >= int64(rank) || slices.Contains(p, n) {
			return nil, fmt.Errorf("%s is no permutation of %d axes", text, rank)
		}
		p = append(p, n)
	}
	if len(p) != rank {
		return nil, fmt.Errorf("%s is no permutation of %d axes", text, rank)
	}
	return p, nil
}
