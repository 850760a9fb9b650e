package rulefile

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/onnxio/text"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes/rewrite"
)

// replacement is the replace block of a rule.
type replacement struct {
	nodes    []*step
	replaced []string // names of what it gives, in order
	variadic []string // captures that stand for several operands
}

// step is a node of a replacement.
type step struct {
	op      ir.OpID
	results []string
	inputs  []string // "" is omitted
	attrs   []*ir.Attr
	refs    map[string]string // attribute to captured attribute
	scalar  float64           // of the operator scalar
}

const scalarOp = "scalar"

// inner is the error that another one wraps with a place in a text.
func inner(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

// replacement reads the block and checks every name in it.
func (r *Rule) replacement(b block) (*replacement, error) {
	decls, err := text.ParseNodes([]byte(b.text))
	if err != nil {
		return nil, b.shift(inner(err))
	}
	known := map[string]bool{}
	for _, v := range r.values() {
		known[v] = true
	}
	for _, v := range r.shape.Replaced {
		delete(known, v) // it is what the replacement stands for
	}
	p := &replacement{replaced: r.shape.Replaced}
	for _, c := range r.shape.Captures {
		if c.Variadic {
			p.variadic = append(p.variadic, c.Name)
		}
	}
	defined := map[string]bool{}
	for _, d := range decls {
		s, err := r.step(d)
		if err != nil {
			return nil, b.shift(err)
		}
		for i, x := range s.inputs {
			if x != "" && !known[x] {
				return nil, b.shift(place(d.Inputs[i].Pos, fmt.Errorf("%q is neither a value of the pattern that stays nor defined above%s", x, spell.Hint(x, r.values()))))
			}
		}
		for i, x := range s.results {
			if x == "" {
				continue
			}
			if defined[x] || known[x] {
				return nil, b.shift(place(d.Outputs[i].Pos, fmt.Errorf("%q has a meaning already", x)))
			}
			known[x], defined[x] = true, true
		}
		p.nodes = append(p.nodes, s)
	}
	for _, x := range p.replaced {
		if !defined[x] {
			return nil, b.shift(fmt.Errorf("rule %s: the replacement does not define %q", r.Name, x))
		}
	}
	return p, nil
}

func place(p text.Pos, err error) error { return &text.Error{Pos: p, Msg: err.Error()} }

func (r *Rule) step(d *text.NodeDecl) (*step, error) {
	s := &step{op: ir.OpID{Domain: ir.Domain(d.Op.Domain), Type: d.Op.Type}, refs: map[string]string{}}
	for _, x := range d.Outputs {
		s.results = append(s.results, x.Text)
	}
	for _, x := range d.Inputs {
		s.inputs = append(s.inputs, x.Text)
	}
	for _, a := range d.Attrs {
		if a.Ref != "" {
			if !slices.Contains(r.shape.Attrs, a.Ref) {
				return nil, place(a.Name.Pos, fmt.Errorf("the pattern captures no attribute %q%s", a.Ref, spell.Hint(a.Ref, r.shape.Attrs)))
			}
			s.refs[a.Name.Text] = a.Ref
			continue
		}
		x, err := a.Attr()
		if err != nil {
			return nil, place(a.Name.Pos, err)
		}
		s.attrs = append(s.attrs, x)
	}
	switch {
	case s.op == ir.Op(scalarOp):
		return s, place1(d, s.readScalar())
	case s.op == ir.Op("Constant"):
		if len(s.attrs) != 1 || s.attrs[0].Tensor() == nil || len(s.results) != 1 || len(s.inputs) != 0 {
			return nil, place(d.OpPos, fmt.Errorf("a constant is written Constant <value = float[2] {1, 2}> ()"))
		}
	case s.op == ir.Op("Identity"):
		if len(s.inputs) != 1 || s.inputs[0] == "" || len(s.results) != 1 {
			return nil, place(d.OpPos, fmt.Errorf("Identity takes one value"))
		}
	case schema.Lookup(s.op, math.MaxInt32) == nil && schema.Complete(s.op.Domain):
		return nil, place(d.OpPos, fmt.Errorf("there is no operator %s", s.op))
	}
	return s, nil
}

func place1(d *text.NodeDecl, err error) error {
	if err == nil {
		return nil
	}
	return place(d.OpPos, err)
}

func (s *step) readScalar() error {
	if len(s.inputs) != 1 || s.inputs[0] == "" || len(s.results) != 1 || len(s.attrs) != 1 || s.attrs[0].Name != "value" {
		return fmt.Errorf("a scalar is written two = scalar <value = 2.0> (x)")
	}
	switch a := s.attrs[0]; a.Kind {
	case ir.AttrFloat:
		s.scalar = float64(a.Float())
	case ir.AttrInt:
		s.scalar = float64(a.Int())
	default:
		return fmt.Errorf("the value of a scalar is a number")
	}
	return nil
}

// possible reports what the replacement needs to know.
func (p *replacement) possible(m *rewrite.Match) error {
	for _, s := range p.nodes {
		if s.op != ir.Op(scalarOp) {
			continue
		}
		if known := slices.ContainsFunc(p.nodes, func(x *step) bool { return slices.Contains(x.results, s.inputs[0]) }); known {
			return fmt.Errorf("scalar takes its type from a value of the pattern, not from %s", s.inputs[0])
		}
		if _, err := scalarTensor(m.DType(s.inputs[0]), s.scalar); err != nil {
			return err
		}
	}
	return nil
}

// scalarTensor is a constant of rank 0.
func scalarTensor(d ir.DType, v float64) (*ir.Tensor, error) {
	whole := v == math.Trunc(v) && math.Abs(v) < 1<<53
	switch {
	case d == ir.Undefined:
		return nil, &unknownError{"the element type of a scalar"}
	case d == ir.Float32:
		return ir.ScalarOf(float32(v)), nil
	case d == ir.Float64:
		return ir.ScalarOf(v), nil
	case d == ir.Int64 && whole:
		return ir.ScalarOf(int64(v)), nil
	case d == ir.Int32 && whole && v >= math.MinInt32 && v <= math.MaxInt32:
		return ir.ScalarOf(int32(v)), nil
	}
	return nil, fmt.Errorf("a scalar %g of type %s cannot be made", v, d)
}

// build makes the nodes.
func (p *replacement) build(b *rewrite.Builder, m *rewrite.Match) []*ir.Value {
	made := map[string]*ir.Value{}
	value := func(name string) []*ir.Value {
		switch v, ok := made[name]; {
		case name == "":
			return []*ir.Value{nil}
		case ok:
			return []*ir.Value{v}
		}
		if slices.Contains(p.variadic, name) {
			return m.Values(name)
		}
		return []*ir.Value{m.Value(name)}
	}
	for _, s := range p.nodes {
		switch s.op {
		case ir.Op(scalarOp):
			t, err := scalarTensor(m.DType(s.inputs[0]), s.scalar)
			if err != nil {
				b.Fail(err)
				return nil
			}
			made[s.results[0]] = b.Const("", t)
			continue
		case ir.Op("Constant"):
			made[s.results[0]] = b.Const("", s.attrs[0].Tensor())
			continue
		case ir.Op("Identity"):
			if v := value(s.inputs[0]); len(v) > 0 {
				made[s.results[0]] = v[0]
			}
			continue
		}
		var in []*ir.Value
		for _, x := range s.inputs {
			in = append(in, value(x)...)
		}
		attrs := slices.Clone(s.attrs)
		for name, from := range s.refs {
			if a := m.Attr(from); a != nil {
				own := *a
				own.Name, own.Extra = name, nil
				attrs = append(attrs, &own)
			}
		}
		slices.SortFunc(attrs, func(x, y *ir.Attr) int { return strings.Compare(x.Name, y.Name) })
		n := b.Node(s.op.String(), in, len(s.results), attrs...)
		for i, x := range s.results {
			made[x] = n.Result(i)
		}
	}
	r := make([]*ir.Value, len(p.replaced))
	for i, x := range p.replaced {
		r[i] = made[x]
	}
	return r
}
