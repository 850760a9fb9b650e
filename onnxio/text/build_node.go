package text

import (
	"fmt"

	"github.com/onnxopt/onnxopt/internal/sparse"
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
			v := s.lookup(in.Text)
			if v == nil {
				b.fail(in.Pos, "%s is not defined", quoteName(clip(in.Text)))
				return
			}
			n.SetOperand(j, v)
		}
		if len(d.Attrs) > 0 {
			n.SetAttrs(each(d.Attrs, func(a *AttrDecl) *ir.Attr { return b.attr(s, n, a) }))
		}
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
