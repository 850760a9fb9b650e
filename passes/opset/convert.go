package opset

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops/infer"
	"github.com/onnxopt/onnxopt/ops/schema"
)

// conversion converts one model, version by version, so that every adapter knows one change only and the model is valid after each.
type conversion struct {
	m        *ir.Model
	to       int64
	facts    *infer.Result // of the model before; what is made later is inferred under the version it is made for
	stop     func() error
	adapters map[change]*adapter
	exact    bool
	inexact  []string // what was not
	refused  []Refusal
	listed   map[*Refusal]bool
	recasts  map[recast]*ir.Tensor
	failed   map[*ir.Node]bool
	made     []*ir.Node               // in the current step
	origins  map[*ir.Node]*ir.Origin  // of all nodes that were made
	source   map[*ir.Node]*Refusal    // the node of the model before that one stands for
	consts   map[*ir.Value]*ir.Origin // of all constants that were made
	order    map[*ir.Node]int         // of the nodes of the model before
	flat     map[*ir.Node]bool        // Reshape nodes that have to keep dimensions of zero; see keepEmpty
}

func newConversion(m *ir.Model, to int64, recasts map[recast]*ir.Tensor, stop func() error) *conversion {
	order := map[*ir.Node]int{}
	for n := range m.Nodes() {
		order[n] = len(order)
	}
	return &conversion{m: m, order: order, recasts: recasts, to: to, facts: inferred(m), stop: stop, adapters: index(), exact: true, failed: map[*ir.Node]bool{},
		origins: map[*ir.Node]*ir.Origin{}, source: map[*ir.Node]*Refusal{}, listed: map[*Refusal]bool{}, flat: map[*ir.Node]bool{}, consts: map[*ir.Value]*ir.Origin{}}
}

// scope is a set of graphs that share their imports: the model's own, or those of a function.
type scope struct {
	graphs func() []*ir.Graph
	opset  func() int64
	set    func(int64)
}

func (c *conversion) scopes() []scope {
	r := []scope{{
		graphs: func() []*ir.Graph {
			return slices.DeleteFunc(c.m.Graphs(), func(g *ir.Graph) bool { return g.Function() != nil })
		},
		opset: func() int64 { return c.m.Opset("") },
		set:   func(v int64) { c.m.SetOpset("", v) },
	}}
	byFunction := map[*ir.Function][]*ir.Graph{}
	for _, f := range c.m.Functions {
		r = append(r, scope{
			graphs: func() []*ir.Graph { return byFunction[f] },
			opset:  func() int64 { return lookup(f) },
			set:    func(v int64) { f.SetOpset("", v) },
		})
	}
	for _, g := range c.m.Graphs() {
		if f := g.Function(); f != nil {
			byFunction[f] = append(byFunction[f], g)
		}
	}
	return r
}

// run converts the model. What cannot be converted is in refused, and the model is then of no use.
func (c *conversion) run() {
	for _, s := range c.scopes() {
		if v := s.opset(); v > 0 && v < 7 {
			c.notExact(fmt.Sprintf("of opset %d an engine may have other kernels", v)) // the embedded one has
		}
		for from := s.opset(); from != 0 && from != c.to && c.stop() == nil; {
			next := from + 1
			if c.to < from {
				next = from - 1
			}
			c.step(s, from, next)
			from = next
		}
	}
	slices.SortStableFunc(c.refused, func(a, b Refusal) int { return a.at - b.at })
	c.identities()
	c.hints()
	for v := range c.consts { // made and then not needed
		if v.NumUses() == 0 && !v.Dead() {
			v.Graph().EraseConst(v)
		}
	}
}

// hints states the types of what the body of a Scan returns: ONNX Runtime has to know their ranks and infers less of them in older
// versions.
func (c *conversion) hints() {
	for n := range c.m.Nodes() {
		if !n.Is("Scan") || n.Graph().Function() != nil {
			continue
		}
		for _, g := range n.Subgraphs() {
			for _, o := range g.Outputs() {
				c.facts.Extend(o.Value())
				if t := staticType(c.facts.Type(o.Value())); t != nil && o.Type() == nil {
					o.SetType(t)
				}
			}
		}
	}
}

// staticType is t with the sizes that are numbers; nil if its rank is not known.
func staticType(t *ir.Type) *ir.Type {
	if !t.IsTensor() || t.Shape == nil || t.Elem == ir.Undefined {
		return nil
	}
	shape := make(ir.Shape, len(t.Shape))
	for i, d := range t.Shape {
		if shape[i] = ir.UnknownDim(); d.IsStatic() {
			shape[i] = ir.Static(d.Size)
		}
	}
	return ir.TensorType(t.Elem, shape)
}

// step converts the graphs of s by one version.
func (c *conversion) step(s scope, from, next int64) {
	var nodes []*ir.Node
	for _, g := range slices.Backward(s.graphs()) { // inner graphs first, for an adapter may copy the body of its node
		for n := range g.Nodes() {
			if n.Op().Domain == "" && n.Op().Overload == "" && c.m.Function(n.Op()) == nil && !c.failed[n] && changes(n, from, next) {
				nodes = append(nodes, n)
			}
		}
	}
	s.set(next)
	c.made = c.made[:0]
	for _, n := range nodes {
		if !n.Dead() {
			c.node(n, from, next)
		}
	}
	// Types are looked at last: what was made may have to be cast, too.
	for i := 0; i < len(c.made); i++ {
		if n := c.made[i]; !n.Dead() && !c.failed[n] {
			c.types(n, from, next)
		}
	}
	for _, n := range c.made {
		if !n.Dead() {
			for _, v := range n.Results() {
				c.facts.Extend(v)
			}
		}
	}
}

// changes reports whether the meaning of n's operator has another schema in next.
func changes(n *ir.Node, from, next int64) bool {
	return schema.Lookup(n.Op(), from) != schema.Lookup(n.Op(), next)
}

// node converts n by one version.
func (c *conversion) node(n *ir.Node, from, next int64) {
	old, now := schema.Lookup(n.Op(), from), schema.Lookup(n.Op(), next)
	if old == nil {
		c.refuse(n, "opset %d has no such operator", from)
		return
	}
	s := &site{c: c, n: n, g: n.Graph(), old: old, from: from, to: next}
	if a := c.adapters[change{n.Op().Type, max(from, next), next > from}]; a != nil {
		if why := s.refs(a); why != "" {
			s.refuse("%s", why)
		} else {
			a.convert(s)
		}
	} else if (now == nil || now.Deprecated()) && !s.fold() {
		s.refuse("the operator came with opset %d and is not spelled out here", old.Since())
	}
	switch {
	case s.why != "":
		c.refuse(n, "%s", s.why)
	case n.Dead():
	default:
		if now = schema.Lookup(n.Op(), next); now == nil {
			c.refuse(n, "opset %d has no such operator", next)
			return
		}
		if why := form(n, old, now); why != "" {
			c.refuse(n, "%s", why)
			return
		}
		c.made = append(c.made, n)
	}
}

// notExact notes why the conversion is not exact; the first few reasons are kept.
func (c *conversion) notExact(why string) {
	c.exact = false
	if len(c.inexact) < 5 && !slices.Contains(c.inexact, why) {
		c.inexact = append(c.inexact, why)
	}
}

// refuse lists the node of the model before that n is, or stands for, once.
func (c *conversion) refuse(n *ir.Node, format string, args ...any) {
	c.failed[n] = true
	p := c.place(n)
	if c.listed[p] {
		return
	}
	c.listed[p] = true
	r := *p
	if r.Why = fmt.Sprintf(format, args...); r.Op != n.Op() {
		r.Why = n.Op().Type + ", in which it would be spelled out: " + r.Why
	}
	c.refused = append(c.refused, r)
}

// place names the node that n stands for.
func (c *conversion) place(n *ir.Node) *Refusal {
	p := c.source[n]
	if p == nil {
		p = &Refusal{Node: n.String(), Op: n.Op(), at: c.order[n]}
		if n.Graph() != c.m.Main {
			p.Graph = n.Graph().Path()
		}
		c.source[n] = p
	}
	return p
}

// form makes n agree with its new schema as far as attributes go that an adapter does not care for: those that do not exist any more
// are dropped if they state the default, and defaults that changed are stated.
func form(n *ir.Node, old, now *schema.Schema) (why string) {
	for _, a := range slices.Clone(n.Attrs()) {
		if now.Attr(a.Name) != nil || old.Attr(a.Name) == nil {
			continue
		}
		if !isDefault(a, old.Attr(a.Name)) {
			return fmt.Sprintf("attribute %s came with opset %d", a.Name, old.Since())
		}
		n.RemoveAttr(a.Name)
	}
	if n.Op() != old.Op() {
		return "" // another operator, whose attributes the adapter has set
	}
	for i := range old.Attrs() {
		a := &old.Attrs()[i]
		b := now.Attr(a.Name)
		if n.Attr(a.Name) == nil && a.HasDefault() && b != nil && !isDefault(a.Default(), b) {
			n.SetAttr(a.Default())
		}
	}
	if least, most := now.NumInputs(); n.NumOperands() > most && most != schema.Unbounded || n.NumOperands() < least {
		for n.NumOperands() > most && n.Operand(n.NumOperands()-1) == nil {
			n.RemoveOperand(n.NumOperands() - 1)
		}
		if n.NumOperands() > most {
			return fmt.Sprintf("operand %d came with opset %d", most, old.Since())
		}
		if n.NumOperands() < least {
			return fmt.Sprintf("the operator needs %d operands in this opset", least)
		}
	}
	if _, most := now.NumOutputs(); n.NumResults() > most && most != schema.Unbounded {
		for i := most; i < n.NumResults(); i++ {
			if v := n.Result(i); v != nil && v.NumUses() > 0 {
				return fmt.Sprintf("result %d came with opset %d", i, old.Since())
			}
		}
		for i := most; i < n.NumResults(); i++ {
			n.OmitResult(i)
		}
		n.TrimResults()
	}
	return ""
}

// isDefault reports whether a states the default of spec.
func isDefault(a *ir.Attr, spec *schema.AttrSpec) bool {
	d := spec.Default()
	if a == nil || d == nil || a.Ref != "" || a.Kind != d.Kind {
		return false
	}
	switch a.Kind {
	case ir.AttrInt:
		return a.Int() == d.Int()
	case ir.AttrFloat:
		return a.Float() == d.Float()
	case ir.AttrString:
		return a.Str() == d.Str()
	case ir.AttrInts:
		return slices.Equal(a.Ints(), d.Ints())
	}
	return false
}

// identities refuses what needs an Identity that the version does not have: of sequences below 14, of optionals below 16. The writer
// puts them where an output returns an input under another name.
func (c *conversion) identities() {
	if len(c.refused) > 0 {
		return
	}
	for _, g := range c.m.Graphs() {
		v := g.Opset("")
		if v == 0 || v >= 16 {
			continue
		}
		for _, o := range g.Outputs() {
			x := o.Value()
			t := c.facts.Type(x)
			if t == nil || t.Kind == ir.KindTensor || t.Kind == ir.KindSequence && v >= 14 {
				continue
			}
			if x.Graph() != g || x.Node() == nil || x.Name() != o.Name() && x.Name() != "" && g == c.m.Main {
				c.refused = append(c.refused, Refusal{Graph: g.Path(), Node: "output \"" + o.Name() + "\"", Op: ir.Op("Identity"),
					Why: fmt.Sprintf("opset %d has no Identity of %s, which the output needs", v, spell(t))})
			}
		}
	}
}

// settleOrigins gives every node that was made the origin of the node it stands for; the framework knows of one rewrite only.
func (c *conversion) settleOrigins(rule string) {
	derived := map[*ir.Origin]*ir.Origin{}
	of := func(o *ir.Origin) *ir.Origin {
		if derived[o] == nil {
			derived[o] = ir.DerivedOrigin("opset/"+rule, o)
		}
		return derived[o]
	}
	for n, o := range c.origins {
		if !n.Dead() {
			n.SetOrigin(of(o))
		}
	}
	for v, o := range c.consts {
		if !v.Dead() {
			v.SetOrigin(of(o))
		}
	}
}
