package ort

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
)

// taps says where the contents of tapped values come from. The library computes what is neither known nor fed: such values
// become outputs of a copy of the model, after its own.
type taps struct {
	model *ir.Model // what is run
	from  []tap
	extra []string   // names of the added outputs
	types []*ir.Type // what is recorded of them, nil for nothing
}

// tap is one of: a constant, an input by name, an added output by index.
type tap struct {
	constant *ir.Tensor
	input    *ir.Slot
	output   int
}

func newTaps(m *ir.Model, values []*ir.Value) (*taps, error) {
	t := &taps{model: m, from: make([]tap, len(values))}
	inputs := map[*ir.Value]*ir.Slot{}
	taken := map[string]bool{}
	for _, s := range m.Main.Inputs() {
		inputs[s.Value()] = s
		taken[s.Name()] = true
	}
	for _, s := range m.Main.Outputs() {
		taken[s.Name()] = true
	}
	var copies map[*ir.Value]*ir.Value
	outputs := map[*ir.Value]int{}
	for i, v := range values {
		if v == nil || v.Graph() != m.Main || v.Dead() {
			return nil, fmt.Errorf("a tap is not a value of the main graph")
		}
		if c := v.Const(); c != nil {
			t.from[i].constant = c
			continue
		}
		if s := inputs[v]; s != nil {
			t.from[i].input = s
			continue
		}
		at, ok := outputs[v]
		if !ok {
			if copies == nil {
				t.model, copies = m.CloneMap()
			}
			at = len(t.extra)
			outputs[v] = at
			name := freeName(taken, fmt.Sprintf("tap_%d", at))
			t.model.Main.AddOutput(name, copies[v], v.Type().WithoutShapes())
			t.extra = append(t.extra, name)
			t.types = append(t.types, v.Type())
		}
		t.from[i].output = at
	}
	return t, nil
}

// freeName is name, with underscores if it is taken, and takes it.
func freeName(taken map[string]bool, name string) string {
	for taken[name] {
		name += "_"
	}
	taken[name] = true
	return name
}
