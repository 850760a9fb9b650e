package onnxgo

import (
	"fmt"
	"maps"
	"slices"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// inputs are the values that the program has to give.
func (g *Graph) inputs() []*value {
	if g.source != nil {
		var in []*value
		for _, s := range g.source.Main.Inputs() {
			in = append(in, g.values[s.Name()])
		}
		return in
	}
	// onnx-go makes the nodes of inputs before those of outputs, and those of initializers that are no inputs after them. Initializers
	// that are inputs get a tensor twice.
	declared := int64(-1)
	for _, v := range g.order {
		if v.def != nil && v.sets > 0 {
			declared = max(declared, v.last)
		}
	}
	var in []*value
	for _, v := range g.order {
		if v.def == nil && v.name != "" && (v.fed || v.sets == 1 && v.last < declared) {
			in = append(in, v)
		}
	}
	return in
}

// outputs are the results that no operator uses, and those that were asked for.
func (g *Graph) outputs() []*value {
	used := map[*value]bool{}
	for _, c := range g.calls {
		for _, v := range c.operands {
			used[v] = true
		}
	}
	var out []*value
	for _, v := range g.order {
		if v.def != nil && v.name != "" && (v.wanted || !used[v]) {
			out = append(out, v)
		}
	}
	return out
}

// build makes the model of what onnx-go decoded.
func (g *Graph) build(version int64, shapes map[string]ir.Shape) (*ir.Model, error) {
	m := ir.NewModel(10, version)
	at := map[*value]*ir.Value{}
	for _, v := range g.inputs() {
		t, err := elementType(v.data)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", v.name, err)
		}
		at[v] = m.Main.AddInput(v.name, ir.TensorType(t, shapes[v.name]))
	}
	nodes := make([]*ir.Node, len(g.calls))
	for i, c := range g.calls {
		if c.id.Domain != "" {
			m.SetOpset(c.id.Domain, schema.Newest(c.id.Domain))
		}
		n := m.Main.Append(c.id, len(c.operands), len(c.results))
		names := slices.Sorted(maps.Keys(c.op.Attributes))
		for _, name := range names {
			a, err := attribute(name, c.op.Attributes[name])
			if err != nil {
				return nil, fmt.Errorf("%s: attribute %s: %w", c.id, name, err)
			}
			n.SetAttr(a)
		}
		for k, v := range c.results {
			if v.name != "" {
				n.Result(k).SetName(v.name)
				at[v] = n.Result(k)
			}
		}
		nodes[i] = n
	}
	for i, c := range g.calls {
		for k, v := range c.operands {
			if v == nil {
				continue
			}
			if at[v] == nil {
				if v.data == nil {
					return nil, fmt.Errorf("%s uses %q, which nothing defines", c.id, v.name)
				}
				t, err := toIR(v.data, ir.Undefined)
				if err != nil {
					return nil, fmt.Errorf("initializer %q: %w", v.name, err)
				}
				at[v] = m.Main.NamedConst(v.name, t)
			}
			nodes[i].SetOperand(k, at[v])
		}
	}
	for _, v := range g.outputs() {
		m.Main.AddOutput(v.name, at[v], nil)
	}
	return m, ir.Verify(m)
}

func elementType(t tensor.Tensor) (ir.DType, error) {
	if t == nil {
		return ir.Undefined, fmt.Errorf("it has no tensor")
	}
	one, err := toIR(tensor.New(tensor.Of(t.Dtype()), tensor.WithShape(1)), ir.Undefined)
	if err != nil {
		return ir.Undefined, err
	}
	return one.DType(), nil
}

func attribute(name string, x any) (*ir.Attr, error) {
	switch v := x.(type) {
	case float32:
		return ir.FloatAttr(name, v), nil
	case int64:
		return ir.IntAttr(name, v), nil
	case string:
		return ir.StringAttr(name, v), nil
	case []float32:
		return ir.FloatsAttr(name, v), nil
	case []int64:
		return ir.IntsAttr(name, v), nil
	case []string:
		return ir.StringsAttr(name, v), nil
	case tensor.Tensor:
		t, err := toIR(v, ir.Undefined)
		if err != nil {
			return nil, err
		}
		return ir.TensorAttr(name, t), nil
	}
	return nil, &onnx.ErrNotImplemented{AttributeName: name, AttributeValue: x, Message: fmt.Sprintf("its value is a %T", x)}
}
