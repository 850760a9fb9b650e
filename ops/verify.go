package ops

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// Problem is a place where a model does not keep to the standard.
type Problem struct {
	Place  string // graph, and node or value
	Detail string
}

func (p *Problem) Error() string { return p.Place + ": " + p.Detail }

// Verify checks m against the standard as far as can be told without running it, and returns the first problem as a *Problem: the
// operator sets that are in use are imported and known; operators exist in them and are not withdrawn; numbers of operands and
// results, attributes and types agree with the schemas; a type variable means one type throughout a node; the interface is typed;
// operand shapes fit together where they are known. Operators of domains that the standard does not define are
// opaque, and accepted, but for those of com.microsoft that the table of schemas has.
// Structure is ir.Verify's concern and is taken for granted.
func Verify(m *ir.Model) error {
	_, err := Infer(m)
	return err
}

// Infer is Verify and also returns the inference it made, nil if there is a problem.
func Infer(m *ir.Model) (*infer.Result, error) {
	r, p := problems(m, nil, 1)
	if len(p) > 0 {
		return nil, p[0]
	}
	return r, nil
}

// Problems lists what Verify checks, at most limit entries (0: all). r is the inference of m, nil if the caller has none.
func Problems(m *ir.Model, r *infer.Result, limit int) []*Problem {
	_, p := problems(m, r, limit)
	return p
}

func problems(m *ir.Model, r *infer.Result, limit int) (*infer.Result, []*Problem) {
	v := &verifier{m: m, functions: map[ir.OpID]bool{}, limit: limit}
	for _, f := range m.Functions {
		v.functions[f.ID()] = true
	}
	r, err := v.all(r)
	if err != nil && !errors.Is(err, errEnough) {
		v.add("model", "%v", err)
	}
	return r, v.found
}

// errEnough ends a verification that has found as many problems as are wanted.
var errEnough = errors.New("enough problems")

type verifier struct {
	m         *ir.Model
	functions map[ir.OpID]bool
	limit     int
	found     []*Problem
}

func (v *verifier) add(place, format string, args ...any) error {
	v.found = append(v.found, &Problem{place, fmt.Sprintf(format, args...)})
	if v.limit > 0 && len(v.found) >= v.limit {
		return errEnough
	}
	return nil
}

func (v *verifier) at(n *ir.Node, format string, args ...any) error {
	return v.add(n.Graph().Path()+": "+n.String(), format, args...)
}

// all runs the checks that need no inference before those that do.
func (v *verifier) all(r *infer.Result) (*infer.Result, error) {
	if err := v.opsets("the model", v.m.Opsets()); err != nil {
		return r, err
	}
	for _, f := range v.m.Functions {
		if err := v.opsets("function "+f.ID().String(), f.Opsets()); err != nil {
			return r, err
		}
	}
	graphs := v.m.Graphs()
	for _, g := range graphs {
		for n := range g.Nodes() {
			if err := v.node(n); err != nil {
				return r, err
			}
		}
	}
	if err := v.interfaces(); err != nil {
		return r, err
	}
	if r == nil {
		r = infer.Model(v.m)
	}
	for _, g := range graphs {
		for n := range g.Nodes() {
			if err := v.types(n, r); err != nil {
				return r, err
			}
		}
	}
	for _, x := range r.Remarks() {
		if x.Severity == infer.Error {
			if err := v.remark(x); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

func (v *verifier) remark(x infer.Remark) error {
	if x.Node != nil {
		return v.at(x.Node, "%s", x.Message)
	}
	return v.add(x.Value.Graph().Path(), "%s", x.Message)
}

func (v *verifier) opsets(who string, list []ir.Opset) error {
	for _, o := range list {
		if o.Version < 1 {
			if err := v.add(who, "it imports version %d of domain %q", o.Version, o.Domain); err != nil {
				return err
			}
		}
	}
	return nil
}

// schemaOf is the schema of n. known is false for calls of functions and operators of domains that the standard does not define.
func (v *verifier) schemaOf(n *ir.Node) (s *Schema, known bool, err error) {
	op := n.Op()
	newest := schema.Newest(op.Domain)
	if v.functions[op] || newest == 0 {
		if !v.functions[op] && n.Graph().Opset(op.Domain) == 0 {
			err = v.at(n, "domain %q is not imported", op.Domain)
		}
		return nil, false, err
	}
	opset := n.Graph().Opset(op.Domain)
	s = Lookup(op, opset)
	if s == nil && opset > 0 && (experimental(op, opset) || !schema.Complete(op.Domain)) {
		return nil, false, nil
	}
	switch versions := schema.Versions(op); {
	case opset == 0:
		err = v.at(n, "domain %q is not imported", op.Domain)
	case opset > newest:
		err = v.at(n, "version %d of domain %q is newer than %d, the newest known here", opset, op.Domain, newest)
	case len(versions) == 0:
		err = v.at(n, "the standard has no such operator")
	case s == nil:
		err = v.at(n, "the operator came with version %d of its domain; version %d is imported", versions[0].Since(), opset)
	case s.Deprecated():
		err = v.at(n, "version %d of the operator set withdrew this operator; version %d is imported", s.Since(), opset)
	default:
		return s, true, nil
	}
	return nil, false, err
}

// experimental reports whether op is one of the operators that stood in the standard domain as experimental until opset 10, and have
// no schema any more. Old exporters wrote them and ONNX Runtime still runs them; here they are opaque.
func experimental(op ir.OpID, opset int64) bool {
	if op.Domain != "" || opset < 1 || opset >= 10 {
		return false
	}
	switch op.Type {
	case "ATen", "Affine", "ConstantFill", "Crop", "DynamicSlice", "GRUUnit", "GivenTensorFill", "ImageScaler",
		"ParametricSoftplus", "Scale", "ScaledTanh":
		return op.Overload == ""
	}
	return false
}

// node checks numbers of operands and results, and attributes.
func (v *verifier) node(n *ir.Node) error {
	s, known, err := v.schemaOf(n)
	if err != nil || !known {
		return err
	}
	if err := v.arity(n, s); err != nil {
		return err
	}
	return v.attributes(n, s)
}

func (v *verifier) arity(n *ir.Node, s *Schema) error {
	least, most := s.NumInputs()
	if k := n.NumOperands(); k < least || k > most && most != schema.Unbounded {
		if err := v.at(n, "it has %d operands, %s", k, allowed(least, most)); err != nil {
			return err
		}
	}
	for i := range n.NumOperands() {
		if p := s.Input(i); p != nil && n.Operand(i) == nil && p.Option == schema.Single {
			if err := v.at(n, "operand %d (%s) is missing", i, p.Name); err != nil {
				return err
			}
		}
	}
	least, most = s.NumOutputs()
	if k := n.NumResults(); k < least || k > most && most != schema.Unbounded {
		return v.at(n, "it has %d results, %s", k, allowed(least, most))
	}
	return nil
}

func allowed(least, most int) string {
	switch {
	case most == schema.Unbounded:
		return fmt.Sprintf("the operator takes %d or more", least)
	case least == most:
		return fmt.Sprintf("the operator takes %d", least)
	}
	return fmt.Sprintf("the operator takes %d to %d", least, most)
}

func (v *verifier) attributes(n *ir.Node, s *Schema) error {
	inFunction := n.Graph().Function() != nil
	for _, a := range n.Attrs() {
		spec := s.Attr(a.Name)
		var err error
		switch {
		case spec == nil && strings.HasPrefix(a.Name, "__") && strings.HasSuffix(a.Name, "__"):
			// a tool's own mark, which the reference checker lets pass, too
		case spec == nil:
			err = v.at(n, "the operator has no attribute %q in version %d", a.Name, s.Since())
		case a.Kind != spec.Kind && a.Kind != ir.AttrUndefined:
			err = v.at(n, "attribute %s is of type %s, not %s", a.Name, a.Kind, spec.Kind)
		case a.Ref != "" && !inFunction:
			err = v.at(n, "attribute %s refers to attribute %q of a function, but is in none", a.Name, a.Ref)
		}
		if err != nil {
			return err
		}
	}
	for i := range s.Attrs() {
		if spec := &s.Attrs()[i]; spec.Required && n.Attr(spec.Name) == nil {
			if err := v.at(n, "attribute %s is missing", spec.Name); err != nil {
				return err
			}
		}
	}
	if s.Op() == ir.Op("Constant") && len(n.Attrs()) != 1 {
		return v.at(n, "it has %d attributes; exactly one gives the value", len(n.Attrs()))
	}
	return nil
}

// interfaces checks that the main graph's inputs have types, and defaults of those types.
func (v *verifier) interfaces() error {
	if v.m.Main == nil {
		return v.add("model", "it has no graph")
	}
	for _, s := range v.m.Main.Inputs() {
		t := s.Value().Type()
		place := v.m.Main.Path()
		var err error
		switch {
		case t == nil || t.Kind == ir.KindNone:
			err = v.add(place, "input %q has no type", s.Name())
		case !typed(t):
			err = v.add(place, "input %q has no valid element type: %s", s.Name(), t)
		default:
			if d := s.Value().Default(); d != nil {
				if _, ok := t.Merge(d.Type()); !ok {
					err = v.add(place, "input %q is of type %s, its default of type %s", s.Name(), t, d.Type())
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// typed reports whether t names all element types it is made of.
func typed(t *ir.Type) bool {
	switch {
	case t == nil:
		return false
	case t.Kind == ir.KindTensor || t.Kind == ir.KindSparse:
		return t.Elem.Valid()
	case t.Kind == ir.KindMap:
		return t.Elem.Valid() && typed(t.Of)
	case t.Kind == ir.KindSequence || t.Kind == ir.KindOptional:
		return typed(t.Of)
	}
	return true
}

// types checks the types of n's operands and results.
func (v *verifier) types(n *ir.Node, r *infer.Result) error {
	op := n.Op()
	if v.functions[op] || n.Graph().Opset(op.Domain) > schema.Newest(op.Domain) {
		return nil
	}
	s := Lookup(op, n.Graph().Opset(op.Domain))
	if s == nil {
		return nil
	}
	b := &binding{}
	for i := range n.NumOperands() {
		if err := v.typeOf(n, r, b, "operand", i, s.Input(i), n.Operand(i)); err != nil {
			return err
		}
	}
	for i, x := range n.Results() {
		if err := v.typeOf(n, r, b, "result", i, s.Output(i), x); err != nil {
			return err
		}
	}
	return nil
}

// binding is what the type variables of a node stand for. Operators have few.
type binding struct {
	vars  [8]string
	types [8]*ir.Type
	n     int
}

// bind gives name the type t, or returns the type it has already if that is another one.
func (b *binding) bind(name string, t *ir.Type) (other *ir.Type) {
	for i, v := range b.vars[:b.n] {
		if v == name {
			if !sameElems(b.types[i], t) {
				return b.types[i]
			}
			return nil
		}
	}
	if b.n < len(b.vars) {
		b.vars[b.n], b.types[b.n] = name, t
		b.n++
	}
	return nil
}

// sameElems reports whether two types agree apart from shapes, as far as both say.
func sameElems(t, u *ir.Type) bool {
	if t == nil || u == nil || t.Kind == ir.KindNone || u.Kind == ir.KindNone {
		return true
	}
	return t.Kind == u.Kind && (t.Elem == u.Elem || t.Elem == ir.Undefined || u.Elem == ir.Undefined) && sameElems(t.Of, u.Of)
}

func (v *verifier) typeOf(n *ir.Node, r *infer.Result, b *binding, role string, i int, p *schema.Param, x *ir.Value) error {
	if p == nil || x == nil {
		return nil
	}
	t := r.Type(x)
	if t == nil {
		return nil
	}
	if !p.Types().Contains(t) {
		return v.at(n, "%s %d (%s) is of type %s; the operator takes %s", role, i, p.Name, t, p.Types())
	}
	if p.Mixed || p.Types().Only() != nil {
		return nil
	}
	if other := b.bind(p.Var, t); other != nil {
		return v.at(n, "%s %d (%s) is of type %s, another one of %s; the operator takes the same type %s for both", role, i, p.Name, t, other, p.Var)
	}
	return nil
}
