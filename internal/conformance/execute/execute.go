// Package execute runs ONNX's conformance tests in an engine, for the tests of engines and of what changes models.
package execute

import (
	"context"
	"errors"
	"fmt"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/internal/conformance"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio"
)

// ErrNoInput is the error of a test that lacks a file for an input without a default.
var ErrNoInput = errors.New("the test has no input files")

// Test runs the model of a test on every data set it comes with, and compares with the outputs that are recorded.
func Test(e engine.Engine, test conformance.Test, o engine.Options) error {
	f, err := onnxio.Read(test["model.onnx"], onnxio.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = Model(e, f.Model, test, o)
	return err
}

// Model is Test of a model in the place of the test's own. It returns the outputs on each data set.
func Model(e engine.Engine, m *ir.Model, test conformance.Test, o engine.Options) (out []map[string]ir.Datum, err error) {
	s, err := e.Load(context.Background(), m, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for set := 0; ; set++ {
		dir := fmt.Sprintf("test_data_set_%d/", set)
		if test[dir+"output_0.pb"] == nil {
			return out, nil
		}
		got, err := runSet(m.Main, s, test, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		out = append(out, got)
	}
}

// runSet runs a session on the data set in dir and compares: relative 1e-3 as ONNX's own runner does, a step of the type for floats of eight
// bits and bfloat16.
func runSet(g *ir.Graph, s engine.Session, test conformance.Test, dir string) (map[string]ir.Datum, error) {
	in := map[string]ir.Datum{}
	for i, slot := range g.Inputs() {
		b, ok := test[dir+fmt.Sprintf("input_%d.pb", i)]
		if !ok {
			if slot.Value().Default() == nil {
				return nil, ErrNoInput
			}
			continue
		}
		d, _, err := onnxio.ReadDatum(b, slot.Type())
		if err != nil {
			return nil, err
		}
		in[slot.Name()] = d
	}
	got, err := s.Run(context.Background(), in)
	if err != nil {
		return nil, err
	}
	for i, slot := range g.Outputs() {
		want, _, err := onnxio.ReadDatum(test[dir+fmt.Sprintf("output_%d.pb", i)], slot.Type())
		if err != nil {
			return nil, err
		}
		d := compare.Datum(want, got[slot.Name()])
		tolerance := compare.Tolerance{Rel: 1e-3, Abs: 1e-7}
		if d.DType.IsFloat() && d.DType.Bits() <= 16 && d.DType != ir.Float16 {
			tolerance.Rel = 1.0 / 64
		}
		if err := tolerance.Check(d); err != nil {
			return nil, fmt.Errorf("output %q: %w", slot.Name(), err)
		}
	}
	return got, nil
}
