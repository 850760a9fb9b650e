package text

import (
	"fmt"
	"math"

	"github.com/onnxopt/onnxopt/ir"
)

// attrs prints a node's attributes, nothing if there are none.
func (p *printer) attrs(as []*ir.Attr) {
	if len(as) > 0 {
		p.list(" <", ">", len(as), func(i int) { p.attr(as[i]) })
	}
}

func (p *printer) attr(a *ir.Attr) {
	if a.Doc != "" {
		p.noted(notesOf(&ir.Meta{Doc: a.Doc}))
	}
	p.put(p.attrName(a.Name))
	switch {
	case a.Ref != "" && a.Kind == ir.AttrUndefined:
		p.put(" = @", p.attrName(a.Ref))
		return
	case a.Ref != "":
		p.put(": ", a.Kind.String(), " = @", p.attrName(a.Ref))
		return
	}
	p.put(": ", a.Kind.String(), " = ")
	p.attrValue(a)
}

// attrName spells an attribute's name; types hide none there.
func (p *printer) attrName(s string) string {
	if isIdent(s) {
		return s
	}
	return p.quote(s)
}

func (p *printer) attrValue(a *ir.Attr) {
	switch {
	case a.Kind == ir.AttrTensor && a.Tensor() == nil, a.Kind == ir.AttrGraph && a.Graph() == nil,
		a.Kind == ir.AttrType && a.Type() == nil, a.Kind == ir.AttrSparseTensor && a.Sparse() == nil, a.Kind == ir.AttrUndefined:
		p.fail(fmt.Errorf("attribute %s of kind %s has no value", p.quote(a.Name), a.Kind))
		return
	}
	switch a.Kind {
	case ir.AttrFloat:
		p.float(a.Float())
	case ir.AttrInt:
		p.int(a.Int())
	case ir.AttrString:
		p.put(p.quote(a.Str()))
	case ir.AttrTensor:
		p.tensor(a.Tensor())
	case ir.AttrGraph:
		p.nested(a.Graph())
	case ir.AttrSparseTensor:
		p.sparse(a.Sparse())
	case ir.AttrType:
		p.typ(a.Type())
	default:
		p.attrList(a)
	}
}

func (p *printer) attrList(a *ir.Attr) {
	n, item := 0, func(int) {}
	switch a.Kind {
	case ir.AttrFloats:
		n, item = len(a.Floats()), func(i int) { p.float(a.Floats()[i]) }
	case ir.AttrInts:
		n, item = len(a.Ints()), func(i int) { p.int(a.Ints()[i]) }
	case ir.AttrStrings:
		n, item = len(a.Strs()), func(i int) { p.put(p.quote(a.Strs()[i])) }
	case ir.AttrTensors:
		n, item = len(a.Tensors()), func(i int) { p.tensor(a.Tensors()[i]) }
	case ir.AttrGraphs:
		n, item = len(a.Graphs()), func(i int) { p.nested(a.Graphs()[i]) }
	case ir.AttrSparseTensors:
		n, item = len(a.Sparses()), func(i int) { p.sparse(a.Sparses()[i]) }
	case ir.AttrTypes:
		n, item = len(a.Types()), func(i int) { p.typ(a.Types()[i]) }
	}
	if p.brief && n > 4*shortElements {
		p.list("[", ", ...]", 4*shortElements, item)
		return
	}
	p.list("[", "]", n, item)
}

func (p *printer) float(v float32) { p.buf = appendFloat(p.buf, uint64(math.Float32bits(v)), 32) }

func (p *printer) typ(t *ir.Type) {
	p.noted(denotations(t))
	p.put(typeString(t))
}

func (p *printer) sparse(s *ir.SparseTensor) {
	p.put(sparseType(s), " ")
	p.sparseData(s)
}

// nested prints a subgraph.
func (p *printer) nested(g *ir.Graph) {
	if p.brief {
		p.put(p.graphName(g.Name()), " {...}")
		return
	}
	p.indent += 3
	p.graph(g)
	p.indent -= 3
}
