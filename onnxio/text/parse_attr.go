package text

import (
	"math"
	"strings"

	"github.com/onnxopt/onnxopt/ir"
)

// attrs parses '<' attribute ,+ '>'.
func (p *parser) attrs() []*AttrDecl {
	r := []*AttrDecl{}
	seen := map[string]bool{}
	p.expect("<")
	p.list(">", func() {
		notes := p.notes()
		name := p.name("the name of an attribute")
		if seen[name.Text] && p.err == nil {
			p.fail(name.Pos, "attribute %s is given twice", clip(name.Text))
		}
		seen[name.Text] = true
		r = append(r, p.attrRest(notes, name))
	})
	return r
}

// attrRest parses [':' kind] '=' value of an attribute whose name has been read.
func (p *parser) attrRest(notes *Notes, name Name) *AttrDecl {
	a := &AttrDecl{Notes: notes, Name: name}
	if p.accept(":") {
		k, ok := ir.ParseAttrKind(p.tok.Text)
		if p.tok.Kind != Ident || !ok && p.tok.Text != "undefined" {
			p.expected("the kind of the attribute (int, floats, tensor, ...)")
			return a
		}
		a.Kind = k
		p.next()
	}
	p.expect("=")
	switch {
	case p.tok.Is("["):
		p.attrList(a)
	case p.accept("@"):
		a.Ref = p.name("the name of an attribute of the function").Text
		if a.Ref == "" && p.err == nil {
			p.fail(name.Pos, "the name of the attribute referred to is empty")
		}
	default:
		pos := p.tok.Pos
		k, v := p.attrValue(a.Kind)
		p.kindFits(pos, a.Kind, k)
		a.Kind, a.Value = k, v
	}
	return a
}

func (p *parser) kindFits(pos Pos, want, got ir.AttrKind) {
	if want != ir.AttrUndefined && want != got && p.err == nil {
		p.fail(pos, "the attribute is declared as %s and its value is of kind %s", want, got)
	}
}

// attrValue parses a single value. An integer is taken as a float where want says so.
func (p *parser) attrValue(want ir.AttrKind) (ir.AttrKind, any) {
	pos := p.tok.Pos
	switch {
	case p.tok.Kind == Int && want == ir.AttrFloat, p.tok.Kind == Float, p.tok.Kind == Ident && specialFloat(p.tok.Text):
		b, msg := floatBits(p.tok, 32)
		if msg != "" {
			p.fail(pos, "%s", msg)
		}
		p.next()
		return ir.AttrFloat, math.Float32frombits(uint32(b))
	case p.tok.Kind == Int:
		return ir.AttrInt, p.int()
	case p.tok.Kind == String:
		return p.stringOrGraph()
	case p.tok.Kind == Ident && !typeWord(p.tok.Text):
		return ir.AttrGraph, p.graph()
	case p.tok.Kind == Ident, p.tok.Is("?"):
		return p.typeOrTensor()
	}
	p.expected("the value of an attribute")
	return want, nil
}

// stringOrGraph parses a string, or a graph whose name is quoted.
func (p *parser) stringOrGraph() (ir.AttrKind, any) {
	notes := p.notes()
	name := Name{p.tok.Pos, p.tok.Text}
	p.next()
	if p.tok.Is("(") || p.tok.Is("=>") {
		name.Text = strings.Clone(name.Text)
		return ir.AttrGraph, p.graphRest(notes, name)
	}
	if notes != nil {
		p.fail(name.Pos, "a string cannot carry a note")
	}
	return ir.AttrString, strings.Clone(name.Text)
}

// typeOrTensor parses a type, or the constant that a type begins.
func (p *parser) typeOrTensor() (ir.AttrKind, any) {
	notes, pos := p.notes(), p.tok.Pos
	t := p.typ()
	switch {
	case p.err != nil:
		return ir.AttrType, t
	case t.Kind == ir.KindSparse && p.tok.Is("{"):
		return ir.AttrSparseTensor, p.sparse(pos, t)
	case p.named(), p.tok.Is("="), p.tok.Is("{"), p.tok.Is("["):
		return ir.AttrTensor, p.tensor(pos, t, notes)
	}
	t, err := notes.denoted(t)
	if err != nil {
		p.fail(err.Pos, "%s", err.Msg)
	}
	return ir.AttrType, t
}

// plural pairs the kinds of single values with those of lists.
func plural(k ir.AttrKind) ir.AttrKind {
	switch k {
	case ir.AttrSparseTensor:
		return ir.AttrSparseTensors
	case ir.AttrType:
		return ir.AttrTypes
	case ir.AttrFloat, ir.AttrInt, ir.AttrString, ir.AttrTensor, ir.AttrGraph:
		return k + ir.AttrFloats - ir.AttrFloat
	}
	return ir.AttrUndefined
}

func singular(k ir.AttrKind) ir.AttrKind {
	for s := ir.AttrFloat; s <= ir.AttrTypes; s++ {
		if k != ir.AttrUndefined && plural(s) == k {
			return s
		}
	}
	return ir.AttrUndefined
}

// attrList parses '[' value ,* ']'. All values are of one kind; an empty list has to be annotated.
func (p *parser) attrList(a *AttrDecl) {
	open := p.tok.Pos
	want := singular(a.Kind)
	if a.Kind != ir.AttrUndefined && want == ir.AttrUndefined {
		p.fail(open, "the attribute is declared as %s and its value is a list", a.Kind)
		return
	}
	var items []any
	p.next()
	p.list("]", func() {
		pos := p.tok.Pos
		k, v := p.attrValue(want)
		p.kindFits(pos, want, k)
		want = k
		items = append(items, v)
	})
	if want == ir.AttrUndefined && p.err == nil {
		p.fail(open, "an empty list needs a kind, as in %s: ints = []", quoteName(a.Name.Text))
	}
	a.Kind = plural(want)
	switch a.Kind {
	case ir.AttrFloats:
		a.Value = typed[float32](items)
	case ir.AttrInts:
		a.Value = typed[int64](items)
	case ir.AttrStrings:
		a.Value = typed[string](items)
	case ir.AttrTensors:
		a.Value = typed[*TensorLit](items)
	case ir.AttrGraphs:
		a.Value = typed[*GraphDecl](items)
	case ir.AttrSparseTensors:
		a.Value = typed[*SparseLit](items)
	case ir.AttrTypes:
		a.Value = typed[*ir.Type](items)
	}
}

func typed[T any](items []any) []T {
	r := make([]T, 0, len(items))
	for _, v := range items {
		if t, ok := v.(T); ok {
			r = append(r, t)
		}
	}
	return r
}
