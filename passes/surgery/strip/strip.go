// Package strip is the pass that removes documentation and metadata.
package strip

import (
	"github.com/onnxopt/onnxopt/ir"
	"github.com/onnxopt/onnxopt/passes"
	"github.com/onnxopt/onnxopt/passes/surgery/internal/consts"
)

// Options of the pass.
type Options struct {
	Doc      bool `opt:"doc" doc:"remove documentation: of the model, its graphs, nodes, values, tensors, attributes and functions"`
	Metadata bool `opt:"metadata" doc:"remove metadata_props of the same, whatever reads them"`
}

// Pass removes what no computation depends on.
var Pass = passes.Define(passes.Info{
	Name: "strip",
	Doc:  "removes doc strings, and metadata on request",
	Long: `Exporters write stack traces with the paths of source files into doc strings. Metadata may mean something to whoever
runs the model (class names, preprocessing), and stay unless metadata=true.`,
	Rules: []passes.RuleDoc{
		{Name: "node", Doc: "strips a node and its attributes"},
		{Name: "rest", Doc: "strips the model, a graph, a function, a value or a tensor"},
	},
	Example: "strip{metadata=true}",
}, Options{Doc: true}, run)

func run(c *passes.Context, m *ir.Model, o Options) error {
	s := &stripper{c, o}
	s.rest(m.Main, m.Meta, func(x *ir.Meta) { m.Meta = x })
	for _, f := range m.Functions {
		s.rest(f.Graph, f.Meta, func(x *ir.Meta) { f.Meta = x })
	}
	for _, g := range m.Graphs() {
		s.graph(g)
	}
	return nil
}

type stripper struct {
	c *passes.Context
	o Options
}

// meta is what is left of x, and whether that is less.
func (s *stripper) meta(x *ir.Meta) (*ir.Meta, bool) {
	if x == nil {
		return nil, false
	}
	r := *x
	if s.o.Doc {
		r.Doc = ""
	}
	if s.o.Metadata {
		r.Props = nil
	}
	if r.Doc == x.Doc && len(r.Props) == len(x.Props) {
		return x, false
	}
	if r.Doc == "" && len(r.Props) == 0 {
		return nil, true
	}
	return &r, true
}

// rest sets what is left of x where that is less. g is the graph that is told of it.
func (s *stripper) rest(g *ir.Graph, x *ir.Meta, set func(*ir.Meta)) {
	if x, less := s.meta(x); less {
		s.c.Rewrite("rest", nil, nil, func() {
			set(x)
			g.SetName(g.Name())
		})
	}
}

func (s *stripper) graph(g *ir.Graph) {
	s.rest(g, g.Meta, func(x *ir.Meta) { g.Meta = x })
	for _, slot := range g.Inputs() {
		s.rest(g, slot.Meta, func(x *ir.Meta) { slot.Meta = x })
		v := slot.Value()
		s.rest(g, v.Meta, func(x *ir.Meta) { v.Meta = x })
		if t, less := s.tensor(v.Default()); less {
			s.c.Rewrite("rest", nil, nil, func() { consts.Replace(v, t) })
		}
	}
	for _, slot := range g.Outputs() {
		s.rest(g, slot.Meta, func(x *ir.Meta) { slot.Meta = x })
	}
	for _, v := range g.Consts() {
		s.rest(g, v.Meta, func(x *ir.Meta) { v.Meta = x })
		if t, less := s.tensor(v.Const()); less {
			s.c.Rewrite("rest", nil, nil, func() { consts.Replace(v, t) })
		}
	}
	for n := range g.Nodes() {
		s.node(n)
		for _, v := range n.Results() {
			if v != nil {
				s.rest(g, v.Meta, func(x *ir.Meta) { v.Meta = x })
			}
		}
	}
}

func (s *stripper) tensor(t *ir.Tensor) (*ir.Tensor, bool) {
	if t == nil {
		return nil, false
	}
	x, less := s.meta(t.Meta())
	if !less {
		return t, false
	}
	return t.WithName(t.Name(), x), true
}

// node strips n and its attributes.
func (s *stripper) node(n *ir.Node) {
	x, less := s.meta(n.Meta())
	var attrs []*ir.Attr
	for _, a := range n.Attrs() {
		if b, less := s.attr(a); less {
			attrs = append(attrs, b)
		}
	}
	if !less && len(attrs) == 0 {
		return
	}
	s.c.Rewrite("node", n, nil, func() {
		n.SetMeta(x)
		for _, a := range attrs {
			n.SetAttr(a)
		}
	})
}

func (s *stripper) attr(a *ir.Attr) (*ir.Attr, bool) {
	b, less := *a, false
	if t, l := s.tensor(a.Tensor()); l {
		b, less = *ir.TensorAttr(a.Name, t), true
		b.Doc = a.Doc
	}
	if s.o.Doc && b.Doc != "" {
		b.Doc, less = "", true
	}
	return &b, less
}
