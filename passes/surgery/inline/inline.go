// Package inline is the pass that replaces calls of model-local functions by their bodies.
package inline

import (
	"fmt"
	"slices"

	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/cut"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/meaning"
)

// Options has no options.
type Options struct{}

// Pass inlines functions.
var Pass = passes.Define(passes.Info{
	Name: "inline",
	Doc:  "replaces calls of model-local functions by their bodies",
	Long: `Calls inside subgraphs and inside inlined bodies are inlined, too, and functions that nothing calls any more are removed.
only= takes the name of a function, or of nodes that call one: inline{only=Gelu}. A function stays whose body uses an
operator in another meaning than the graph that calls it, because their operator sets differ (opset{to=N} may mend that), or
to which a call hands a graph as an attribute.`,
	Rules: []passes.RuleDoc{
		{Name: "call", Doc: "replaces a call by the function's body"},
		{Name: "function", Doc: "removes a function that nothing calls any more"},
	},
}, Options{}, run)

// maxNodes bounds the nodes that a run makes: functions that call functions twice grow exponentially.
const maxNodes = 1 << 20

func run(c *passes.Context, m *ir.Model, _ Options) error {
	if len(m.Functions) == 0 {
		return nil
	}
	i := &inliner{c: c, m: m}
	for _, g := range m.Graphs() {
		if g.Owner() == nil && g.Function() == nil {
			if err := i.graph(g); err != nil {
				return err
			}
		}
	}
	if i.calls > 0 {
		i.sweep()
	}
	// What is left is called from outside the selection; calls inside of it may be selected.
	for _, f := range m.Functions {
		if err := i.graph(f.Graph); err != nil {
			return err
		}
	}
	if i.calls > 0 {
		i.sweep()
	}
	return nil
}

type inliner struct {
	c     *passes.Context
	m     *ir.Model
	calls int // that were inlined
	made  int // nodes
}

// graph inlines the calls in g and in the subgraphs of its nodes, and those that inlining brings in.
func (i *inliner) graph(g *ir.Graph) error {
	todo := g.NodeList()
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		if n.Dead() {
			continue
		}
		f := i.m.Function(n.Op())
		if f == nil {
			for _, s := range n.Subgraphs() {
				if err := i.graph(s); err != nil {
					return err
				}
			}
			continue
		}
		if why := refused(n, f, i.m); why != "" {
			i.c.Remark(n, "call", why)
			continue
		}
		if i.made > maxNodes {
			return fmt.Errorf("inlining makes more than %d nodes; choose functions with only=", maxNodes)
		}
		i.c.Rewrite("call", n, nil, func() {
			made := call(n, f)
			i.made += len(made) + 1
			todo = append(todo, made...)
			i.calls++
		})
	}
	return nil
}

// refused says why a call cannot be replaced by the body, "" if it can.
func refused(n *ir.Node, f *ir.Function, m *ir.Model) string {
	for _, a := range n.Attrs() {
		if len(a.Graphs()) > 0 {
			return fmt.Sprintf("the call of %s has a graph as its attribute %q", f.ID(), a.Name)
		}
		if a.Ref != "" && n.Graph().Function() == nil {
			return fmt.Sprintf("attribute %q of the call refers to that of a function", a.Name)
		}
	}
	for _, a := range f.Defaults {
		if len(a.Graphs()) > 0 {
			return fmt.Sprintf("the default of attribute %q of %s is a graph", a.Name, f.ID())
		}
	}
	return differs(f.Graph, n.Graph(), m)
}

// differs says which operator in body, or in the subgraphs of its nodes, would mean something else in g.
func differs(body, g *ir.Graph, m *ir.Model) string {
	for n := range body.Nodes() {
		for _, s := range n.Subgraphs() {
			if why := differs(s, g, m); why != "" {
				return why
			}
		}
		op := n.Op()
		own, outer := body.Opset(op.Domain), g.Opset(op.Domain)
		if m.Function(op) != nil || own == outer || outer == 0 {
			continue // a domain that is not imported can be
		}
		if !meaning.Kept(op, own, outer) {
			return fmt.Sprintf("%s may mean something else in operator set %d, of the function, than in %d, of the graph; opset{to=N} may mend that", op, own, outer)
		}
	}
	return ""
}

// call replaces n, a call of f, and lists the nodes that took its place.
func call(n *ir.Node, f *ir.Function) []*ir.Node {
	g := n.Graph()
	imports(n, f, f.Graph)
	var made []*ir.Node
	stop := g.Model().Listen(&ir.Listener{Made: func(k *ir.Node) { made = append(made, k) }})
	before := map[*ir.Value]bool{}
	for _, v := range g.Consts() {
		before[v] = true
	}
	out := f.Graph.CopyInto(g, n, n.Operands())
	stop()
	attrs := bindings(n, f)
	name := n.Name()
	if name == "" {
		name = f.Name
	}
	for _, k := range made {
		bind(k, attrs)
		label(k, name)
	}
	for _, v := range g.Consts() {
		if !before[v] {
			v.SetName(within(name, v.Name()))
		}
	}
	for i, r := range n.Results() {
		if r == nil {
			continue
		}
		if w := out[i]; slices.Contains(made, w.Node()) {
			w.SetName("") // takes the name of what it replaces
			if r.Type() != nil {
				w.SetType(r.Type())
			}
		}
		r.ReplaceUses(out[i])
	}
	g.Erase(n)
	// What the call computes for nobody may not even fit the types that this call has.
	for _, k := range slices.Backward(made) {
		if !k.Used() && len(k.Subgraphs()) == 0 && ops.Of(k) != nil && g.Model().Function(k.Op()) == nil {
			k.Graph().Erase(k)
		}
	}
	return slices.DeleteFunc(made, (*ir.Node).Dead)
}

// imports gives the graph of n the domains that the body uses and that it does not import.
func imports(n *ir.Node, f *ir.Function, body *ir.Graph) {
	for k := range body.Nodes() {
		d := k.Op().Domain
		if n.Graph().Opset(d) == 0 {
			if h := n.Graph().Function(); h != nil {
				h.SetOpset(d, body.Opset(d))
			} else {
				n.Graph().Model().SetOpset(d, body.Opset(d))
			}
		}
		for _, s := range k.Subgraphs() {
			imports(n, f, s)
		}
	}
}

// bindings are the values of the function's attributes in the call n: those of the call, else the defaults.
func bindings(n *ir.Node, f *ir.Function) map[string]*ir.Attr {
	r := map[string]*ir.Attr{}
	for _, a := range f.Defaults {
		r[a.Name] = a
	}
	for _, a := range n.Attrs() {
		r[a.Name] = a
	}
	return r
}

// bind replaces references to the function's attributes, in subgraphs too. One to an attribute that the call leaves out and that has no
// default is left out itself.
func bind(n *ir.Node, attrs map[string]*ir.Attr) {
	for _, a := range slices.Clone(n.Attrs()) {
		if a.Ref == "" {
			continue
		}
		v := attrs[a.Ref]
		if v == nil {
			n.RemoveAttr(a.Name)
			continue
		}
		b := *v
		b.Name, b.Extra = a.Name, nil
		n.SetAttr(&b)
	}
	for _, s := range n.Subgraphs() {
		for k := range s.Nodes() {
			bind(k, attrs)
		}
	}
}

// label names a copied node and its results after the call. Types that the body records of results may be of another call; what its
// subgraphs declare holds for all, names of sizes apart.
func label(n *ir.Node, call string) {
	n.SetName(within(call, n.Name()))
	for _, v := range n.Results() {
		if v != nil {
			v.SetName(within(call, v.Name()))
			v.SetType(nil)
		}
	}
	for _, s := range n.Subgraphs() {
		for _, v := range s.Inputs() {
			v.Value().SetType(v.Type().WithoutSymbols())
		}
		for _, o := range s.Outputs() {
			o.SetType(o.Type().WithoutSymbols())
		}
		for k := range s.Nodes() {
			label(k, call)
		}
	}
}

// within is a name inside a call.
func within(call, name string) string {
	if name == "" {
		return ""
	}
	return call + "/" + name
}

// sweep removes the functions that nothing calls.
func (i *inliner) sweep() {
	for _, f := range cut.Uncalled(i.m) {
		i.c.Rewrite("function", nil, nil, func() { i.m.RemoveFunction(f) })
	}
}
