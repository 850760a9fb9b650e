// Package downscale is the pass that makes a model of images compute on smaller ones.
package downscale

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
)

// Options of the pass.
type Options struct {
	Scale  float64 `opt:"scale" doc:"height and width inside, as a share of the input's"`
	Raised bool    `opt:"prepare" doc:"raises the opset to 13 where it is older, for Resize"`
}

// Prepare implements passes.Preparer.
func (o Options) Prepare(m *ir.Model) []int {
	if o.Raised && m.Opset("") < 13 {
		return []int{0}
	}
	return nil
}

// Pass shrinks images.
var Pass = passes.Define(passes.Info{
	Name: "downscale",
	Doc:  "makes a model of images compute on smaller ones, by a Resize behind its inputs",
	Long: `Inputs of four dimensions, one of which has 1, 3 or 4 channels, are resized, linearly, before anything else looks at them. The
interface stays. Shapes of values are inferred anew; a model that cannot take the smaller size, because it was written into a Reshape or a
matrix product, is an error; one whose outputs would change their shape stays as it is. Models that end in a mean over all positions can, as a rule. What
they recognize then is coarser.`,
	Promise:  passes.Promise{Lossy: true},
	Example:  "downscale{scale=0.75}",
	Prepares: []string{"opset{to=13}"},
	Rules:    []passes.RuleDoc{{Name: "resize", Doc: "resizes an input", Promise: passes.Promise{Lossy: true}}},
}, Options{Scale: 0.75, Raised: true}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	if !(o.Scale > 0 && o.Scale < 1) {
		return fmt.Errorf("scale=%g is not between 0 and 1", o.Scale)
	}
	if m.Opset("") < 11 {
		return fmt.Errorf("Resize takes scales from opset 11 on, and this is opset %d; opset{to=13} raises it", m.Opset(""))
	}
	var images []int
	for i, in := range m.Main.Inputs() {
		if scales(in.Type(), o.Scale) != nil && in.Value().Default() == nil {
			images = append(images, i)
		}
	}
	if len(images) == 0 {
		return errors.New("no input is an image: of four dimensions, floats, with 1, 3 or 4 channels")
	}
	var kept *shapeError
	if err := apply(m.Clone(), images, o.Scale); errors.As(err, &kept) { // whether it can be done
		c.Remark(m.Main.Return(), "resize", kept.Error())
		c.Note("left as it is: " + kept.Error())
		return nil
	} else if err != nil {
		return err
	}
	var err error
	c.Rewrite("resize", nil, nil, func() { err = apply(m, images, o.Scale) })
	return err
}

// scales are those of the four dimensions of an image; nil: the type is not one of images.
func scales(t *ir.Type, scale float64) []float32 {
	shape := t.TensorShape()
	if len(shape) != 4 || !t.DType().IsFloat() {
		return nil
	}
	colours := func(d ir.Dim) bool { return d.IsStatic() && (d.Size == 1 || d.Size == 3 || d.Size == 4) }
	s := float32(scale)
	switch {
	case colours(shape[1]):
		return []float32{1, 1, s, s}
	case colours(shape[3]):
		return []float32{1, s, s, 1}
	}
	return nil
}

// apply makes the change and records the types that follow.
func apply(m *ir.Model, images []int, scale float64) error {
	for _, i := range images {
		in := m.Main.Inputs()[i]
		x := in.Value()
		k := m.Main.Const(ir.TensorOf(scales(in.Type(), scale), 4))
		n := m.Main.New(nil, ir.Op("Resize"), []*ir.Value{x, nil, k}, ir.StringAttr("mode", "linear"), ir.StringAttr("coordinate_transformation_mode", "half_pixel"))
		x.ReplaceUsesIf(n.Result(0), func(u ir.Use) bool { return u.Node != n })
	}
	typed := forget(m)
	r := infer.Model(m)
	for _, x := range r.Remarks() {
		if x.Severity == infer.Error {
			return fmt.Errorf("the model cannot take smaller images: %s", x)
		}
	}
	for _, out := range m.Main.Outputs() {
		was, now := out.Type().TensorShape(), r.Shape(out.Value())
		for i := range was {
			if len(was) == len(now) && was[i].IsStatic() && now[i].IsStatic() && was[i].Size != now[i].Size {
				return &shapeError{out.Name(), was, now}
			}
		}
	}
	for _, v := range typed {
		if t := r.Type(v); t != nil {
			v.SetType(t)
		}
	}
	return nil
}

// shapeError says that an output would have another shape.
type shapeError struct {
	output   string
	was, now ir.Shape
}

func (e *shapeError) Error() string {
	return fmt.Sprintf("output %q would be %s and not %s", e.output, e.now, e.was)
}

// forget drops the recorded sizes of intermediate values, and lists those.
func forget(m *ir.Model) []*ir.Value {
	var r []*ir.Value
	for _, g := range m.Graphs() {
		if g.Function() != nil {
			continue
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil && v.Type().IsTensor() {
					r = append(r, v)
					t := *v.Type()
					t.Shape = slices.Clone(t.Shape)
					for i := range t.Shape {
						t.Shape[i] = ir.Dim{Size: -1, Denotation: t.Shape[i].Denotation}
					}
					v.SetType(&t)
				}
			}
		}
	}
	return r
}
