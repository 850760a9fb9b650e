package onnxgo

import (
	"errors"
	"fmt"
	"maps"

	"github.com/owulveryck/onnx-go"

	"github.com/onnxopt/onnxopt"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/engine/native"
	"github.com/onnxopt/onnxopt/ir"
)

// compiled is a model that is ready to run.
type compiled struct {
	session engine.Session
	shapes  map[string]ir.Shape // of its inputs; sizes that changed are open
	types   map[string]ir.DType
}

// Run computes the outputs from the inputs, and implements onnx-go's backend.ComputationBackend.
func (g *Graph) Run() error {
	in := map[string]ir.Datum{}
	shapes := map[string]ir.Shape{} // of inputs; sizes that changed are open
	if g.ready != nil {
		shapes = maps.Clone(g.ready.shapes)
	}
	fits := g.ready != nil
	types := g.inputTypes()
	for _, v := range g.inputs() {
		if !v.fed {
			return fmt.Errorf("onnxgo: input %q has no value: SetInput gives it one", v.name)
		}
		t, err := toIR(v.data, types[v.name])
		if err != nil {
			return fmt.Errorf("onnxgo: input %q: %w", v.name, err)
		}
		if g.ready != nil && g.ready.types[v.name] != ir.Undefined && g.ready.types[v.name] != t.DType() {
			fits, shapes[v.name] = false, nil
		}
		in[v.name] = t
		if g.source != nil {
			continue // which states its shapes itself
		}
		s, same := widened(shapes[v.name], t.Shape())
		fits = fits && same
		shapes[v.name] = s
	}
	if !fits {
		if err := g.compile(shapes); err != nil {
			return fmt.Errorf("onnxgo: %w", err)
		}
		for name, d := range in {
			g.ready.types[name] = d.(*ir.Tensor).DType()
		}
	}
	out, err := g.ready.session.Run(g.o.ctx, in)
	if err != nil {
		return fmt.Errorf("onnxgo: %w", unsupported(err))
	}
	for _, v := range g.order {
		v.ran = false
	}
	for name, d := range out {
		v := g.values[name]
		if v == nil {
			continue
		}
		t, err := fromIR(d)
		if err != nil {
			return fmt.Errorf("onnxgo: output %q: %w", name, err)
		}
		v.data, v.ran = t, true
	}
	return nil
}

// widened is the shape of an input that also takes a tensor of another shape, and whether it did so before.
func widened(s ir.Shape, dims []int64) (ir.Shape, bool) {
	if s == nil {
		return ir.StaticShape(dims...), false
	}
	if len(s) != len(dims) {
		return ir.StaticShape(dims...), false
	}
	same := true
	r := append(ir.Shape{}, s...)
	for i, d := range r {
		if d.IsStatic() && d.Size != dims[i] {
			r[i], same = ir.UnknownDim(), false
		}
	}
	return r, same
}

// compile optimizes the model for inputs of shapes, and loads it.
func (g *Graph) compile(shapes map[string]ir.Shape) error {
	m, err := g.model(shapes)
	if err != nil {
		return err
	}
	if g.o.pipeline != "" {
		o := onnxopt.Options{Pipeline: g.o.pipeline, Threads: g.o.threads, Verify: onnxopt.Off}
		if g.o.verify {
			o.Verify = onnxopt.Auto
		}
		if _, err := onnxopt.Optimize(g.o.ctx, m, o); err != nil {
			return err
		}
	}
	s, err := native.Merging().Load(g.o.ctx, m, engine.Options{Threads: g.o.threads})
	if err != nil {
		return unsupported(err)
	}
	g.ready = &compiled{session: s, shapes: shapes, types: map[string]ir.DType{}}
	return nil
}

// model is the model for inputs of shapes, a copy to be edited.
func (g *Graph) model(shapes map[string]ir.Shape) (*ir.Model, error) {
	if g.source != nil {
		return g.source.Clone(), nil
	}
	if len(g.calls) == 0 {
		return nil, errors.New("the graph is empty: decode a model into it first")
	}
	build := func(version int64) (*ir.Model, error) { return g.build(version, shapes) }
	version := g.o.opset
	if version == 0 {
		var err error
		if version, err = deduce(build); err != nil {
			return nil, err
		}
	}
	return build(version)
}

// inputTypes are the element types of inputs as the model declares them, where it is known.
func (g *Graph) inputTypes() map[string]ir.DType {
	r := map[string]ir.DType{}
	if g.source != nil {
		for _, s := range g.source.Main.Inputs() {
			if t := s.Type(); t != nil && t.Kind == ir.KindTensor {
				r[s.Name()] = t.Elem
			}
		}
	}
	return r
}

// unsupported is the error that onnx-go has for operators that a backend does not know.
func unsupported(err error) error {
	var u *engine.UnsupportedError
	if errors.As(err, &u) {
		return &onnx.ErrNotImplemented{Operator: u.Ops[0].String(), Message: err.Error()}
	}
	return err
}
