package decompose

import (
	"context"

	"github.com/onnxopt/onnxopt/analysis/cost"
	"github.com/onnxopt/onnxopt/analysis/measured"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// fixedTypes tells the types of m's values for inputs of the sizes that the first sample has; without data first axes are 1 and other
// open dimensions stay open. The report counts the MACs of the model with these sizes.
func fixedTypes(ctx context.Context, m *ir.Model, data *measured.Calibration) (func(*ir.Value) *ir.Type, *cost.Report, error) {
	seen := map[string]*ir.Type{}
	if data != nil {
		for in, err := range data.Each(ctx) {
			if err != nil {
				return nil, nil, err
			}
			for name, d := range in {
				seen[name] = d.Type()
			}
			break
		}
	}
	c, same := m.CloneMap()
	sizes := map[string]int64{}
	for _, s := range c.Main.Inputs() {
		shape := s.Type().TensorShape()
		have := seen[s.Name()].TensorShape()
		for axis, d := range shape {
			switch {
			case d.IsStatic() || d.Param == "":
			case axis < len(have) && have[axis].IsStatic():
				sizes[d.Param] = have[axis].Size
			case axis == 0:
				sizes[d.Param] = 1
			}
		}
		if t := seen[s.Name()]; t != nil {
			s.SetType(t)
			continue
		}
		if len(shape) == 0 {
			continue
		}
		fixed := append(ir.Shape(nil), shape...)
		for axis, d := range fixed {
			if n, ok := sizes[d.Param]; ok && d.Param != "" {
				fixed[axis] = ir.Static(n)
			} else if axis == 0 && !d.IsStatic() {
				fixed[axis] = ir.Static(1)
			}
		}
		s.SetType(ir.TensorType(s.Type().DType(), fixed))
	}
	types := infer.Model(c).Type
	return func(v *ir.Value) *ir.Type { return types(same[v]) }, cost.Model(c, cost.Options{Types: types, Sizes: sizes}), nil
}
