// Package retype is the pass that changes the element types of inputs and outputs.
package retype

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/facts"
)

// Options of the pass.
type Options struct {
	Types map[string]string `opt:"*" doc:"name=type: the new element type of an input or output, such as uint8, float16 or int32"`
}

// Pass changes types at the interface.
var Pass = passes.Define(passes.Info{
	Name: "retype",
	Doc:  "changes the element types of inputs and outputs, by a Cast at the border",
	Long: `The inside of the model keeps its types. The caller answers for what does not fit: an int64 input retyped to int32 takes
what int32 can hold, an output retyped to uint8 gives what Cast makes of it.`,
	Rules: []passes.RuleDoc{
		{Name: "input", Doc: "casts an input of the new type to the old one"},
		{Name: "output", Doc: "casts an output to the new type"},
	},
	Example: "retype{x=uint8}",
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	f, err := facts.Of(c)
	if err != nil {
		return err
	}
	slots := map[string]bool{}
	for _, s := range slices.Concat(m.Main.Inputs(), m.Main.Outputs()) {
		slots[s.Name()] = true
	}
	types := map[string]ir.DType{}
	for _, name := range slices.Sorted(maps.Keys(o.Types)) {
		if !slots[name] {
			return fmt.Errorf("there is no input or output %q%s", name, spell.Hint(name, slices.Sorted(maps.Keys(slots))))
		}
		d, err := parse(o.Types[name])
		if err != nil {
			return err
		}
		types[name] = d
	}
	for i, s := range m.Main.Inputs() {
		if d, ok := types[s.Name()]; ok && d != s.Type().DType() {
			if err := input(c, m, i, d); err != nil {
				return err
			}
		}
	}
	for i, s := range m.Main.Outputs() {
		t := s.Type()
		if t.DType() == ir.Undefined {
			t = f.Type(s.Value())
		}
		if d, ok := types[s.Name()]; ok && d != t.DType() {
			if err := output(c, m, i, t, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// parse reads an element type by its name in ONNX, NumPy or TensorProto.
func parse(s string) (ir.DType, error) {
	also := map[string]ir.DType{"float32": ir.Float32, "float64": ir.Float64, "half": ir.Float16, "str": ir.String}
	if d, ok := also[s]; ok {
		return d, nil
	}
	if d, ok := ir.ParseDType(s); ok {
		return d, nil
	}
	known := slices.Sorted(maps.Keys(also))
	for d := ir.Float32; d.Valid(); d++ {
		known = append(known, d.String())
	}
	return ir.Undefined, fmt.Errorf("%q is no element type%s", s, spell.Hint(s, known))
}

// castable says why there is no Cast between the type of an input or output and d.
func castable(m *ir.Model, what string, t *ir.Type, d ir.DType) error {
	if !t.IsTensor() || t.Elem == ir.Undefined {
		return fmt.Errorf("%s is of type %s, and only tensors of a known element type can be retyped", what, t)
	}
	c := schema.Lookup(ir.Op("Cast"), m.Opset(""))
	for _, e := range []ir.DType{t.Elem, d} {
		if c == nil || !c.Input(0).Types().Contains(ir.TensorType(e, nil)) || !c.Output(0).Types().Contains(ir.TensorType(e, nil)) {
			return fmt.Errorf("%s is of type %s and cannot become %s: in opset %d there is no Cast of %s", what, t, d, m.Opset(""), e)
		}
	}
	return nil
}

func cast(m *ir.Model, v *ir.Value, d ir.DType) *ir.Node {
	if m.Opset("") < 6 { // a string until then
		return m.Main.New(v.Node(), ir.Op("Cast"), []*ir.Value{v}, ir.StringAttr("to", strings.ToUpper(d.String())))
	}
	return m.Main.New(v.Node(), ir.Op("Cast"), []*ir.Value{v}, ir.IntAttr("to", int64(d)))
}

func input(c *passes.Context, m *ir.Model, i int, d ir.DType) error {
	s := m.Main.Inputs()[i]
	v, old := s.Value(), s.Type()
	if err := castable(m, fmt.Sprintf("input %q", s.Name()), old, d); err != nil {
		return err
	}
	if v.Default() != nil {
		return fmt.Errorf("input %q has a default, whose type cannot be changed", s.Name())
	}
	c.Rewrite("input", nil, nil, func() {
		c.Border(&ir.Border{Inputs: []ir.Port{{Name: s.Name(), Of: s.Name(), Steps: []ir.PortStep{{To: old.Elem}}}}})
		s.SetType(&ir.Type{Kind: ir.KindTensor, Elem: d, Shape: old.Shape, Denotation: old.Denotation})
		n := cast(m, v, old.Elem)
		w := n.Result(0)
		w.SetType(old)
		v.ReplaceUsesIf(w, func(u ir.Use) bool { return u.Node != n })
	})
	return nil
}

func output(c *passes.Context, m *ir.Model, i int, old *ir.Type, d ir.DType) error {
	s := m.Main.Outputs()[i]
	if err := castable(m, fmt.Sprintf("output %q", s.Name()), old, d); err != nil {
		return err
	}
	c.Rewrite("output", s.Value().Node(), nil, func() {
		b := &ir.Border{}
		for j, t := range m.Main.Outputs() {
			p := ir.Port{Name: t.Name(), Of: t.Name()}
			if i == j {
				p.Steps = []ir.PortStep{{To: d}}
			}
			b.Outputs = append(b.Outputs, p)
		}
		c.Border(b)
		w := cast(m, s.Value(), d).Result(0)
		s.SetValue(w)
		s.SetType(&ir.Type{Kind: ir.KindTensor, Elem: d, Shape: old.Shape, Denotation: old.Denotation})
	})
	return nil
}
