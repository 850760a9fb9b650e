package fuzz

import (
	"context"
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/compare"
	"github.com/onnxopt/onnxopt/engine"
	"github.com/onnxopt/onnxopt/ir"
)

// excuse says why a failure in ONNX Runtime is not the passes', "" if it is: where the engines do not agree on the original, folding
// brings the difference into the result.
func (f *Fuzzer) excuse(ctx context.Context, c *Case, bad *Failure, sets []compare.Set) string {
	switch bad.Kind {
	case NotRun:
		// ONNX Runtime is stricter than the standard here and there: branches of an If that differ in rank, a vector of one element in the
		// place of a scalar. Where a rewrite makes a shape known, it sees what it did not see in the original.
		if strings.Contains(bad.Detail, "[ShapeInferenceError]") {
			return "ONNX Runtime's inference refuses what it could not see in the original"
		}
		// The scales of a Resize are checked where they are constants: not those that are computed, which are then taken as they are.
		if strings.Contains(bad.Detail, "ScalesValidation") {
			return "ONNX Runtime refuses scales that it could not see in the original"
		}
		// Scales of one element are checked to be scalars or vectors where a table is made of constants, which folding makes them.
		if strings.Contains(bad.Detail, "QlinearBuildLookupTable") {
			return "ONNX Runtime refuses scales that it could not see in the original"
		}
		// The same of the weights and scales of MatMulNBits.
		if strings.Contains(bad.Detail, "MatMulNBits PrePack") {
			return "ONNX Runtime refuses weights or scales that it could not see in the original"
		}
	case Mismatch:
		if loopsOverStrings(c.Model) && ofStrings(c.Model, bad) {
			return "ONNX Runtime 1.32 loses strings of a loop's state that the body passes on twice"
		}
		eo := engine.Options{MaxMemory: 64 << 20}
		a, err := f.native.eng.Load(ctx, c.Model, eo)
		if err != nil {
			return ""
		}
		defer a.Close()
		b, err := f.ort.eng.Load(ctx, c.Model, eo)
		if err != nil {
			return ""
		}
		defer b.Close()
		tolerance := f.ort.tolerance(c.Model, c.Pipeline.Promise())
		for _, s := range sets {
			x, err := a.Run(ctx, s.Inputs)
			y, err2 := b.Run(ctx, s.Inputs)
			for _, slot := range c.Model.Main.Outputs() {
				if name := slot.Name(); err == nil && err2 == nil && tolerance(name).Check(compare.Datum(x[name], y[name])) != nil {
					return "the engines differ on the original"
				}
			}
		}
	}
	return ""
}

// loopsOverStrings reports whether m has strings in the body of a loop. With two Identity nodes of one string there, ONNX Runtime moves it
// out of the first: scan outputs are empty from the second time around.
func loopsOverStrings(m *ir.Model) bool {
	for n := range m.Nodes() {
		if !n.Is("Loop", "Scan") {
			continue
		}
		for _, g := range n.Subgraphs() {
			for _, s := range g.Inputs() {
				if s.Type().DType() == ir.String {
					return true
				}
			}
		}
	}
	return false
}

// ofStrings reports whether the output that bad is about holds strings.
func ofStrings(m *ir.Model, bad *Failure) bool {
	for _, s := range m.Main.Outputs() {
		if s.Type().DType() == ir.String && strings.HasPrefix(bad.Detail, fmt.Sprintf("output %q ", s.Name())) {
			return true
		}
	}
	return false
}
