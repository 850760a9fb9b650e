package rulefile

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// function says how many values and numbers a function of conditions takes.
type function struct{ values, numbers int }

func functions() map[string]function {
	return map[string]function{
		"rank": {1, 0}, "dim": {1, 1}, "elements": {1, 0}, "dtype": {1, 0}, "value": {1, 0}, "is_const": {1, 0}, "has": {1, 0},
		"same_shape": {2, 0}, "same_type": {2, 0}, "opset": {0, 0},
	}
}

// checkNames finds names and functions in x that the pattern does not have.
func checkNames(x expr, values, attrs []string) error {
	switch x := x.(type) {
	case attrRef:
		if !slices.Contains(attrs, x.name) {
			if slices.Contains(values, x.name) {
				return fmt.Errorf("%s is a value; conditions are about rank(%s), dtype(%s) and the like", x.name, x.name, x.name)
			}
			return fmt.Errorf("the pattern captures no attribute %q%s", x.name, spell.Hint(x.name, attrs))
		}
	case callExpr:
		f, ok := functions()[x.f]
		if !ok {
			var names []string
			for n := range functions() {
				names = append(names, n)
			}
			slices.Sort(names)
			return fmt.Errorf("there is no function %q%s", x.f, spell.Hint(x.f, names))
		}
		n := 0
		for i, a := range x.args {
			if a.name == "" {
				continue
			}
			n++
			if i >= f.values || !slices.Contains(values, a.name) {
				return fmt.Errorf("%s: the pattern has no value %q%s", x.f, a.name, spell.Hint(a.name, values))
			}
		}
		if n != f.values || len(x.args) != f.values+f.numbers {
			return fmt.Errorf("%s takes %d values and %d numbers", x.f, f.values, f.numbers)
		}
	case listExpr:
		for _, y := range x {
			if err := checkNames(y, values, attrs); err != nil {
				return err
			}
		}
	case unary:
		return checkNames(x.x, values, attrs)
	case binary:
		if err := checkNames(x.x, values, attrs); err != nil {
			return err
		}
		return checkNames(x.y, values, attrs)
	}
	return nil
}

// matchScope is the scope of conditions about a match.
type matchScope struct{ m *rewrite.Match }

func (s matchScope) attr(name string) (value, error) {
	a := s.m.Attr(name)
	if a == nil {
		return nil, &unknownError{"attribute " + name}
	}
	switch a.Kind {
	case ir.AttrInt:
		return float64(a.Int()), nil
	case ir.AttrFloat:
		return float64(a.Float()), nil
	case ir.AttrString:
		return a.Str(), nil
	case ir.AttrInts:
		l := []value{}
		for _, v := range a.Ints() {
			l = append(l, float64(v))
		}
		return l, nil
	case ir.AttrFloats:
		l := []value{}
		for _, v := range a.Floats() {
			l = append(l, float64(v))
		}
		return l, nil
	}
	return nil, fmt.Errorf("attribute %s is no number, string or list", name)
}

func (s matchScope) call(f string, args []arg) (value, error) {
	m := s.m
	if f == "opset" {
		return float64(m.Opset("")), nil
	}
	x := args[0].name
	if f == "has" {
		return m.Has(x), nil
	}
	for _, a := range args {
		if a.name != "" && m.Value(a.name) == nil {
			return nil, &unknownError{a.name + ", which is omitted,"}
		}
	}
	switch f {
	case "is_const":
		return m.Const(x) != nil, nil
	case "dtype":
		if d := m.DType(x); d != ir.Undefined {
			return d.String(), nil
		}
		return nil, &unknownError{"the element type of " + x}
	case "value":
		v, ok, err := rewrite.Scalar(m.Const(x))
		m.Fail(err)
		if !ok {
			return nil, &unknownError{"the value of " + x}
		}
		return v, nil
	case "same_shape":
		return m.SameShape(x, args[1].name), nil
	case "same_type":
		a, b := m.DType(x), m.DType(args[1].name)
		return a != ir.Undefined && a == b, nil
	}
	dims, ok := m.Dims(x)
	if !ok {
		return nil, &unknownError{"the rank of " + x}
	}
	switch f {
	case "rank":
		return float64(len(dims)), nil
	case "dim":
		i := int(args[1].num)
		if i < 0 {
			i += len(dims)
		}
		if i < 0 || i >= len(dims) {
			return nil, &unknownError{fmt.Sprintf("dimension %d of %s, which has rank %d,", int(args[1].num), x, len(dims))}
		}
		return number(dims[i], "a dimension of "+x)
	}
	n := infer.Num(1) // elements
	for _, d := range dims {
		n = n.Mul(d)
	}
	return number(n, "the number of elements of "+x)
}

func number(n infer.Int, what string) (value, error) {
	if v, ok := n.Const(); ok {
		return float64(v), nil
	}
	return nil, &unknownError{what}
}
