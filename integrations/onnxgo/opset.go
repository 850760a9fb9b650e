package onnxgo

import (
	"context"
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/opset"
	"github.com/onnxopt/onnxopt/report"
	"github.com/onnxopt/onnxopt/report/diff"
)

// oldestConverted is the oldest version that models can be converted to.
const oldestConverted = 11

// deduce finds the operator set of a model from its operators: build makes the model in a version. Versions below 7, which broadcast otherwise,
// count only where the operators keep to no later one. If the versions that are left mean different things it is an error.
//
// Two versions mean the same if the model in one, converted to the other, is the model in the other: the converter states what changed.
func deduce(build func(version int64) (*ir.Model, error)) (int64, error) {
	var fit []int64
	var why error
	newest := schema.Newest("")
	for v := newest; v >= 1; v-- {
		if v < 7 && len(fit) > 0 {
			break
		}
		m, err := build(v)
		if err != nil {
			return 0, err
		}
		if p := ops.Problems(m, infer.Model(m), 1); len(p) > 0 {
			if why == nil {
				why = fmt.Errorf("%s: %s", p[0].Place, p[0].Detail)
			}
			continue
		}
		fit = append(fit, v)
	}
	if len(fit) == 0 {
		return 0, fmt.Errorf("there is no version of the operator set in which the model is valid; in %d: %w", newest, why)
	}
	to := max(fit[0], oldestConverted)
	var want *ir.Model
	for i, v := range fit {
		m, err := build(v)
		if err != nil {
			return 0, err
		}
		between := changed(m, v, fit[max(i-1, 0)])
		if i > 0 && len(between) == 0 {
			continue
		}
		at, err := converted(m, to)
		if err == nil && want == nil {
			want = at
			continue
		}
		same := false
		if err == nil {
			var d *diff.Result
			if d, err = diff.Models(want, at, report.Options{}); err == nil {
				same = len(d.Interface)+len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Weights) == 0
			}
		}
		if !same {
			return 0, &OpsetError{Low: v, High: fit[i-1], Ops: between}
		}
	}
	return fit[0], nil
}

// OpsetError says that a model without its operator set can mean different things.
type OpsetError struct {
	Low, High int64     // two versions that differ
	Ops       []ir.OpID // that changed between them
}

func (e *OpsetError) Error() string {
	s := fmt.Sprintf("onnx-go does not hand on the model's operator set, and it may mean one thing in version %d and another in %d", e.Low, e.High)
	for i, o := range e.Ops {
		if i == 0 {
			s += " ("
		} else {
			s += ", "
		}
		s += o.String()
	}
	if len(e.Ops) > 0 {
		s += ")"
	}
	return s + ": state it with onnxgo.WithOpset, or decode with onnxgo.NewModel"
}

// changed are the operators of m that have another version in high than in low.
func changed(m *ir.Model, low, high int64) (r []ir.OpID) {
	seen := map[ir.OpID]bool{}
	for n := range m.Nodes() {
		if op := n.Op(); op.Domain == "" && !seen[op] && schema.Lookup(op, low) != schema.Lookup(op, high) {
			seen[op] = true
			r = append(r, op)
		}
	}
	return r
}

// converted is m in another version, with axes stated in one way and the number of parts of Split stated.
func converted(m *ir.Model, to int64) (*ir.Model, error) {
	if m.Opset("") != to {
		r, err := passes.NewRegistry(opset.Pass)
		if err != nil {
			return nil, err
		}
		p, err := r.Parse(fmt.Sprintf("opset{to=%d}", to))
		if err != nil {
			return nil, err
		}
		if _, err := p.Run(context.Background(), m, passes.Config{}); err != nil {
			return nil, err
		}
	}
	known := infer.Model(m)
	for n := range m.Nodes() {
		s := ops.Of(n)
		if s == nil || n.NumOperands() == 0 || n.Operand(0) == nil {
			continue
		}
		a := s.Attr("axis")
		dims, ok := known.Dims(n.Operand(0))
		if a == nil || a.Kind != ir.AttrInt || !ok || n.Attr("axis") == nil && !a.HasDefault() {
			continue
		}
		axis := n.Int("axis", a.Int())
		if axis < 0 {
			axis += int64(len(dims))
		}
		n.SetAttr(ir.IntAttr("axis", axis))
		if n.Is("Split") && n.NumOperands() == 1 && s.Attr("num_outputs") != nil {
			n.SetAttr(ir.IntAttr("num_outputs", int64(n.NumResults()))) // from 18 on it has to be there, and often is not
		}
	}
	return m, nil
}
