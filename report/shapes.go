package report

import (
	"fmt"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
)

// ShapeTable is what inference finds of the values of a model. Its JSON form is stable.
type ShapeTable struct {
	Values  []ValueShape `json:"values"`
	Known   int          `json:"known"`   // values all sizes of which are numbers or expressions over the inputs' dimensions
	Partial int          `json:"partial"` // further values of which the rank is known
	Remarks []string     `json:"remarks"` // what inference has to say of the model
}

// ValueShape is what is known of a value: an input or a result that is no constant. Sizes are numbers, expressions over dimensions that the inputs name
// ("N", "floor((H + 1)/2)") as text, or null. Shape is null where the rank is not known or the value is no tensor.
type ValueShape struct {
	Name     string `json:"name"`
	Graph    string `json:"graph"`
	Op       string `json:"op"` // "input" for an input
	Node     string `json:"node,omitempty"`
	Type     string `json:"type"`
	Shape    []any  `json:"shape"`
	Elements []any  `json:"elements,omitempty"` // of a small tensor of integers, as sizes are written
}

// maxElements is the number of elements of a value up to which they are listed.
const maxElements = 16

// Shapes lists the values of m in the order of its graphs, inputs first. Sizes that the options do not give stay open, those of first axes
// included.
func Shapes(m *ir.Model, o Options) (*ShapeTable, error) {
	m, err := o.fixed(m, o.Sizes, -1)
	if err != nil {
		return nil, err
	}
	r := infer.Model(m)
	t := &ShapeTable{Values: []ValueShape{}, Remarks: []string{}}
	for _, g := range m.Graphs() {
		for _, s := range g.Inputs() {
			t.add(r, s.Value(), ValueShape{Graph: g.Path(), Op: "input"})
		}
		for n := range g.Nodes() {
			for _, v := range n.Results() {
				if v != nil && v.Const() == nil {
					t.add(r, v, ValueShape{Graph: g.Path(), Op: n.Op().String(), Node: n.Name()})
				}
			}
		}
	}
	for _, x := range r.Remarks() {
		t.Remarks = append(t.Remarks, fmt.Sprintf("%s: %s", x.Severity, x))
	}
	return t, nil
}

func (t *ShapeTable) add(r *infer.Result, v *ir.Value, x ValueShape) {
	typ := r.Type(v)
	x.Name, x.Type = v.Name(), fmt.Sprint(typ)
	open := 0
	if s := typ.TensorShape(); s != nil {
		x.Shape = []any{}
		for _, d := range s {
			switch {
			case d.IsStatic():
				x.Shape = append(x.Shape, d.Size)
			case d.Param != "":
				x.Shape = append(x.Shape, d.Param)
			default:
				x.Shape = append(x.Shape, nil)
				open++
			}
		}
		if open == 0 {
			t.Known++
		} else {
			t.Partial++
		}
	}
	if e, ok := r.Ints(v); ok && len(e) <= maxElements && !typ.DType().IsFloat() {
		x.Elements = elements(e)
	}
	t.Values = append(t.Values, x)
}

// elements are those of a small tensor, nil if nothing is known of any.
func elements(e []infer.Int) (r []any) {
	known := false
	for _, x := range e {
		n, number := x.Const()
		switch {
		case number:
			r = append(r, n)
		case x.IsNamed():
			r = append(r, x.String())
		default:
			r = append(r, nil)
			continue
		}
		known = true
	}
	if !known {
		return nil
	}
	return r
}
