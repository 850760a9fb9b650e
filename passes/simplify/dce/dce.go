// Package dce is dead code elimination.
package dce

import (
	"slices"
	"strings"

	"github.com/onnxopt/onnxopt/internal/keep"
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/ops"
	"github.com/onnxopt/onnxopt/ops/schema"
	"github.com/onnxopt/onnxopt/passes"
)

// Options has no options.
type Options struct{}

// Pass removes what no output depends on. Graph inputs stay, since they belong to the interface. An unused node stays if it
// is opaque, is a call of a function or has a subgraph with an opaque node inside: what such a node does besides its results
// is not known.
var Pass = passes.Define(passes.Info{
	Name: "dce",
	Doc:  "removes unused nodes, results, initializers, functions and opset imports",
	Rules: []passes.RuleDoc{
		{Name: "node", Doc: "removes a node without a used result"},
		{Name: "result", Doc: "omits an optional result that is not used"},
		{Name: "branches", Doc: "removes results of an If that are not used, and what computes them in both branches"},
		{Name: "rounds", Doc: "removes results of a Loop or Scan that are not used, what is carried from round to round for them only, and operands that are not"},
		{Name: "function", Doc: "removes a model-local function that nothing calls"},
		{Name: "initializer", Doc: "removes an initializer without a use"},
		{Name: "opset", Doc: "removes the import of a domain that no node is of"},
	},
}, Options{}, run)

func run(c *passes.Context, m *ir.Model, _ Options) error {
	e := &eliminator{c: c, m: m, bodies: map[ir.OpID]*ir.Function{}, purity: map[*ir.Function]purity{}}
	for _, f := range m.Functions {
		e.bodies[f.ID()] = f
	}
	for _, g := range m.Graphs() {
		if g.Owner() == nil {
			e.graph(g)
		}
	}
	e.functions()
	e.initializers()
	e.opsets()
	return nil
}

type eliminator struct {
	c      *passes.Context
	m      *ir.Model
	bodies map[ir.OpID]*ir.Function
	purity map[*ir.Function]purity
}

// graph removes dead nodes of g, users before what they use, and those in the subgraphs of living nodes.
func (e *eliminator) graph(g *ir.Graph) {
	for n := range g.Backward() {
		if !n.Used() {
			if !e.pure(n) {
				e.c.Remark(n, "node", "what an operator without a schema does is not known")
			} else if e.c.Rewrite("node", n, nil, func() { g.Erase(n) }) {
				continue
			}
		}
		e.control(n)
		for _, s := range n.Subgraphs() {
			e.graph(s)
		}
		e.results(n)
	}
}

// results omits the unused optional results of n, but leaves one.
func (e *eliminator) results(n *ir.Node) {
	s := ops.Of(n)
	if s == nil || !n.Used() || countsResults(n) {
		return
	}
	var idle []int
	for i, v := range n.Results() {
		if v != nil && v.NumUses() == 0 && s.Output(i) != nil && s.Output(i).Option == schema.Optional {
			idle = append(idle, i)
		}
	}
	if len(idle) == 0 {
		return
	}
	e.c.Rewrite("result", n, nil, func() {
		for _, i := range idle {
			n.OmitResult(i)
		}
		n.TrimResults()
	})
}

// countsResults reports whether results mean something by being there: a BatchNormalization that has more than one trains before
// opset 14, and has to have all of them where it trains later; an Attention gives the present keys and values together, and where those of
// com.microsoft do not give them, ONNX Runtime 1.32 forgets the past.
func countsResults(n *ir.Node) bool {
	switch n.Op() {
	case ir.Op("BatchNormalization"), ir.Op("Attention"):
		return true
	}
	return n.Op().Domain == "com.microsoft" && strings.HasSuffix(n.Op().Type, "Attention")
}

type purity uint8

const (
	unknown purity = iota
	visiting
	pure
	impure
)

// pure reports whether n has no effect but its results.
func (e *eliminator) pure(n *ir.Node) bool {
	if f := e.bodies[n.Op()]; f != nil {
		return e.function(f)
	}
	return ops.Of(n) != nil && e.all(n.Subgraphs()...)
}

func (e *eliminator) all(gs ...*ir.Graph) bool {
	for _, g := range gs {
		for n := range g.Nodes() {
			if !e.pure(n) {
				return false
			}
		}
	}
	return true
}

// function reports whether every node in the body of f is pure. Recursion, which the format forbids, counts as impure.
func (e *eliminator) function(f *ir.Function) bool {
	if e.purity[f] == unknown {
		e.purity[f] = visiting
		if e.all(f.Graph) {
			e.purity[f] = pure
		} else {
			e.purity[f] = impure
		}
	}
	return e.purity[f] == pure
}

// functions removes those that neither the main graph nor a training graph calls, directly or through others.
func (e *eliminator) functions() {
	if len(e.m.Functions) == 0 {
		return
	}
	called := map[*ir.Function]bool{}
	var walk func(g *ir.Graph)
	walk = func(g *ir.Graph) {
		for n := range g.Nodes() {
			if f := e.bodies[n.Op()]; f != nil && !called[f] {
				called[f] = true
				walk(f.Graph)
			}
			for _, s := range n.Subgraphs() {
				walk(s)
			}
		}
	}
	for _, g := range e.m.Graphs() {
		if g.Function() == nil && g.Owner() == nil {
			walk(g)
		}
	}
	for _, f := range slices.Clone(e.m.Functions) {
		if !called[f] {
			e.c.Rewrite("function", nil, nil, func() { e.m.RemoveFunction(f) })
		}
	}
}

// initializers removes those without a use, except those that training updates or that quantization_annotation refers to.
func (e *eliminator) initializers() {
	bound := map[*ir.Value]bool{}
	for _, t := range e.m.Training {
		for _, list := range [][]ir.Binding{t.InitBinding, t.UpdateBinding} {
			for _, b := range list {
				bound[b.Target] = true
			}
		}
	}
	for _, g := range e.m.Graphs() {
		var annotated map[string]bool
		for _, v := range g.Consts() {
			if v.NumUses() > 0 || bound[v] {
				continue
			}
			if annotated == nil {
				annotated = annotations(g)
			}
			if !annotated[v.Name()] {
				e.c.Rewrite("initializer", nil, nil, func() { g.EraseConst(v) })
			}
		}
	}
}

// annotations are the names of scales and zero points to which quantization_annotation of a value of g refers.
func annotations(g *ir.Graph) map[string]bool {
	r := map[string]bool{}
	add := func(v *ir.Value) {
		if v == nil {
			return
		}
		if q, ok := v.Extra.(keep.Quantization); ok {
			for _, p := range q.Quantization() {
				r[p.Value] = true
			}
		}
	}
	for _, s := range g.Inputs() {
		add(s.Value())
	}
	for _, v := range g.Consts() {
		add(v)
	}
	for n := range g.Nodes() {
		for _, v := range n.Results() {
			add(v)
		}
	}
	return r
}

// opsets removes imports of domains of which there is no node. The default domain stays: the writer may need its Identity and
// Constant, and a model has to import something. A domain that only functions use stays imported by the model, too, because
// runtimes look there when they inline.
func (e *eliminator) opsets() {
	used := map[string]bool{"": true}
	byBody := map[*ir.Function]map[string]bool{}
	for _, f := range e.m.Functions {
		byBody[f] = map[string]bool{"": true}
		used[ir.Domain(f.Domain)] = true
	}
	for n := range e.m.Nodes() {
		d := n.Op().Domain
		used[d] = true
		if f := n.Graph().Function(); f != nil {
			byBody[f][d] = true
		}
	}
	for _, o := range e.m.Opsets() {
		if !used[ir.Domain(o.Domain)] {
			e.c.Rewrite("opset", nil, nil, func() { e.m.SetOpset(o.Domain, 0) })
		}
	}
	for _, f := range e.m.Functions {
		for _, o := range f.Opsets() {
			if d := ir.Domain(o.Domain); !byBody[f][d] && d != ir.Domain(f.Domain) {
				e.c.Rewrite("opset", nil, nil, func() { f.SetOpset(o.Domain, 0) })
			}
		}
	}
}
