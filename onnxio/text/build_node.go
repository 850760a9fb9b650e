package text

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnxopt/onnxopt/internal/sparse"
	"github.com/onnxopt/onnxopt/internal/spell"
	"github.com/onnxopt/onnxopt/ir"
)

// nodes adds nodes to s. All results are defined before operands are resolved, because the text may be in any order.
func (b *builder) nodes(s *scope, ds []*NodeDecl) {
	made := make([]*ir.Node, len(ds))
	for i, d := range ds {
		made[i] = b.node(s, i, d)
	}
	for i, d := range ds {
		if b.err != nil {
			return
		}
		n := made[i]
		for j, in := range d.Inputs {
			if in.Text == "" {
				continue
			}
			v := b.resolve(s, in)
			if v == nil {
				return
			}
			if v.Graph() == s.g && v.Node() != nil && v.Node().Pos() >= n.Pos() {
				s.unsorted = true
			}
			n.SetOperand(j, v)
		}
		if len(d.Attrs) > 0 {
			n.SetAttrs(each(d.Attrs, func(a *AttrDecl) *ir.Attr { return b.attr(s, n, a) }))
		}
	}
}

// resolve finds the innermost definition of a name.
func (b *builder) resolve(s *scope, n Name) *ir.Value {
	var known []string
	for o := s; o != nil; o = o.outer {
		if v := o.names[n.Text]; v != nil {
			if v.Node() != nil && o != s { // whether the graph around is in order is seen from the subgraph's node
				o.unsorted = true
			}
			return v
		}
	}
	if b.err == nil {
		for o := s; o != nil; o = o.outer {
			known = slices.AppendSeq(known, maps.Keys(o.names))
		}
		b.fail(n.Pos, "%s is not defined%s", quoteName(clip(n.Text)), spell.Hint(n.Text, known))
	}
	return nil
}

// acyclic reports a cycle of nodes, through captures or not. A text in order needs no such check.
func (b *builder) acyclic(s *scope) {
	if b.err != nil || !s.unsorted {
		return
	}
	done := map[*ir.Node]bool{}
	for n := range s.g.Nodes() {
		wait := n.Operands()
		for _, g := range n.Subgraphs() {
			wait = append(wait, g.Captures()...)
		}
		for _, v := range wait {
			if v != nil && v.Graph() == s.g && v.Node() != nil && !done[v.Node()] {
				b.fail(s.pos, "the nodes of this graph form a cycle through %s", quoteName(clip(v.Name())))
				return
			}
		}
		done[n] = true
	}
}

// node adds a node whose operands and attributes are still missing.
func (b *builder) node(s *scope, pos int, d *NodeDecl) *ir.Node {
	n := s.g.Append(d.Op, len(d.Inputs), len(d.Outputs))
	n.SetName(d.Label)
	if m := d.Notes.meta(); m != nil {
		n.SetMeta(m)
	}
	n.SetOrigin(ir.SourceOrigin(&ir.Source{Graph: s.path, Pos: pos, Name: d.Label, Op: n.Op()}))
	for i, out := range d.Outputs {
		if out.Text == "" {
			n.OmitResult(i)
			continue
		}
		v := n.Result(i)
		v.SetName(out.Text)
		b.define(s, out, v)
	}
	return n
}

// Attr makes the attribute of ir that d describes. Attributes that hold graphs need a model around them and are an error.
func (d *AttrDecl) Attr() (*ir.Attr, error) {
	if d.Kind == ir.AttrGraph || d.Kind == ir.AttrGraphs {
		return nil, errorAt(d.Name.Pos, "attribute %s holds a graph", clip(d.Name.Text))
	}
	b := &builder{}
	a := b.attr(nil, nil, d)
	if b.err != nil {
		return nil, b.err
	}
	return a, nil
}

// attr makes an attribute. Subgraphs see the names of s; n is the node they belong to.
func (b *builder) attr(s *scope, n *ir.Node, d *AttrDecl) *ir.Attr {
	a := b.attrValue(s, n, d)
	if m := d.Notes.meta(); m != nil {
		a.Doc = m.Doc
	}
	return a
}

func (b *builder) attrValue(s *scope, n *ir.Node, d *AttrDecl) *ir.Attr {
	name := d.Name.Text
	switch v := d.Value.(type) {
	case int64:
		return ir.IntAttr(name, v)
	case float32:
		return ir.FloatAttr(name, v)
	case string:
		return ir.StringAttr(name, v)
	case *TensorLit:
		return ir.TensorAttr(name, b.tensor(v))
	case *SparseLit:
		return ir.SparseAttr(name, b.sparse(v))
	case *ir.Type:
		return ir.TypeAttr(name, v)
	case *GraphDecl:
		return ir.GraphAttr(name, b.subgraph(s, n, d, v))
	case []int64:
		return ir.IntsAttr(name, v)
	case []float32:
		return ir.FloatsAttr(name, v)
	case []string:
		return ir.StringsAttr(name, v)
	case []*TensorLit:
		return ir.TensorsAttr(name, each(v, b.tensor))
	case []*SparseLit:
		return ir.SparsesAttr(name, each(v, b.sparse))
	case []*ir.Type:
		return ir.TypesAttr(name, v)
	case []*GraphDecl:
		return ir.GraphsAttr(name, each(v, func(g *GraphDecl) *ir.Graph { return b.subgraph(s, n, d, g) }))
	}
	return ir.RefAttr(name, d.Kind, d.Ref)
}

func each[A, B any](in []A, f func(A) B) []B {
	r := make([]B, len(in))
	for i, a := range in {
		r[i] = f(a)
	}
	return r
}

func (b *builder) subgraph(s *scope, n *ir.Node, d *AttrDecl, g *GraphDecl) *ir.Graph {
	r := s.g.NewSubgraph(g.Name.Text)
	if n == nil {
		b.fail(g.Name.Pos, "the default of a function's attribute cannot be a graph")
		return r
	}
	node := n.Name()
	if node == "" {
		node = fmt.Sprintf("%s#%d", n.Op().Type, n.Pos())
	}
	b.graph(r, s, s.path+"/"+node+"/"+d.Name.Text, g)
	return r
}

// tensor is the constant with its name and metadata.
func (b *builder) tensor(d *TensorLit) *ir.Tensor {
	t := d.Tensor
	if d.External != nil && b.opts.External != nil {
		p, err := b.opts.External(t.DType(), t.Shape(), d.External)
		if err != nil {
			b.fail(d.Pos, "%v", err)
			return t
		}
		t = ir.NewLazyTensor(t.DType(), t.Shape(), p)
	}
	if d.Sparse != nil {
		var err error
		if t, err = sparse.Tensor(b.sparse(d.Sparse)); err != nil {
			b.fail(d.Pos, "%v", err)
			return t
		}
	}
	if m := d.Notes.meta(); m != nil || d.Name != "" {
		t = t.WithName(d.Name, m)
	}
	return t
}

func (b *builder) sparse(d *SparseLit) *ir.SparseTensor {
	return &ir.SparseTensor{Values: b.tensor(d.Values), Indices: b.tensor(d.Indices), Dims: d.Dims}
}
