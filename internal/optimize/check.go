package optimize

import (
	"errors"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/hook"
)

// Check reports what is wrong with m: a broken invariant, a node that disagrees with its schema, or operands that an
// operator cannot take. It is what Run asks of a model.
func Check(m *ir.Model) error { return check(m) }

func check(m *ir.Model) error {
	_, err := checkTypes(m)
	return err
}

func checkTypes(m *ir.Model) (*infer.Result, error) {
	types, err := hook.Infer(m)
	if err != nil {
		return nil, err
	}
	for _, r := range types.Remarks() {
		if r.Severity == infer.Error {
			return nil, errors.New(r.String())
		}
	}
	return types, nil
}

// admit checks the model that came in. What the file says wrongly but without harm becomes warnings; types recorded of intermediate
// values that cannot be true are forgotten, unless nothing is to be done with the model anyway.
func (r *run) admit() error {
	m := r.q.Model
	types, err := checkTypes(m)
	if err != nil {
		return &InputError{err}
	}
	contradicted := map[*ir.Value]bool{}
	for _, rem := range types.Remarks() {
		if rem.Severity == infer.Warning {
			r.res.Warnings = append(r.res.Warnings, rem.String())
			contradicted[rem.Value] = rem.Value != nil
		}
	}
	if idle(r.q.Pipeline) {
		return nil
	}
	at := m.Epoch(ir.Types)
	for v := range contradicted {
		if v == nil || v.Node() == nil {
			continue
		}
		if _, ok := v.Type().Merge(types.Type(v)); !ok {
			v.SetType(nil)
		}
	}
	if at == m.Epoch(ir.Types) {
		r.types = types
	}
	return nil
}

// idle reports whether p runs no pass.
func idle(p *passes.Pipeline) bool {
	for _, s := range p.Steps() {
		if s.Pass != nil || !idle(s.Nested()) {
			return false
		}
	}
	return true
}
