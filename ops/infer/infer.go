package infer

import (
	"fmt"
	"strconv"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// Model infers everything in m. It does not change m.
func Model(m *ir.Model) *Result { return Assuming(m, nil) }

// Assuming is Model for a caller who knows the types of inputs of functions, because all calls agree in them: what the Result holds of
// the values in a body is inferred under these types. Inputs without one are unknown, as they are to Model.
func Assuming(m *ir.Model, types map[*ir.Value]*ir.Type) *Result {
	r := &Result{vals: newTable(m.NumValues()), reserved: map[string]bool{}}
	s := &shared{result: r, rules: rules, functions: make(map[ir.OpID]*ir.Function, len(m.Functions)), memo: map[string][]*info{}}
	r.shared = s
	nodes := 0
	for _, g := range m.Graphs() {
		nodes += g.NumNodes()
	}
	s.budget = callFactor*nodes + 1000
	for _, f := range m.Functions {
		s.functions[f.ID()] = f
	}
	if m.Main != nil {
		a := &analysis{shared: s, vals: r.vals}
		a.inputs(m.Main)
		a.graph(m.Main)
		a.checkOutputs(m.Main)
		for _, t := range m.Training {
			for _, g := range []*ir.Graph{t.Initialization, t.Algorithm} {
				if g != nil {
					a.inputs(g)
					a.graph(g)
				}
			}
		}
	}
	for _, f := range m.Functions {
		a := &analysis{shared: s, vals: r.vals, generic: true, unsure: 1}
		for _, in := range f.Graph.Inputs() {
			a.vals.set(in.Value(), a.declared(types[in.Value()]))
		}
		a.graph(f.Graph)
	}
	return r
}

// callFactor bounds the nodes visited inside function calls, as a multiple of the nodes of the model.
const callFactor = 32

// shared is the state of the inference of one model.
type shared struct {
	result    *Result
	rules     []ruleRow
	functions map[ir.OpID]*ir.Function
	meanings  []meaning          // by kind of node; those that were not asked for are empty
	memo      map[string][]*info // results of function calls by function, attributes and operands
	budget    int                // nodes that may still be visited in function calls
	sizes     int                // private names given so far
	constants constants
}

// analysis is one visit of a graph and the graphs nested in it: the main graph, or a function's body in one call.
type analysis struct {
	*shared
	vals    *table
	attrs   map[string]*ir.Attr // the call's attributes, for references
	generic bool                // a function by itself: references and operands are unknown
	inCall  bool                // recorded types are not looked at: they are the generic ones
	stack   []*ir.Function      // the calls that led here
	loops   int                 // depth of nested loop bodies
	unsure  int                 // depth of places that may never run
}

// fresh is a size about which nothing is known but that it is not negative.
func (a *analysis) fresh() Int {
	a.sizes++
	return atomInt(&atom{name: "?" + strconv.Itoa(a.sizes), private: true, nonneg: true})
}

func (a *analysis) remark(s Severity, n *ir.Node, v *ir.Value, format string, args ...any) {
	if s == Error && a.unsure > 0 {
		s = Warning
	}
	a.result.remarks = append(a.result.remarks, Remark{s, n, v, fmt.Sprintf(format, args...)})
}

// inputs takes what the interface of g declares.
func (a *analysis) inputs(g *ir.Graph) {
	for _, in := range g.Inputs() {
		a.vals.set(in.Value(), a.declared(in.Value().Type()))
	}
}

// declared is a declared type whose unnamed dimensions get private names.
func (a *analysis) declared(t *ir.Type) *info {
	x := fromType(t, func(d ir.Dim) Int {
		if s := a.recordedSize(d); s.known {
			return s
		}
		return a.fresh()
	})
	if x == nil {
		return &info{}
	}
	return x
}

// recordedSize is a recorded dimension, unknown if it says nothing. In a loop a name may stand for another size each time around.
func (a *analysis) recordedSize(d ir.Dim) Int {
	switch {
	case d.IsStatic():
		return Num(d.Size)
	case d.Param == "" || d.Param == "?" || a.loops > 0:
		return Int{} // some exporters write "?" for every size they do not know
	}
	if !identifier(d.Param) {
		a.result.reserved[d.Param] = true
	}
	return Sym(d.Param)
}

// value is what is known of an operand: nil for an omitted one.
func (a *analysis) value(v *ir.Value) *info {
	if v == nil {
		return nil
	}
	if x, ok := a.vals.get(v); ok {
		return x // nil for a function's operand that the call omits
	}
	x := &info{}
	if v.Node() == nil {
		if t := v.Const(); t != nil {
			x = a.constants.info(t)
		}
	}
	a.vals.set(v, x)
	return x
}

func (a *analysis) graph(g *ir.Graph) {
	for n := range g.Nodes() {
		a.node(n)
	}
}

// node infers the results of n from its operands.
func (a *analysis) node(n *ir.Node) {
	if a.inCall {
		a.budget--
	}
	in := make([]*info, n.NumOperands())
	for i := range in {
		in[i] = a.value(n.Operand(i))
	}
	var out []*info
	if f := a.functions[n.Op()]; f != nil {
		out = a.call(n, f, in)
	} else {
		out = a.operator(n, in)
	}
	for i, v := range n.Results() {
		if v != nil {
			a.vals.set(v, a.reconcile(n, v, out[i]))
		}
	}
}

// operator applies the rule of a standard operator. Every entry of the result is set.
func (a *analysis) operator(n *ir.Node, in []*info) []*info {
	c := &call{a: a, n: n, in: in, out: make([]*info, n.NumResults())}
	known := make([]info, len(c.out))
	for i := range c.out {
		c.out[i] = &known[i]
	}
	k := a.meaning(n)
	c.opset, c.schema = k.opset, k.schema
	if c.schema == nil {
		if !(a.generic && n.HasRefs()) {
			c.contrib()
		}
		c.finish()
		return c.out
	}
	c.resultTypes()
	if !k.standard && !(a.generic && n.HasRefs()) {
		c.contrib()
	} else if k.rule != nil && c.complete() && !(a.generic && n.HasRefs()) {
		k.rule(c)
	}
	c.finish()
	return c.out
}

// meaning is what the tables say of an operator in a version of its domain.
type meaning struct {
	op       ir.OpID
	opset    int64
	schema   *schema.Schema // nil where there is none
	rule     rule
	standard bool
}

// meaning looks the operator of n up. Nodes of one kind, mostly of one version, are many.
func (s *shared) meaning(n *ir.Node) *meaning {
	op, kind := n.Op(), n.Kind()
	opset := n.Graph().Opset(op.Domain)
	if kind >= len(s.meanings) {
		s.meanings = append(s.meanings, make([]meaning, kind+1-len(s.meanings))...)
	}
	k := &s.meanings[kind]
	if k.op == op && k.opset == opset {
		return k
	}
	*k = meaning{op: op, opset: opset, standard: schema.Complete(op.Domain)}
	if opset <= schema.Newest(op.Domain) {
		k.schema = schema.Lookup(op, opset)
	}
	if k.schema != nil {
		k.rule = lookupRule(s.rules, op)
	}
	return k
}

// reconcile adds what the file records of v to what was inferred. Inference wins; a contradiction is a remark.
func (a *analysis) reconcile(n *ir.Node, v *ir.Value, x *info) *info {
	t := v.Type()
	if a.inCall || t == nil || x.states(t) {
		return x
	}
	y := fromType(t, a.recordedSize)
	if y.kind == ir.KindNone {
		return x
	}
	r, why := a.merge(x, y)
	if why != "" {
		a.remark(Warning, n, v, "%q is recorded as %s, but its %s", v.Name(), t, why)
	}
	return r
}

// merge is x with what y, which is recorded, adds where x knows nothing. why says how they contradict.
func (a *analysis) merge(x, y *info) (r *info, why string) {
	switch {
	case x == nil || x.kind == ir.KindNone:
		r = &info{}
		if y != nil {
			*r = *y
		}
		a.nameSizes(r)
		return r, ""
	case y == nil || y.kind == ir.KindNone:
		return x, ""
	case x.kind != y.kind:
		return x, "type is " + x.typ(a.result).String()
	case x.elem != y.elem && x.elem != ir.Undefined && y.elem != ir.Undefined:
		return x, "element type is " + x.elem.String()
	case x.ranked && y.ranked && len(x.dims) != len(y.dims):
		return x, "rank is " + strconv.Itoa(len(x.dims))
	}
	z := *x
	z.exported = nil
	if z.elem == ir.Undefined {
		z.elem = y.elem
	}
	if x.of != nil || y.of != nil {
		if z.of, why = a.merge(x.of, y.of); why != "" {
			return x, why
		}
	}
	if !y.ranked {
		return &z, ""
	}
	if !x.ranked {
		z.ranked, z.dims = true, y.dims
		a.nameSizes(&z)
		return &z, ""
	}
	z.dims = make([]Int, len(x.dims))
	for i, d := range x.dims {
		z.dims[i] = d
		_, number := y.dims[i].Const()
		switch {
		case !y.dims[i].known:
		case d.Differs(y.dims[i]) && (number || !d.private()):
			return x, "dimension " + strconv.Itoa(i) + " is " + d.String()
		case d.private() && (number || d.lone() != nil):
			z.dims[i] = y.dims[i]
		}
	}
	return &z, ""
}

// nameSizes gives private names to the dimensions of x about which nothing is known.
func (a *analysis) nameSizes(x *info) {
	for i, d := range x.dims {
		if !d.known {
			x.dims[i] = a.fresh()
		}
	}
	if x.of != nil {
		a.nameSizes(x.of)
	}
}

// checkOutputs compares the declared types of g's outputs with what was found: another element type is an error, another shape a warning.
func (a *analysis) checkOutputs(g *ir.Graph) {
	for _, s := range g.Outputs() {
		x, y := a.value(s.Value()), fromType(s.Type(), a.recordedSize)
		if y == nil || y.kind == ir.KindNone || x == nil || x.kind == ir.KindNone {
			continue
		}
		if _, why := a.merge(x, y); why != "" {
			sev := Warning
			if x.kind != y.kind || x.elem != y.elem {
				sev = Error
			}
			a.remark(sev, nil, s.Value(), "output %q is declared as %s, but its %s", s.Name(), s.Type(), why)
		}
	}
}
